import { RedisUnavailableError, textOf } from '../errors.js'
import type { Held } from '../redis/shard-stream.js'
import { ClaimedShard, Fenced, type ClaimParts } from './claimed-shard.js'

const READ_MOST_BYTES = 4 * 1024 * 1024
const RETRY_LEAST_MS = 50
const RETRY_MOST_MS = 5_000
const REDIS_RETRY_MOST_MS = 400
const NOTE_INTERVAL_MS = 10
/** A lock or a lost connection is over at the next attempt, mostly. */
const TROUBLE_AFTER = 3

export interface ShardWorkerParts extends ClaimParts {
  readonly worker: string
  readonly holdMs: number
}

type Leaving = 'given-back' | 'fenced' | 'hold-lost'

/**
 * Brings what one shard's stream has to the sink, in order, for as long as it is held.
 *
 *   hold (Redis) ─▶ take (sink: the epoch grows) ─▶ read ─▶ apply ─▶ settle and trim ─▶ read …
 *                      ▲                                      │
 *                      └────────── anything went wrong ───────┘
 *
 * The stream is always read from its beginning, and what the sink's marks say is applied is left out. So nothing hangs
 * on what this process remembers: after a crash, a pause, a lost reply or another Redis it reads and compares.
 */
export class ShardWorker {
  readonly #parts: ShardWorkerParts
  #claimed: ClaimedShard | undefined
  #stopping: 'no' | 'drain' | 'now' = 'no'
  #wake: (() => void) | undefined
  #flushes = 0
  /** Since when something has been waiting, as far as this worker saw it, on its own clock. */
  #waitingSinceMs: number | undefined
  #failures = 0
  #trouble: string | undefined
  readonly done: Promise<Leaving>

  constructor(parts: ShardWorkerParts) {
    this.#parts = parts
    this.done = this.#run()
  }

  /** `drain`: when nothing is left. `now`: after the transaction that is under way. */
  stop(how: 'drain' | 'now'): void {
    if (this.#stopping !== 'now') this.#stopping = how
    this.#wake?.()
  }

  /** Flush at once what waits. */
  nudge(): void {
    this.#wake?.()
  }

  /** Why what waits here is not brought to the sink, once that was tried a few times. */
  get trouble(): string | undefined {
    return this.#failures < TROUBLE_AFTER ? undefined : this.#trouble
  }

  async #run(): Promise<Leaving> {
    let leaving: Leaving = 'given-back'
    while (this.#stopping !== 'now') {
      try {
        const step = await this.#step()
        if (step !== 'go-on') {
          leaving = step
          break
        }
      } catch (error) {
        this.#claimed = undefined
        if (error instanceof Fenced) {
          leaving = 'fenced'
          break
        }
        await this.#failed(error)
      }
    }
    const { queue, shard, events } = this.#parts
    queue.stats.depth[shard]!.held = false
    events.emit('shardLeft', { queue: queue.name, shard, reason: leaving })
    return leaving
  }

  async #step(): Promise<Leaving | 'go-on'> {
    const { queue, shard, worker, holdMs, streams } = this.#parts
    const keys = queue.shards[shard]!
    const held = await streams.hold(keys, worker, holdMs)
    const { operations, bytes, ageMs, isMine } = held
    queue.stats.depth[shard] = { operations, bytes, ageMs, held: isMine }
    if (!held.isMine) return 'hold-lost'
    if (held.operations === 0 && this.#stopping === 'drain') return 'given-back'
    if (this.#claimed === undefined) {
      this.#claimed = await ClaimedShard.take(this.#parts, (error) => this.#reportFailure(error))
      return 'go-on'
    }
    if (held.operations === 0) this.#recovered()
    if (!this.#isDue(held)) {
      await this.#pause(this.#tickMs(held))
      return 'go-on'
    }
    this.#waitingSinceMs = undefined
    const entries = await streams.read(keys, queue.policy.maxBatch, READ_MOST_BYTES)
    // The state counts operations that the stream does not have: they were deleted from outside.
    const isEmpty = entries.length === 0
    const flushed = isEmpty ? 0 : await this.#claimed.flush(entries, held.ageMs)
    if (!isEmpty) this.#recovered()
    // Who asks for a flush means all that is there, and a batch may be less.
    if (isEmpty || flushed >= held.operations) this.#flushes = held.flushes
    if (isEmpty) await this.#pause(this.#tickMs(held))
    return 'go-on'
  }

  #isDue(held: Held): boolean {
    const { flushEveryMs, maxBatch } = this.#parts.queue.policy
    const nowMs = this.#parts.clock.now()
    if (held.operations === 0) this.#waitingSinceMs = undefined
    else this.#waitingSinceMs ??= nowMs
    if (this.#waitingSinceMs === undefined) return false
    // By Redis' clock, and where that was set back by this one's. A tick early rather than late: what is promised is
    // "within flushEvery".
    const ageMs = Math.max(held.ageMs, nowMs - this.#waitingSinceMs)
    const isOld = ageMs + this.#tickMs(held) >= flushEveryMs
    return (
      isOld || held.operations >= maxBatch || held.flushes !== this.#flushes || this.#stopping === 'drain'
    )
  }

  #tickMs(held: Held): number {
    const { holdMs, queue } = this.#parts
    const mostMs = Math.min(250, holdMs / 3, queue.policy.flushEveryMs / 4)
    return Math.max(NOTE_INTERVAL_MS, held.operations === 0 ? mostMs : mostMs / 2)
  }

  async #failed(error: unknown): Promise<void> {
    this.#failures++
    this.#trouble = error instanceof RedisUnavailableError ? undefined : textOf(error)
    // What Redis did not answer was reported by the link.
    if (!(error instanceof RedisUnavailableError)) this.#reportFailure(error)
    const { clock } = this.#parts
    // A sink that is down is not helped by being asked all the time; Redis is asked by everybody anyway.
    const mostMs = error instanceof RedisUnavailableError ? REDIS_RETRY_MOST_MS : RETRY_MOST_MS
    const pauseMs = Math.min(mostMs, RETRY_LEAST_MS * 2 ** Math.min(10, this.#failures - 1))
    if (this.#stopping === 'no') await this.#pause(pauseMs * (0.5 + clock.random() / 2))
    else await this.#pause(RETRY_LEAST_MS)
  }

  #recovered(): void {
    this.#failures = 0
    this.#trouble = undefined
  }

  #reportFailure(error: unknown): void {
    const { queue, shard, events } = this.#parts
    queue.stats.flushFailures++
    events.emit('flushFailed', { queue: queue.name, shard, error, attempt: this.#failures })
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms)
      this.#wake = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  }
}
