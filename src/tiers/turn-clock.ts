import type { Clock } from '../clock.js'

/** Hits that follow one another so closely share a look at the clock. */
const DENSE_MS = 0.02
const SHARED_BY = 64

/**
 * The time, for what asks too often to look at the clock each time: a look costs as much as the rest of a hit. When
 * questions come densely one look serves the next ones of the same callback, 64 at most. Never longer: a process that was
 * stopped between two callbacks must see at once how much time has passed, and that may be in one turn of the event loop:
 *
 *   1. Many hits; the process is stopped for longer than it may go unheard.
 *   2. It goes on with what came meanwhile: an answer from before, which is kept, and its next read finds that.
 *   3. The turn is over.
 */
export class TurnClock {
  readonly #clock: Clock
  #nowMs = Number.NEGATIVE_INFINITY
  #left = 0
  #isWatched = false

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
      if (!this.#isWatched) {
        this.#isWatched = true
        // Runs behind this callback and its promises, before the next.
        process.nextTick(this.#callbackOver)
      }
    }
    this.#nowMs = nowMs
    return nowMs
  }

  readonly #callbackOver = (): void => {
    this.#left = 0
    this.#isWatched = false
  }
}
