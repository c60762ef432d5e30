import type { PayloadCodec } from '../codec/codec.js'
import { counterChecksum } from '../codec/frame.js'
import { sleep, type Clock } from '../clock.js'
import { NO_TAGS, type Stamp } from '../entry.js'
import {
  BacklogFullError,
  CorruptEntryError,
  InvalidOptionError,
  RedisUnavailableError,
  UnflushedError
} from '../errors.js'
import { shardOfKey } from '../keys/key-schema.js'
import type { Awaitable } from '../ports.js'
import type { SinkOperation } from '../sink.js'
import type { EntryStore } from '../tiers/entry-store.js'
import { jittered, pack, stamper, type Packed } from '../tiers/pack.js'
import type { ReadRequest } from '../tiers/request.js'
import type { Outcome } from './producer.js'
import type { Queue } from './queue.js'
import type { Base, Outgoing, OutgoingChange } from './record.js'
import { Stamps } from './stamps.js'

const LOOK_AGAIN_MS = 15

/** Under which nothing is current: an entry with it is loaded again once it is flushed. */
const NO_STAMP: Stamp = { hardHigh: 0, hardLow: 0, soft: 0, tags: NO_TAGS }

export interface EntriesParts {
  readonly store: EntryStore
  readonly codec: PayloadCodec
  readonly clock: Clock
  /** Readers of this process that come from now on do not join what is under way for these keys. */
  readonly forget: (keys: readonly string[]) => void
  /** So that the value, as the source has it, is in the cache; `again`: although there is one that may still be served. */
  readonly readThrough: (request: ReadRequest, again: boolean) => Promise<unknown>
  /**
   * Changes the source in its caller's time, with the entry guarded, and shows the value if `work` says that the source has it
   * now. Rejects with `UnflushedError` while it is unflushed.
   */
  readonly writeThrough: (
    request: ReadRequest,
    work: () => Promise<boolean>,
    value: unknown
  ) => Promise<unknown>
}

/** Puts, deletions and increments of entries: each shows in its entry in the same step in which the stream takes it. */
export class BehindEntries {
  readonly queue: Queue
  readonly #parts: EntriesParts
  readonly #stamps: Stamps

  constructor(queue: Queue, parts: EntriesParts) {
    this.queue = queue
    this.#parts = parts
    this.#stamps = new Stamps(parts.store.generations, parts.clock)
  }

  /** Resolves with a copy of the value, as a hit would give it. */
  async put(request: ReadRequest, value: unknown): Promise<unknown> {
    const { id, tenant, key } = request
    this.queue.assertTakes('put', tenant)
    if (value === undefined) throw new InvalidOptionError('value', value, 'something; use delete for nothing')
    const packed = await this.#pack(request, value)
    await this.#change(request, { kind: 'put', key, id, tenant, frame: packed.frame! }, () => packed.copy())
    return packed.copy()
  }

  async delete(request: ReadRequest): Promise<void> {
    const { id, tenant, key } = request
    this.queue.assertTakes('delete', tenant)
    const { frame } = await this.#pack(request, undefined)
    await this.#change(request, { kind: 'delete', key, id, tenant, frame: frame! }, () => undefined)
  }

  /** Resolves with what the number came to. */
  async increment(request: ReadRequest, by: number): Promise<number> {
    const { id, tenant, key, scope, source } = request
    this.queue.assertTakes('increment', tenant)
    if (typeof by !== 'number' || !Number.isFinite(by))
      throw new InvalidOptionError('by', by, 'a finite number')
    const { clock } = this.#parts
    const deadline = clock.now() + this.queue.policy.writeTimeoutMs
    const freshMs = jittered(source.policy.ttlMs, source.policy.jitter, clock.random())
    const checksum = counterChecksum(key)
    let base: Base | undefined
    let unkept = 0
    for (;;) {
      const stamp = (await this.#stamps.capture(scope))?.print ?? NO_STAMP
      const outcome = await this.#submit(request, {
        kind: 'increment',
        key,
        id,
        tenant,
        by,
        checksum,
        freshMs,
        stamp,
        base
      })
      if (outcome.kind === 'accepted') return outcome.number
      if (outcome.kind === 'full') {
        const through = await this.#writeThrough(request, { kind: 'increment', id, tenant, by }, undefined)
        if (through) return ((await this.#read(request)) as number | undefined) ?? Number.NaN
      }
      if (clock.now() > deadline) throw this.#tooLate(outcome)
      if (outcome.kind !== 'needs-base') {
        await sleep(LOOK_AGAIN_MS)
        continue
      }
      base = await this.#baseOf(request)
      // Mostly it is there at the next look. What is not kept at all must not be loaded as often as the source can.
      if (base === undefined && unkept++ > 0) await sleep(LOOK_AGAIN_MS * unkept)
    }
  }

  /** @param valueOf what it was when it was given; its caller may have changed it since */
  async #change(
    request: ReadRequest,
    operation: OutgoingChange,
    valueOf: () => Awaitable<unknown>
  ): Promise<void> {
    const { clock, forget } = this.#parts
    const deadline = clock.now() + this.queue.policy.writeTimeoutMs
    forget([request.key])
    try {
      for (;;) {
        const outcome = await this.#submit(request, operation)
        if (outcome.kind === 'accepted') return
        if (outcome.kind === 'full') {
          const value = await valueOf()
          if (await this.#writeThrough(request, changeOf(operation, value), value)) return
        }
        if (clock.now() > deadline) throw this.#tooLate(outcome)
        await sleep(LOOK_AGAIN_MS)
      }
    } finally {
      // Whoever comes from now on joins no load that began before.
      forget([request.key])
    }
  }

  #submit({ key }: ReadRequest, operation: Outgoing): Promise<Outcome> {
    return this.queue.submit(shardOfKey(key)!.index, operation)
  }

