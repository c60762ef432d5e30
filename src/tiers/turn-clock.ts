import type { Clock } from '../clock.js'

/** Hits that follow one another so closely share a look at the clock. */
const DENSE_MS = 0.02
const SHARED_BY = 64

/**
 * The time, for what asks too often to look at the clock each time: a look costs as much as the rest of a hit. When
 * questions come densely one look serves the next ones of the same turn of the event loop, 64 at most. Never longer: a
 * process that was stopped goes on in a later turn, and must see at once how much time has passed.
 */
export class TurnClock {
  readonly #clock: Clock
  #nowMs = Number.NEGATIVE_INFINITY
  #left = 0
  #isTurnWatched = false

  constructor(clock: Clock) {
    this.#clock = clock
  }

  now(): number {
    if (this.#left > 0) {
      this.#left--
      return this.#nowMs
    }
    return this.#look()
  }

  #look(): number {
    const nowMs = this.#clock.now()
    if (nowMs - this.#nowMs < DENSE_MS) {
      this.#left = SHARED_BY - 1
      if (!this.#isTurnWatched) {
        this.#isTurnWatched = true
        setImmediate(this.#turnOver)
      }
    }
    this.#nowMs = nowMs
    return nowMs
  }

  readonly #turnOver = (): void => {
    this.#left = 0
    this.#isTurnWatched = false
  }
}
