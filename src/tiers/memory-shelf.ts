import { isShareable, type PayloadCodec } from '../codec/codec.js'
import type { Clock } from '../clock.js'
import { ageMs, freshForMs, type ValueEntry } from '../entry.js'
import type { Events } from '../events.js'
import type { EntryPolicy } from '../options.js'
import type { CacheId, TenantId } from '../ports.js'
import type { CollectionStats } from '../stats.js'
import type { Question } from './entry-store.js'
import type { FetchedEntry } from './fetched-entry.js'
import type { Generations } from './generations.js'
import { heapBytesOf } from './heap-size.js'
import type { Lru } from './lru.js'
import { MemoryEntry } from './memory-entry.js'
import type { MemoryTier } from './memory-tier.js'

/** What is kept beside a value: its key, its place in the LRU map and the index, its times, its promise. Measured, rounded up. */
const ENTRY_BYTES = 490
/** Of bytes that are kept: the Buffer around them, and what makes a copy of it. */
const BUFFER_BYTES = 1_050
/** What would have to be fetched again so soon is not worth keeping. */
const LEAST_LIFE_MS = 5

export interface ShelfParts {
  readonly name: string
  readonly tier: MemoryTier
  readonly room: Lru<MemoryEntry>
  readonly codec: PayloadCodec
  readonly generations: Generations
  readonly events: Events
  readonly clock: Clock
  readonly stats: CollectionStats
  /** The longest that memory serves anything without having asked Redis. */
  readonly ttlMs: number
  /** Whether an entry was declared wrong and Redis does not know: what is read of it is nothing to keep. */
  readonly isPending: (key: string) => boolean
}

/** What of a read request says where its answer is found again. */
export interface Kept extends Question {
  readonly id: CacheId
  readonly tenant: TenantId | undefined
  readonly source: { readonly policy: EntryPolicy }
}

/** A value as memory has it: one for everybody, or how to make one for each. */
interface Held {
  readonly value?: unknown
  readonly copy?: () => unknown
  readonly bytes: number
}

/** One moment, on the store's clock and on this process's. */
interface Now {
  readonly storeMs: number
  readonly ms: number
}

/** The entries of one collection and tenant by what callers name them, so that a hit makes no key. */
class Index {
  readonly byId = new Map<CacheId, MemoryEntry>()
  /** Of ids that are objects or arrays, which are equal without being the same. */
  readonly byKey = new Map<string, MemoryEntry>()

  get isEmpty(): boolean {
    return this.byId.size === 0 && this.byKey.size === 0
  }
}

const NOTHING_KEPT = new Index()

/** What is kept of one collection. */
export class MemoryShelf {
  readonly #parts: ShelfParts
  readonly #indexes = new Map<TenantId | undefined, Index>()

  constructor(parts: ShelfParts) {
    this.#parts = parts
  }

