import { randomBytes } from 'node:crypto'
import { hostname } from 'node:os'
import { toMilliseconds, type Duration } from '../durations.js'
import { checkStopOptions, checkWorkerOptions } from '../behind-options.js'
import { InvalidOptionError, RedisUnavailableError } from '../errors.js'
import type { ShardStreams } from '../redis/shard-stream.js'
import type { EntryStore } from '../tiers/entry-store.js'
import type { Clock } from '../clock.js'
import type { PayloadCodec } from '../codec/codec.js'
import type { Events } from '../events.js'
import { shardsOfWorker } from './assignment.js'
import type { Queue } from './queue.js'
import { ShardWorker } from './shard-worker.js'

/** What `cache.worker` takes. */
export interface WorkerOptions {
  /**
   * A worker that is silent for so long loses its shards to the others: what a crash costs in delay. Default '3s'; from
   * 300 ms to 60 s.
   */
  readonly lease?: Duration | undefined
  /** For logs and `stats`. Default: host, process id and a random part. */
  readonly name?: string | undefined
}

/** Brings what was written behind to the sinks. As many as one likes, in this process and in others, share the shards. */
export interface Worker {
  readonly name: string
  /** The shards that it has now, as `queue/shard`. */
  readonly shards: readonly string[]
  /**
   * Resolves when every sink has what it needs; rejects with `SinkNotReadyError` otherwise, and with `ShardsDifferError` when
   * a queue is in use with another number of shards. The worker goes on trying all the same, so awaiting it is a matter
   * of taste: at the start of a process it turns a forgotten migration into an exit code.
   */
  ready(): Promise<void>
  /**
   * Stops: flushes what waits in its shards until `drain` is over (default '5s'; 0 finishes only the transaction under way),
   * then gives them to the others. What is left stays in Redis. Safe to call twice.
   */
  stop(options?: { readonly drain?: Duration }): Promise<void>
}

export interface WorkerParts {
  readonly queues: () => readonly Queue[]
  readonly streams: ShardStreams
  readonly store: EntryStore
  readonly codec: PayloadCodec
  readonly events: Events
  readonly clock: Clock
  readonly onStopped: (worker: BehindWorker) => void
}

/** After this long without any answer a transaction that hangs is left to its database. */
const HANGING_MS = 1_000

export class BehindWorker implements Worker {
  readonly name: string
  readonly #parts: WorkerParts
  readonly #leaseMs: number
  readonly #running = new Map<string, { queue: Queue; shard: number; worker: ShardWorker }>()
  #timer: NodeJS.Timeout | undefined
  #rounds: Promise<void> = Promise.resolve()
  #stopped: Promise<void> | undefined

  constructor(options: WorkerOptions, parts: WorkerParts) {
    checkWorkerOptions(options)
    const { lease = '3s', name } = options
    this.#leaseMs = toMilliseconds(lease, 'lease', 300)
    if (this.#leaseMs > 60_000) throw new InvalidOptionError('lease', lease, 'at most 60 s')
    this.name = `${name ?? hostname()}#${process.pid}#${randomBytes(4).toString('hex')}`
    this.#parts = parts
    this.#next(0)
  }

  get shards(): string[] {
    return [...this.#running.keys()].sort()
  }

  /** Shards whose operations do not get to their sinks, and why not; those of a queue with one reason together. */
  get troubles(): string[] {
    const shards = new Map<string, number[]>()
    for (const { queue, shard, worker } of this.#running.values()) {
      if (worker.trouble === undefined) continue
      const trouble = `of "${queue.name}" is not brought to ${queue.policy.sink.name}: ${worker.trouble}`
      shards.set(trouble, [...(shards.get(trouble) ?? []), shard])
    }
    const inOrder = (of: readonly number[]): string => of.toSorted((one, other) => one - other).join(', ')
    return [...shards].map(([trouble, of]) => `What waits in shard ${inOrder(of)} ${trouble}`)
  }

  async ready(): Promise<void> {
    await Promise.all(
      this.#parts.queues().map(async (queue) => {
        await queue.policy.sink.check()
        await queue.assertShards()
      })
    )
  }

