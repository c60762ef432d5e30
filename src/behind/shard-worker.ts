import type { PayloadCodec } from '../codec/codec.js'
import { parseFrame } from '../codec/frame.js'
import type { Clock } from '../clock.js'
import { CorruptEntryError, RedisUnavailableError, textOf } from '../errors.js'
import type { Events } from '../events.js'
import type { Held, ShardStreams, StreamEntry } from '../redis/shard-stream.js'
import type { Claim, Mark } from '../sink.js'
import type { EntryStore } from '../tiers/entry-store.js'
import { coalesce, type Decoded } from './coalesce.js'
import { encodeLetter, nameOfLetter, reasonOf } from './letter.js'
import { advanced, isCovered } from './marks.js'
import type { Queue } from './queue.js'
import { decodeRecords, OfLaterVersionError, type Recorded } from './record.js'

const READ_MOST_BYTES = 4 * 1024 * 1024
const KEYS_PER_SETTLE = 500
const RETRY_LEAST_MS = 50
const RETRY_MOST_MS = 5_000
const REDIS_RETRY_MOST_MS = 400
const NOTE_INTERVAL_MS = 10
/** A lock or a lost connection is over at the next attempt, mostly. */
const TROUBLE_AFTER = 3

export interface ShardWorkerParts {
  readonly queue: Queue
  readonly shard: number
  readonly worker: string
  readonly holdMs: number
  readonly streams: ShardStreams
  readonly store: EntryStore
  readonly codec: PayloadCodec
  readonly events: Events
  readonly clock: Clock
}

/** An operation, and the entry that says which one of its producer's it is. */
interface Taken {
  readonly record: Recorded
  readonly entry: StreamEntry
}

