import type { Clock } from '../clock.js'
import type { Events, WaitOutcome } from '../events.js'
import type { ReadRequest } from '../tiers/request.js'

/** Then a reader asks the source itself and stores nothing; a write that takes longer is rare, or its process is dead. */
const PATIENCE_WITH_WRITERS_MS = 250

/** One caller's wait for somebody else's load: its budget and its facts. */
export class Wait {
  readonly #request: ReadRequest
  readonly #events: Events
  readonly #clock: Clock
  #until: number
  #writerSeen = false
  #begunAt: number | undefined

  constructor(request: ReadRequest, events: Events, clock: Clock) {
    this.#request = request
    this.#events = events
    this.#clock = clock
    this.#until = clock.now() + request.source.policy.waitTimeoutMs
  }

  get leftMs(): number {
    return this.#until - this.#clock.now()
  }

  /** A writer is not worth a long wait: until it has committed, what the source has is right. */
  writerSeen(): void {
    if (this.#writerSeen) return
    this.#writerSeen = true
    this.#until = Math.min(this.#until, this.#clock.now() + PATIENCE_WITH_WRITERS_MS)
  }

  get isTooLong(): boolean {
    return this.leftMs <= 0
  }

  begin(): void {
    if (this.#begunAt !== undefined) return
    this.#begunAt = this.#clock.now()
    const { key, source } = this.#request
    source.stats.waits++
    this.#events.emit('wait', { key, collection: source.name })
  }

  over(outcome: WaitOutcome): void {
    if (this.#begunAt === undefined) return
    const { key, source } = this.#request
    const durationMs = this.#clock.now() - this.#begunAt
    this.#events.emit('waited', { key, collection: source.name, durationMs, outcome })
    if (outcome !== 'takeover') return
    source.stats.takeovers++
    this.#events.emit('takeover', { key, collection: source.name })
  }
}