  /** False while the entry has something unflushed, which must not be overtaken. */
  async #writeThrough(request: ReadRequest, change: SinkOperation, value: unknown): Promise<boolean> {
    try {
      await this.#parts.writeThrough(request, () => this.queue.writeThrough(change), value)
      return true
    } catch (error) {
      if (error instanceof UnflushedError) return false
      throw error
    }
  }

  #tooLate(outcome: Exclude<Outcome, { kind: 'accepted' }>): Error {
    const { name, policy } = this.queue
    if (outcome.kind === 'full') return new BacklogFullError(name, outcome.backlog)
    const reasons = {
      'needs-base': 'keep the entry for long enough to add to it',
      guarded: 'see the end of another writer',
      foreign: 'let go of an entry of a later version'
    }
    return new RedisUnavailableError(`${reasons[outcome.kind]} within ${policy.writeTimeoutMs} ms`)
  }

  /** What an increment adds to: read through, so that it is in the entry, and known by the entry's token. */
  async #baseOf(request: ReadRequest): Promise<Base | undefined> {
    const { store, codec, readThrough } = this.#parts
    const fetched = await store.read(request)
    const { entry } = fetched
    const isThere = entry.state === 'value'
    const isCurrent = isThere && (entry.unflushed || store.nowMs() < entry.storedAtMs + entry.freshMs)
    if (!isCurrent) {
      // A tenant over its budget goes on counting, as it goes on putting.
      const isLeftOut = entry.state === 'failed' && entry.kind === 'uncacheable'
      await readThrough({ ...request, isNeeded: true }, isThere || isLeftOut)
      return undefined
    }
    if (entry.notFound) return { number: 0, token: entry.token, isNew: true }
    let value: unknown
    try {
      value = await fetched.decode(entry, codec, false)
    } catch (error) {
      if (!(error instanceof CorruptEntryError)) throw error
      await readThrough(request, true)
      return undefined
    }
    if (typeof value === 'number') return { number: value, token: entry.token, isNew: false }
    throw new InvalidOptionError('increment', value, `a number as the value of "${request.key}"`)
  }

  async #read(request: ReadRequest): Promise<unknown> {
    await this.#parts.readThrough(request, false)
    const fetched = await this.#parts.store.read(request)
    return fetched.entry.state === 'value'
      ? fetched.decode(fetched.entry, this.#parts.codec, false)
      : undefined
  }

  async #pack(request: ReadRequest, value: unknown): Promise<Packed> {
    const { store, codec, clock } = this.#parts
    const { source, key, scope } = request
    const stampOf = stamper(store.generations, request, () => this.#stamps.capture(scope))
    const packParts = { codec, draw: clock.random(), mostBytes: store.mostBytes(key) }
    const packed = await pack(key, value, 0, source.policy, packParts, async (row, lifeMs) => {
      return (await stampOf(row, lifeMs)) ?? NO_STAMP
    })
    if (packed.tooLarge !== undefined) throw packed.tooLarge
    return packed
  }
}

function changeOf({ kind, id, tenant }: OutgoingChange, value: unknown): SinkOperation {
  return kind === 'put' ? { kind, id: id!, tenant, value, replaces: false } : { kind, id: id!, tenant }
}
