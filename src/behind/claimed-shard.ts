import { isOfLaterFormat, type PayloadCodec } from '../codec/codec.js'
import { parseFrame } from '../codec/frame.js'
import type { Clock } from '../clock.js'
import { CorruptEntryError } from '../errors.js'
import type { Events } from '../events.js'
import type { ShardStreams, StreamEntry } from '../redis/shard-stream.js'
import type { Mark } from '../sink.js'
import type { EntryStore } from '../tiers/entry-store.js'
import { coalesce, type Decoded } from './coalesce.js'
import { encodeLetter, nameOfLetter, reasonOf } from './letter.js'
import { advanced, isCovered } from './marks.js'
import type { Queue } from './queue.js'
import { decodeRecords, OfLaterVersionError, type Recorded } from './record.js'

const KEYS_PER_SETTLE = 500
const LET_GO = 'Another worker was done with what is worked on here'

export interface ClaimParts {
  readonly queue: Queue
  readonly shard: number
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

/** Another worker has taken the shard. */
export class Fenced extends Error {}

/**
 * A shard as the sink has given it to this worker: what the stream has is applied, under the epoch of the claim and by its marks,
 * until anything goes wrong. Then nobody knows what happened, and the shard is taken again.
 */
export class ClaimedShard {
  readonly #parts: ClaimParts
  readonly #epoch: number
  readonly #marks: Map<string, Mark>
  readonly #letters: ReadonlySet<string>
  readonly #reported: (error: unknown) => void
  /** Producers of which the stream still has what is applied: their marks must not be the oldest that the sink has. */
  #stillRead = new Set<string>()

  /** @param reported of a failure after which it goes on, with a part of the batch */
  static async take(parts: ClaimParts, reported: (error: unknown) => void): Promise<ClaimedShard> {
    const { queue, shard, streams, events } = parts
    const keys = queue.shards[shard]!
    const { epoch, marks } = await queue.policy.sink.take(keys.name)
    const letters = new Set(await streams.letterNames(keys))
    events.emit('shardTaken', { queue: queue.name, shard, epoch })
    return new ClaimedShard(parts, epoch, new Map(marks), letters, reported)
  }

  private constructor(
    parts: ClaimParts,
    epoch: number,
    marks: Map<string, Mark>,
    letters: ReadonlySet<string>,
    reported: (error: unknown) => void
  ) {
    this.#parts = parts
    this.#epoch = epoch
    this.#marks = marks
    this.#letters = letters
    this.#reported = reported
  }

  /** Answers how many operations are settled with it, those among them that had been applied before. */
  async flush(entries: readonly StreamEntry[], lagMs: number): Promise<number> {
    const { queue, shard, events, clock } = this.#parts
    const marks = this.#marks
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
      this.#reported(error)
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
    const marks = this.#marks
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
      epoch: this.#epoch,
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
    if (kind === 'append') {
      assertKnownFormat(rest[0]!)
      return codec.decode(rest[0]!, rest, false, 1)
    }
    const entry = parseFrame(key, rest)
    if (entry.state === 'unreadable' && entry.foreign) throw new OfLaterVersionError(entry.reason)
    if (entry.state !== 'value') throw new CorruptEntryError('an operation holds no value')
    assertKnownFormat(entry.flags)
    return codec.decode(entry.flags, entry.payload)
  }

  /** Before the marks pass it: an operation is put aside twice, under one name, rather than lost. */
  async #bury({ record, entry }: Taken, error: unknown): Promise<void> {
    const { queue, shard, events } = this.#parts
    const letter = nameOfLetter({ ...entry, index: record.index })
    const { reason, code } = reasonOf(error)
    const content = encodeLetter({ reason, code, at: Date.now(), id: entry.id, record: record.bytes })
    if (!(await queue.bury(shard, entry, letter, content))) throw new Error(LET_GO)
    queue.stats.deadLetters++
    events.emit('deadLettered', { queue: queue.name, shard, letter, reason })
  }

  /**
   * What was put aside by a worker that did not live to note it is tried like everything else, and is put aside again if need be.
   * Its letter goes first: what is applied after all must not be there to be sent again.
   */
  async #exhume(taken: readonly Taken[]): Promise<void> {
    const { queue, shard, streams } = this.#parts
    const letters = this.#letters
    if (letters.size === 0) return
    const names = taken.map(({ record, entry }) => nameOfLetter({ ...entry, index: record.index }))
    const buried = names.filter((name) => letters.has(name))
    if (buried.length === 0) return
    if (!(await streams.withdraw(queue.shards[shard]!, taken[0]!.entry, buried))) throw new Error(LET_GO)
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
}

function assertKnownFormat(flags: number): void {
  if (isOfLaterFormat(flags)) throw new OfLaterVersionError('its payload has another layout')
}
