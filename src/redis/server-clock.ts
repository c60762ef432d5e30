import type { Clock } from '../clock.js'
import type { RedisClient } from './client.js'

const SYNC_EVERY_MS = 10_000
const GOOD_SAMPLE_MS = 20

/**
 * Redis' own clock, as this process can tell it between two looks: a monotonic clock here plus an offset learnt from
 * TIME. Ages are compared on it, so neither this machine's wall clock nor another's ever matters. It is off by at
 * most half the round trip of its last sample, plus what Redis' clock was set by since.
 */
export class ServerClock {
  readonly #clock: Clock
  #offsetMs: number | undefined
  #syncedAt = Number.NEGATIVE_INFINITY
  #askedAt = Number.NEGATIVE_INFINITY

  constructor(clock: Clock) {
    this.#clock = clock
  }

  get isSet(): boolean {
    return this.#offsetMs !== undefined
  }

  nowMs(): number {
    return this.#clock.now() + (this.#offsetMs ?? 0)
  }

  get isDue(): boolean {
    return this.#clock.now() - this.#askedAt > SYNC_EVERY_MS
  }

  async sync(client: RedisClient): Promise<void> {
    const sentAt = this.#clock.now()
    this.#askedAt = sentAt
    const [seconds, microseconds] = (await client.time()) as [string | number, string | number]
    const roundTripMs = this.#clock.now() - sentAt
    // A slow sample says little; it is taken only when there is nothing better, or nothing recent.
    if (roundTripMs > GOOD_SAMPLE_MS && this.isSet && sentAt - this.#syncedAt < 6 * SYNC_EVERY_MS) return
    const serverMs = Number(seconds) * 1000 + Number(microseconds) / 1000
    this.#offsetMs = serverMs - (sentAt + roundTripMs / 2)
    this.#syncedAt = sentAt
  }

  /**
   * After a reconnect it may be another server, with another clock: the next sample counts, however slow it is. Until then
   * the clock before is a better guess than none, with which everything would be from the future.
   */
  forget(): void {
    this.#syncedAt = Number.NEGATIVE_INFINITY
    this.#askedAt = Number.NEGATIVE_INFINITY
  }
}
