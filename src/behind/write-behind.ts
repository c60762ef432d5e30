import { setTimeout as sleep } from 'node:timers/promises'
import type { PayloadCodec } from '../codec/codec.js'
import type { Clock } from '../clock.js'
import { toMilliseconds, type Duration } from '../durations.js'
import { ClosedError, NotFlushedError, RedisUnavailableError } from '../errors.js'
import type { Events } from '../events.js'
import type { ShardKeys } from '../keys/key-schema.js'
import { ConfirmedCalls } from '../redis/confirmed-calls.js'
import type { RedisLink } from '../redis/link.js'
import { ShardStreams } from '../redis/shard-stream.js'
import { newBehindStats, type BehindStats } from '../stats.js'
import type { EntryStore } from '../tiers/entry-store.js'
import { BehindDeadLetters } from './dead-letters.js'
import type { BehindPolicy } from '../behind-options.js'
import { BehindEntries, type EntriesParts } from './entries.js'
import { Queue } from './queue.js'
import { Readiness } from './readiness.js'
import { BehindWorker, type WorkerOptions } from './worker.js'

export interface BehindParts {
  readonly link: RedisLink
  readonly store: EntryStore
  readonly namespace: string
  readonly codec: PayloadCodec
  readonly events: Events
  readonly clock: Clock
  /** Readers of this process that come from now on do not join what is under way for these keys. */
  readonly forget: (keys: readonly string[]) => void
}

const LOOK_AGAIN_MS = 15

/** All that is written behind through one cache: its queues, the workers in this process, flushing and closing. */
export class BehindWrites {
  readonly deadLetters: BehindDeadLetters
  readonly streams: ShardStreams
  readonly #parts: BehindParts
  readonly #readiness: Readiness
  readonly #confirmed: ConfirmedCalls
  readonly #acceptedCodec: PayloadCodec
  readonly #queues = new Map<string, Queue>()
  readonly #workers = new Set<BehindWorker>()
  #closed = false

  constructor(parts: BehindParts) {
    const { link, codec, clock } = parts
    this.#parts = parts
    this.streams = new ShardStreams(link)
    this.#acceptedCodec = codec.unbounded()
    this.#confirmed = new ConfirmedCalls(link)
    this.#readiness = new Readiness(link, this.streams, (confirmation) => {
      if (confirmation.by === 'nobody') return undefined
      if (confirmation.by === 'disk') return this.#confirmed.by({ command: 'waitaof' })
      return this.#confirmed.by({ command: 'wait', count: confirmation.count })
    })
    this.deadLetters = new BehindDeadLetters({
      streams: this.streams,
      codec: this.#acceptedCodec,
      clock,
      queues: () => this.queues
    })
  }

  get queues(): readonly Queue[] {
    return [...this.#queues.values()]
  }

  /** @param keepMs how long an entry may be served after it is not fresh any more */
  open(name: string, policy: BehindPolicy, keepMs: number): Queue {
    const { namespace, store, codec, events, clock } = this.#parts
    const parts = {
      namespace,
      store,
      streams: this.streams,
      readiness: this.#readiness,
      codec,
      events,
      clock
    }
    const queue = new Queue(name, policy, newBehindStats(policy.shards), keepMs, parts)
    this.#queues.set(name, queue)
    return queue
  }

  entries(queue: Queue, engine: Pick<EntriesParts, 'readThrough' | 'writeThrough'>): BehindEntries {
    const { store, codec, clock, forget } = this.#parts
    return new BehindEntries(queue, { store, codec, clock, forget, ...engine })
  }

  worker(options: WorkerOptions): BehindWorker {
    // Nobody would stop it, and it keeps its process alive.
    if (this.#closed) throw new ClosedError()
    const { store, events, clock } = this.#parts
    const worker = new BehindWorker(options, {
      queues: () => this.queues,
      streams: this.streams,
      store,
      codec: this.#acceptedCodec,
      events,
      clock,
      onStopped: (stopped) => void this.#workers.delete(stopped)
    })
    this.#workers.add(worker)
    return worker
  }

  /**
   * Resolves when all that was acknowledged before the call is committed by its sink, whichever process works on it.
   * Rejects with `NotFlushedError` when that takes longer than `timeout`, default '30s'.
   */
  async flush(options?: { readonly timeout?: Duration | undefined }): Promise<void> {
    const timeoutMs = toMilliseconds(options?.timeout ?? '30s', 'timeout')
    const deadline = this.#parts.clock.now() + timeoutMs
    const shards = this.queues.flatMap((queue) => queue.shards)
    const left = new Set<string>(shards.map(({ name }) => name))
    await Promise.all(shards.map((keys) => this.#flushShard(keys, deadline, left)))
    if (left.size > 0) throw new NotFlushedError([...left], timeoutMs, this.#hint())
  }

  stats(): Record<string, BehindStats> {
    return Object.fromEntries(
      this.queues.map(({ name, stats }) => [
        name,
        { ...stats, depth: stats.depth.map((depth) => ({ ...depth })) }
      ])
    )
  }

  /** Why what waits is not brought to its sinks, as far as workers of this process have it. */
  problems(): string[] {
    return [...this.#workers].flatMap((worker) => worker.troubles)
  }

  /** Refuses new operations, and new workers. */
  close(): void {
    this.#closed = true
    for (const queue of this.queues) queue.close()
  }

  /** Resolves when nothing waits for Redis' answer, and this process's workers have given their shards back. */
  async drain(timeoutMs: number): Promise<void> {
    await Promise.all(this.queues.map((queue) => queue.drain()))
    await Promise.all([...this.#workers].map((worker) => worker.stop({ drain: timeoutMs })))
  }

  end(): void {
    this.#confirmed.close()
  }

  async #flushShard(keys: ShardKeys, deadline: number, left: Set<string>): Promise<void> {
    const { clock } = this.#parts
    let last: string | undefined
    let isAsked = false
    while (clock.now() < deadline) {
      try {
        if (isAsked) {
          const first = await this.streams.firstId(keys)
          if (first === undefined || isLater(first, last!)) return void left.delete(keys.name)
        } else {
          last = await this.streams.askForFlush(keys)
          isAsked = true
          if (last === undefined) return void left.delete(keys.name)
          for (const worker of this.#workers) worker.nudge()
        }
      } catch (error) {
        // Redis may be back before the time is over.
        if (!(error instanceof RedisUnavailableError)) throw error
      }
      await sleep(Math.min(LOOK_AGAIN_MS, Math.max(1, deadline - clock.now())))
    }
  }

  #hint(): string {
    const isAnyHere = this.#workers.size > 0
    return isAnyHere
      ? 'See the event "flushFailed" for what the sink said.'
      : 'No worker runs in this process; is one running elsewhere? cache.worker() starts one.'
  }
}

/** Whether one stream id is beyond another. */
function isLater(one: string, other: string): boolean {
  const [ms, seq] = one.split('-').map(BigInt) as [bigint, bigint]
  const [otherMs, otherSeq] = other.split('-').map(BigInt) as [bigint, bigint]
  return ms > otherMs || (ms === otherMs && seq > otherSeq)
}