class Fenced extends Error {}

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
  #claim: { epoch: number; marks: Map<string, Mark>; letters: ReadonlySet<string> } | undefined
  /** Producers of which the stream still has what is applied: their marks must not be the oldest that the sink has. */
  #stillRead = new Set<string>()
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
        this.#claim = undefined
        if (error instanceof Fenced) {
          leaving = 'fenced'
          break
        }
        await this.#failed(error)
      }
    }
    const { queue, shard, events } = this.#parts
    events.emit('shardLeft', { queue: queue.name, shard, reason: leaving })
    return leaving
  }

  async #step(): Promise<Leaving | 'go-on'> {
    const { queue, shard, worker, holdMs, streams, events } = this.#parts
    const keys = queue.shards[shard]!
    const held = await streams.hold(keys, worker, holdMs)
    queue.stats.depth[shard] = { operations: held.operations, bytes: held.bytes, ageMs: held.ageMs }
    if (!held.isMine) return 'hold-lost'
    if (held.operations === 0 && this.#stopping === 'drain') return 'given-back'
    if (this.#claim === undefined) {
      const claim: Claim = await queue.policy.sink.take(keys.name)
      const letters = new Set(await streams.letterNames(keys))
      this.#claim = { epoch: claim.epoch, marks: new Map(claim.marks), letters }
      events.emit('shardTaken', { queue: queue.name, shard, epoch: claim.epoch })
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
    const flushed = isEmpty ? 0 : await this.#flush(entries, held.ageMs)
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

  /** Answers how many operations are settled with it, those among them that had been applied before. */
  async #flush(entries: readonly StreamEntry[], lagMs: number): Promise<number> {
    const { queue, shard, events, clock } = this.#parts
    const { marks } = this.#claim!
    let read = 0
    const fates = new Map<string, '0' | '1'>()
    const taken: Taken[] = []
    this.#stillRead = new Set()
    for (const entry of entries) {
      const mark = marks.get(entry.producer)
      for (const record of decodeRecords(entry.records)) {
        read++
        const isApplied = isCovered(mark, entry.batch, record.index)
        if (isApplied) this.#stillRead.add(entry.producer)
        else taken.push({ record, entry })
        if (record.key === '') continue
        // Applied by somebody who did not live to settle it, or lost by Redis since and sent again: what the entry
        // shows may not be what the source has.
        if (isApplied || record.isReplay) fates.set(record.key, '0')
        else if (!fates.has(record.key)) fates.set(record.key, '1')
      }
    }
    const startedAt = clock.now()
    let rows = 0
    if (taken.length > 0) {
      await this.#exhume(taken)
      rows = await this.#apply(taken, fates)
    }
    const durationMs = clock.now() - startedAt
    await this.#settle(entries.at(-1)!, fates)
    this.#recovered()
    if (taken.length === 0) return read
    const { stats } = queue
    stats.flushed += taken.length
    stats.rows += rows
    stats.batches++
    stats.flushMs += durationMs
    events.emit('flushed', { queue: queue.name, shard, operations: taken.length, rows, durationMs, lagMs })
    return read
  }

  /**
   * One transaction. When the reason of a failure lies in an operation, the halves go in transactions of their own, each
   * with the marks of its end, until the operation stands alone and is put aside. Answers the number of rows.
   */
  async #apply(taken: readonly Taken[], fates: Map<string, '0' | '1'>): Promise<number> {
    const { queue } = this.#parts
    const { sink } = queue.policy
    try {
      const operations = coalesce(await this.#decoded(taken), sink.versioned)
      const outcome = await this.#commit(operations, taken)
      // Which of them is not told, and the others are only loaded once more.
      if (outcome === 'applied-in-part')
        for (const { record } of taken) if (record.key !== '') fates.set(record.key, '0')
      return operations.length
    } catch (error) {
      // What cannot be read will not become readable either.
      const isPoison = error instanceof CorruptEntryError || sink.isPoison(error)
      if (error instanceof Fenced || !isPoison) throw error
      if (taken.length === 1) {
        const [poison] = taken as [Taken]
        await this.#bury(poison, error)
        if (poison.record.key !== '') fates.set(poison.record.key, '0')
        await this.#commit([], taken)
        return 0
      }
      this.#reportFailure(error)
      const middle = Math.ceil(taken.length / 2)
      const first = await this.#apply(taken.slice(0, middle), fates)
      return first + (await this.#apply(taken.slice(middle), fates))
    }
  }

  async #commit(
    operations: ReturnType<typeof coalesce>,
    taken: readonly Taken[]
  ): Promise<'applied' | 'applied-in-part'> {
    const { queue, shard } = this.#parts
    const { epoch, marks } = this.#claim!
    const reached = new Map<string, Mark>()
    for (const producer of this.#stillRead) reached.set(producer, marks.get(producer)!)
    let indexes: number[] = []
    for (const [at, { record, entry }] of taken.entries()) {
      indexes.push(record.index)
      if (taken[at + 1]?.entry === entry) continue
      const { producer, batch } = entry
      reached.set(producer, advanced(reached.get(producer) ?? marks.get(producer), batch, indexes))
      indexes = []
    }
    const outcome = await queue.policy.sink.apply({
      shard: queue.shards[shard]!.name,
      epoch,
      operations,
      marks: reached
    })
    if (outcome === 'fenced') throw new Fenced()
    for (const [producer, mark] of reached) marks.set(producer, mark)
    return outcome
  }

  async #decoded(taken: readonly Taken[]): Promise<Decoded[]> {
    const decoded: Decoded[] = []
    for (const { record } of taken) {
      const { kind, key, id, tenant } = record
      if (kind === 'increment') decoded.push({ kind, key, id: id!, tenant, by: record.by })
      else if (kind === 'delete') decoded.push({ kind, key, id: id!, tenant })
      else {
        let value = this.#valueOf(record)
        // Compressed bytes alone take their time, and a wait for each of the others would be most of the work.
        if (value instanceof Promise) value = await value
        decoded.push(kind === 'append' ? { kind, tenant, value } : { kind, key, id: id!, tenant, value })
      }
    }
    return decoded
  }

  #valueOf({ kind, key, rest }: Recorded): unknown {
    const { codec } = this.#parts
    if (kind === 'append') return codec.decode(rest[0]!, rest, false, 1)
    const entry = parseFrame(key, rest)
    if (entry.state === 'unreadable' && entry.foreign) throw new OfLaterVersionError(entry.reason)
    if (entry.state !== 'value') throw new CorruptEntryError('an operation holds no value')
    return codec.decode(entry.flags, entry.payload)
  }

  /** Before the marks pass it: an operation is put aside twice, under one name, rather than lost. */
  async #bury({ record, entry }: Taken, error: unknown): Promise<void> {
    const { queue, shard, streams, events } = this.#parts
    const letter = nameOfLetter({ ...entry, index: record.index })
    const { reason, code } = reasonOf(error)
    const content = encodeLetter({ reason, code, at: Date.now(), record: record.bytes })
    await streams.bury(queue.shards[shard]!, letter, content)
    queue.stats.deadLetters++
    events.emit('deadLettered', { queue: queue.name, shard, letter: `${shard}/${letter}`, reason })
  }

  /**
   * What was put aside by a worker that did not live to note it is tried like everything else, and is put aside again if need be.
   * Its letter goes first: what is applied after all must not be there to be sent again.
   */
  async #exhume(taken: readonly Taken[]): Promise<void> {
    const { queue, shard, streams } = this.#parts
    const { letters } = this.#claim!
    if (letters.size === 0) return
    const names = taken.map(({ record, entry }) => nameOfLetter({ ...entry, index: record.index }))
    const buried = names.filter((name) => letters.has(name))
    await streams.exhume(queue.shards[shard]!, buried)
  }

  /** The trim comes last: until then all of it can be done again. */
  async #settle(last: StreamEntry, fates: ReadonlyMap<string, '0' | '1'>): Promise<void> {
    const { queue, shard, streams, store } = this.#parts
    const entryKeys = [...fates.keys()]
    const all = [...fates.values()].join('')
    for (let at = 0; ; at += KEYS_PER_SETTLE) {
      const end = at + KEYS_PER_SETTLE
      const isLast = end >= entryKeys.length
      const page = entryKeys.slice(at, end)
      const isSame = await store.changing(page, () =>
        streams.settle(queue.shards[shard]!, last, page, all.slice(at, end), queue.keepMs, isLast)
      )
      // Another Redis, or an emptied one: read again, and compare with the marks.
      if (isLast || !isSame) return
    }
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