  /** @param keyOf for ids that are objects, which only their key can be compared by */
  view(tenant: TenantId | undefined, keyOf: (id: CacheId) => string): MemoryView {
    return new MemoryView(this.#parts, keyOf, () => this.#indexes.get(tenant) ?? NOTHING_KEPT)
  }

  /**
   * Keeps a value that was read from Redis, if nothing is known to have happened to it since it was asked for.
   *
   * @param storeNowMs on the store's clock
   */
  keep(request: Kept, fetched: FetchedEntry, value: unknown, storeNowMs: number): void {
    if (fetched.position === undefined || fetched.isKept) return
    fetched.isKept = true
    // Of both clocks the same moment: what has to be inflated is kept only later.
    const now = { storeMs: storeNowMs, ms: this.#parts.clock.now() }
    const entry = fetched.entry as ValueEntry
    const { isolate } = request.source.policy
    if (entry.notFound || (isShareable(entry.flags) && !isolate)) {
      return this.#keep(request, fetched, { value, bytes: heapBytesOf(value) }, now)
    }
    // What cannot be frozen, or is to be its caller's own, is kept as bytes and made anew for each.
    const { codec } = this.#parts
    const plain = codec.plain(entry.flags, entry.payload)
    const keepPlain = ({ flags, bytes }: { flags: number; bytes: Buffer }): void => {
      const copy = (): unknown => codec.decode(flags, bytes, isolate)
      this.#keep(request, fetched, { copy, bytes: bytes.length + BUFFER_BYTES }, now)
    }
    if (!(plain instanceof Promise)) return keepPlain(plain)
    // The read that calls this has inflated the same bytes, so it has reported them if they are damaged.
    plain.then(keepPlain, reported)
  }

  /** Takes an entry that is gone from the tier out of the index. */
  remove({ id, key, tenant }: MemoryEntry): void {
    const index = this.#indexes.get(tenant)
    if (index === undefined) return
    if (index.byId.get(id)?.key === key) index.byId.delete(id)
    index.byKey.delete(key)
    // Tenants come and go without end; an index that holds nothing is not kept for them.
    if (index.isEmpty) this.#indexes.delete(tenant)
  }

  #keep(request: Kept, fetched: FetchedEntry, held: Held, now: Now): void {
    const { tier, room } = this.#parts
    const { key, id, tenant } = request
    const entry = fetched.entry as ValueEntry
    const under = this.#standsUnder(request, fetched, entry)
    const lifeMs = this.#lifeMs(request, entry, now.storeMs)
    if (under === undefined || lifeMs < LEAST_LIFE_MS) return
    const kept = new MemoryEntry(
      {
        key,
        id,
        tenant,
        value: held.value,
        copy: held.copy,
        storedAtMs: now.ms - ageMs(entry, now.storeMs),
        freshUntilMs: now.ms + freshForMs(entry, now.storeMs),
        untilMs: now.ms + lifeMs,
        under,
        shelf: this
      },
      now.ms
    )
    // Whatever was kept under the key before leaves first, and its place in the index with it.
    tier.replace(key, room, kept, held.bytes + key.length + ENTRY_BYTES)
    if (room.has(key)) this.#list(kept)
  }

  /** The counters that the entry is kept under, when all of them and the entry are as they were when asked for. */
  #standsUnder(
    { key, scope }: Kept,
    { position }: FetchedEntry,
    entry: ValueEntry
  ): ReturnType<Generations['cellsOver']> {
    const { tier, generations, isPending } = this.#parts
    if (position === undefined || isPending(key) || !tier.standsSince(position, key)) return undefined
    const cells = generations.cellsOver(entry, key, scope)
    const isTold = cells?.every(
      (cell) => cell.position !== undefined && tier.standsSince(cell.position, cell.key)
    )
    return isTold === true ? cells : undefined
  }

  /** A little less than it is fresh for: the draw of early refresh, made in advance for the reads that memory answers. */
  #lifeMs({ source }: Kept, entry: ValueEntry, storeNowMs: number): number {
    const { clock, ttlMs } = this.#parts
    const earlyMs = -Math.log(1 - clock.random()) * entry.loadMs * source.policy.earlyRefresh
    return Math.min(freshForMs(entry, storeNowMs) - earlyMs, ttlMs)
  }

  #list(kept: MemoryEntry): void {
    const index = this.#indexes.get(kept.tenant) ?? new Index()
    this.#indexes.set(kept.tenant, index)
    if (typeof kept.id === 'object') index.byKey.set(kept.key, kept)
    else index.byId.set(kept.id, kept)
  }
}

/** What one collection and tenant finds in memory. */
export class MemoryView {
  readonly #parts: ShelfParts
  readonly #keyOf: (id: CacheId) => string
  readonly #present: () => Index
  #index = NOTHING_KEPT

  constructor(parts: ShelfParts, keyOf: (id: CacheId) => string, present: () => Index) {
    this.#parts = parts
    this.#keyOf = keyOf
    this.#present = present
  }

  /** What may be served at once; undefined when Redis has to be asked. */
  hit(id: CacheId): MemoryEntry | undefined {
    const entry = this.#index.byId.get(id) ?? this.#look(id)
    const { tier, room, stats, events } = this.#parts
    if (entry === undefined || !tier.isServable(entry, room)) return undefined
    stats.hits++
    stats.memoryHits++
    if (events.hearsHits) this.#report(entry)
    return entry
  }

  /** Beside the index that was found last: there may be one now, or another. */
  #look(id: CacheId): MemoryEntry | undefined {
    this.#index = this.#present()
    const { byId, byKey } = this.#index
    if (typeof id !== 'object') return byId.get(id)
    return byKey.size === 0 ? undefined : byKey.get(this.#keyOf(id))
  }

  #report(entry: MemoryEntry): void {
    const { events, name, tier } = this.#parts
    const age = tier.nowMs() - entry.storedAtMs
    events.emit('hit', { key: entry.key, collection: name, source: 'memory', ageMs: age })
  }
}

function reported(): void {}
