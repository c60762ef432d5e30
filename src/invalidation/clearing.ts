import type { Clock } from '../clock.js'
import { ClosedError } from '../errors.js'
import type { Events } from '../events.js'
import {
  AD_HOC,
  collectionPrefix,
  entriesOf,
  generationKey,
  partsOf,
  tagPart,
  tagPrefix,
  type Area
} from '../keys/key-schema.js'
import { parseId } from '../keys/parse-id.js'
import type { CacheId, IdPart, TenantId } from '../ports.js'
import type { EntryStore } from '../tiers/entry-store.js'
import { startCleaning, type Cleaning, type CleaningReport } from './cleaning.js'

/** How a clear goes about it. */
export interface ClearOptions {
  /** Values become stale instead: they may be served while one process refreshes each, as far as `stale` allows. Default false. */
  readonly soft?: boolean | undefined
  /** False leaves what was cleared to its time to live, where it takes memory but is served to nobody. Default true. */
  readonly clean?: boolean | undefined
}

/** How a clear of a cache, or of what a tenant has in it, goes about it. */
export interface ClearAllOptions extends ClearOptions {
  /** False leaves the collections alone: only what `getOrLoad` and `set` stored without one. Default true. */
  readonly collections?: boolean | undefined
}

export interface ClearingParts {
  readonly store: EntryStore
  readonly events: Events
  readonly clock: Clock
  /** Readers of this process that come from now on do not join what is under way for these keys. */
  readonly forgetAll: (isIn: (key: string) => boolean) => void
  /** What this process keeps in memory under these keys is gone. */
  readonly dropKept: (isIn: (key: string) => boolean) => void
}

const SCAN_PAGE = 500
const NOTHING_TO_CLEAN: Cleaning = {
  finished: Promise.resolve<CleaningReport>({
    outcome: 'done',
    scanned: 0,
    removed: 0,
    durationMs: 0,
    error: undefined
  }),
  stop: () => undefined
}

/**
 * Declares many entries wrong at once. What can be named by a counter is cleared by moving it, whatever the number of
 * entries; the entries themselves are removed later, in pages.
 */
export class Clearing {
  readonly #parts: ClearingParts
  readonly #running = new Set<Promise<unknown>>()
  readonly #cleanings = new Set<Cleaning>()
  #closed = false

  constructor(parts: ClearingParts) {
    this.#parts = parts
  }

  /**
   * Everything in the area. Once it resolves nobody who starts to read, in any process, gets what was loaded before.
   * Rejects with `RedisUnavailableError` when Redis did not confirm it.
   */
  clear(area: Area, options?: ClearOptions): Promise<Cleaning> {
    return this.#untilDone(this.#clear(area, options))
  }

  async #clear(area: Area, { soft = false, clean = true }: ClearOptions = {}): Promise<Cleaning> {
    this.#assertOpen()
    const { store, events, forgetAll } = this.#parts
    const { collection, tenant } = area
    const { isIn } = entriesOf(area)
    forgetAll(isIn)
    try {
      const movedAtMs = await store.generations.move(generationKey(area), soft ? 'soft' : 'hard')
      events.emit('cleared', { collection, tenant, soft })
      return soft || !clean ? NOTHING_TO_CLEAN : this.#clean(area, movedAtMs)
    } finally {
      // Again: a flight that began meanwhile may have read what was cleared only after.
      forgetAll(isIn)
    }
  }

  /** Everything that carries one of the tags, among the entries of no tenant or of one. */
  invalidateTags(
    namespace: string,
    tenant: TenantId | undefined,
    tags: readonly string[],
    soft: boolean
  ): Promise<void> {
    return this.#untilDone(this.#invalidateTags(namespace, tenant, tags, soft))
  }

  async #invalidateTags(
    namespace: string,
    tenant: TenantId | undefined,
    tags: readonly string[],
    soft: boolean
  ): Promise<void> {
    this.#assertOpen()
    const { store, events, forgetAll } = this.#parts
    const parts = [...new Set(tags.map(tagPart))]
    if (parts.length === 0) return
    const { isIn } = entriesOf({ namespace, tenant })
    forgetAll(isIn)
    try {
      await store.generations.moveTags(tagPrefix(namespace, tenant), parts, soft ? 'soft' : 'hard')
      events.emit('tagsInvalidated', { tags, tenant, soft })
    } finally {
      forgetAll(isIn)
    }
  }

  /**
   * The entries of one collection whose id the predicate picks, found page by page. An id that is too long to stand in
   * its key cannot be judged, and is picked. Answers how many were dropped.
   *
   * What the store has evicted is not found there, and may be in memory all the same where nobody tells of evictions.
   */
  invalidateWhere(area: Area, predicate: (id: CacheId) => boolean, soft: boolean): Promise<number> {
    return this.#untilDone(this.#invalidateWhere(area, predicate, soft))
  }

  async #invalidateWhere(area: Area, predicate: (id: CacheId) => boolean, soft: boolean): Promise<number> {
    this.#assertOpen()
    const { store, events, forgetAll, dropKept } = this.#parts
    const { isIn } = entriesOf(area)
    const patterns = [patternOf(area)]
    const isPicked = (key: string): boolean => isIn(key) && isOfArea(key, area) && picks(predicate, key)
    let dropped = 0
    forgetAll(isPicked)
    try {
      for await (const page of store.scan(patterns, SCAN_PAGE, true)) {
        const keys = page.filter(isPicked)
        if (keys.length === 0) continue
        const count = await (soft ? store.soften(keys) : store.drop(keys))
        events.emit('invalidated', { keys, dropped: count, soft })
        dropped += count
      }
    } finally {
      forgetAll(isPicked)
      dropKept(isPicked)
    }
    return dropped
  }

  /** Refuses new calls, and ends what cleans. */
  async close(): Promise<void> {
    this.#closed = true
    for (const cleaning of this.#cleanings) cleaning.stop()
    await Promise.all([...this.#cleanings].map(({ finished }) => finished))
  }

  /** Resolves when no call is under way. */
  async drain(): Promise<void> {
    while (this.#running.size > 0) await Promise.allSettled(this.#running)
  }

  #untilDone<T>(work: Promise<T>): Promise<T> {
    this.#running.add(work)
    const done = (): void => void this.#running.delete(work)
    work.then(done, done)
    return work
  }

  #clean(area: Area, beforeMs: number): Cleaning {
    // What a clear that closing waits for leaves behind goes by its time to live.
    if (this.#closed) return NOTHING_TO_CLEAN
    const cleaning = startCleaning(area, beforeMs, this.#parts)
    this.#cleanings.add(cleaning)
    void cleaning.finished.then(() => this.#cleanings.delete(cleaning))
    return cleaning
  }

  #assertOpen(): void {
    if (this.#closed) throw new ClosedError()
  }
}

/** Of one collection and tenant, or of no tenant: one prefix. */
function patternOf({ namespace, collection = AD_HOC, tenant }: Area): string {
  return `${collectionPrefix(namespace, collection, tenant)}*`
}

/** Not of a tenant, when the area has none. */
function isOfArea(key: string, { tenant }: Area): boolean {
  return tenant !== undefined || partsOf(key)?.tenant === undefined
}

function picks(predicate: (id: CacheId) => boolean, key: string): boolean {
  const id: IdPart | undefined = parseId(partsOf(key)?.id ?? '#')
  return id === undefined || id === null || predicate(id)
}