  async stop(options?: { readonly drain?: Duration }): Promise<void> {
    checkStopOptions(options)
    this.#stopped ??= this.#stop(toMilliseconds(options?.drain ?? '5s', 'drain'))
    return this.#stopped
  }

  nudge(): void {
    for (const { worker } of this.#running.values()) worker.nudge()
  }

  async #stop(drainMs: number): Promise<void> {
    clearTimeout(this.#timer)
    await this.#rounds
    const all = [...this.#running.values()]
    for (const { worker } of all) worker.stop(drainMs > 0 ? 'drain' : 'now')
    // Holds are renewed by the shards themselves; this keeps others from waiting for shards that are being drained.
    const left = Promise.all(all.map(({ worker }) => worker.done))
    if (!(await isSettledWithin(left, drainMs))) {
      for (const { worker } of all) worker.stop('now')
      await isSettledWithin(left, HANGING_MS)
    }
    for (const queue of this.#parts.queues()) await this.#leave(queue)
    this.#parts.onStopped(this)
  }

  #next(ms: number): void {
    this.#timer = setTimeout(() => {
      this.#rounds = this.#round().finally(() => {
        if (this.#stopped === undefined) this.#next(this.#leaseMs / 4)
      })
    }, ms)
  }

  async #round(): Promise<void> {
    await Promise.all(this.#parts.queues().map((queue) => this.#share(queue)))
  }

  /** Says "here I am", and begins or gives back what the number of workers makes its part. */
  async #share(queue: Queue): Promise<void> {
    const { streams } = this.#parts
    let workers: string[]
    try {
      workers = await streams.announce(queue.keys.workers, this.name, this.#leaseMs)
    } catch (error) {
      // Reported by the link. The shards' own holds run out if it lasts.
      if (error instanceof RedisUnavailableError) return
      throw error
    }
    if (this.#stopped !== undefined) return
    const mine = new Set(shardsOfWorker(this.name, workers, queue.name, queue.policy.shards))
    for (const shard of mine)
      if (!this.#running.has(`${queue.name}/${shard}`)) await this.#begin(queue, shard)
    for (const running of this.#running.values()) {
      if (running.queue === queue && !mine.has(running.shard)) running.worker.stop('now')
    }
  }

  async #begin(queue: Queue, shard: number): Promise<void> {
    const { streams, store, codec, events, clock } = this.#parts
    const keys = queue.shards[shard]!
    try {
      const held = await streams.hold(keys, this.name, this.#leaseMs)
      if (!held.isMine) return
    } catch (error) {
      if (error instanceof RedisUnavailableError) return
      throw error
    }
    const name = `${queue.name}/${shard}`
    const holdMs = this.#leaseMs
    const worker = new ShardWorker({
      queue,
      shard,
      worker: this.name,
      holdMs,
      streams,
      store,
      codec,
      events,
      clock
    })
    this.#running.set(name, { queue, shard, worker })
    void worker.done.then(async () => {
      this.#running.delete(name)
      await streams.release(keys, this.name).catch(runsOut)
    })
  }

  async #leave(queue: Queue): Promise<void> {
    await this.#parts.streams.announce(queue.keys.workers, this.name, 0).catch(runsOut)
  }
}

/** What Redis does not hear of runs out by itself; the link has reported it. */
function runsOut(error: unknown): void {
  if (!(error instanceof RedisUnavailableError)) throw error
}

async function isSettledWithin(work: Promise<unknown>, ms: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<false>((resolve) => {
    timer = setTimeout(resolve, ms, false)
  })
  return Promise.race([work.then(() => true), late]).finally(() => clearTimeout(timer))
}
