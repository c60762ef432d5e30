import type { Cleaning } from './invalidation/cleaning.js'
import type { ClearOptions } from './invalidation/clearing.js'
import type { WriteOutcome } from './events.js'
import type { Tenancy } from './options.js'
import type { CacheId, TenantId } from './ports.js'
import type { Lookup, ReadRequest } from './tiers/request.js'

/** For one call that reads. */
export interface ReadOptions {
  /** Ends this caller's wait, with the signal's reason. The load goes on for the others and for the cache. */
  readonly signal?: AbortSignal | undefined
}

/** Entries of one kind: of no tenant, or of one. */
export interface CollectionReads<Id extends CacheId, Value> {
  readonly name: string
  /**
   * The value, from the cache or the loader; undefined when the source has no such thing. Rejects with the loader's own error,
   * or `LoadFailedElsewhereError` where another process ran it; with `LoadTimeoutError`, `OverloadedError`,
   * `UncacheableValueError` or `RecursiveLoadError`; never because Redis is away.
   */
  get(id: Id, options?: ReadOptions): Promise<Value | undefined>
  /** Like `get`, and where the value came from and how old it is. */
  lookup(id: Id, options?: ReadOptions): Promise<Lookup<Value>>
  /**
   * Many at once: one round trip for what is cached, one `loadMany` for what is not (one for each thousand). What the source does not have is
   * left out of the map; the order is that of `ids`. Rejects as `get` does when any load fails, and with `InvalidLoaderResultError`.
   */
  getMany(ids: Iterable<Id>, options?: ReadOptions): Promise<Map<Id, Value>>
  /** What is cached now, fresh or within `stale`; undefined when there is nothing, or Redis is away. Never loads. */
  peek(id: Id): Promise<Value | undefined>
  /**
   * What this process has in memory and may serve without asking anybody; undefined when there is nothing, or when what
   * is remembered is that there is no such thing. Synchronous; for code that cannot wait.
   */
  peekMemory(id: Id): Value | undefined
  /**
   * Into the cache only: priming, with no writer needed. Loads in progress no longer count. False when it was not stored:
   * while a `put`, `delete` or `cache.write` of the entry is under way, whose row will be newer; when one of its tags was
   * invalidated at the same time; beyond the tenant's budget. Rejects with `UncacheableValueError`, `ValueTooLargeError`, or
   * `RedisUnavailableError` when Redis did not confirm it.
   */
  set(id: Id, value: Value): Promise<boolean>
  /** Loads now, whatever is cached, and stores it. What is cached is served to others meanwhile. Rejects as `get` does. */
  refresh(id: Id, options?: ReadOptions): Promise<Value | undefined>
  /**
   * Declares the entry wrong: a read that starts after this resolved, in any process, gets nothing that was loaded
   * before. Rejects with `RedisUnavailableError` when Redis did not confirm it; with `whenRedisAway: 'remember'` it
   * resolves as `pending` instead.
   */
  invalidate(id: Id, options?: InvalidateOptions): Promise<InvalidationOutcome>
  /** The same for many, in one round trip. */
  invalidateMany(ids: Iterable<Id>, options?: InvalidateOptions): Promise<InvalidationOutcome>
  /**
   * The same for every entry whose id `isWrong` picks; resolves with how many there were. Looks through the keys of the
   * database page by page, so it takes as long as there are keys; prefer tags. An id longer than 200 characters, which is
   * hashed in its key, is always picked. Rejects with `RedisUnavailableError` when Redis did not do all of it.
   */
  invalidateWhere(isWrong: (id: Id) => boolean, options?: InvalidateOptions): Promise<number>
  /**
   * Declares the whole collection wrong, of every tenant; of one tenant on what `tenant()` gave. It takes a few
   * milliseconds however many entries there are: they are served to nobody from then on, and removed in the background.
   * Rejects with `RedisUnavailableError` when Redis did not confirm it.
   */
  clear(options?: ClearOptions): Promise<Cleaning>
  /** The entry of `id`, for `cache.write`. */
  key(id: Id): EntryRef<Value>
}

/** How wrong what is invalidated is. */
export interface InvalidateOptions {
  /** Makes the value stale instead: it is served for as long as `stale` allows while one process refreshes it. Default false. */
  readonly soft?: boolean | undefined
}

/** `confirmed`: by Redis, for every process. `pending`: Redis will be told first thing when it is back. */
export type InvalidationOutcome = 'confirmed' | 'pending'

/** A change of the source that is done, and what it left in the cache. */
export interface Written<Value> {
  /** The row as it was saved; undefined after `delete`. */
  readonly value: Value
  /** What became of the entry. */
  readonly cache: WriteOutcome
}

/**
 * Changes of the source of record, through the cache or behind it, as the collection's `write` says. Written through: once they resolve as `published` or `dropped`, nobody reads what was before. */
export interface CollectionWrites<Id extends CacheId, Value> {
  /**
   * Writes through: the source by way of the collection's `write`, then the cache. What `write` throws reaches the
   * caller, and leaves nothing cached. Resolves with the row as it was saved. Rejects with `RedisUnavailableError` before the source
   * is changed when Redis cannot be told (see `whenRedisAway`); with `WriteTimeoutError`, after which it may still happen.
   *
   * Behind: resolves once Redis has it. Rejects with `BacklogFullError`, `DurabilityUnmetError` or `SinkRefusesError`, when
   * nothing was accepted, and with `WriteUnknownError`, when it may have been.
   */
  put(id: Id, value: Value): Promise<Written<Value>>
  /** Many at once, each as with `put`. Rejects with `WritesFailedError` when some failed; the others are done. */
  putMany(entries: Iterable<readonly [Id, Value]>): Promise<Map<Id, Written<Value>>>
  /** Removes from the source by way of `remove`, then from the cache, which remembers that it is gone. Rejects as `put` does. */
  delete(id: Id): Promise<Written<undefined>>
  /**
   * Adds to a number, with `writeBehind` alone; by 1 when nothing is said. Resolves with what it came to. What is not cached is
   * loaded first; what does not exist counts as 0. A number beyond 2^53, or with a fraction, is as exact as a double. Rejects as
   * `put` does, and with what `get` rejects with.
   */
  increment(id: Id, by?: Value extends number ? number : never): Promise<number>
}

/** The way to a tenant's part of a collection. */
export interface CollectionTenants<Id extends CacheId, Value> {
  readonly name: string
  /** The same collection for one tenant: keys of its own, and the tenant in the loader's context. */
  tenant(tenant: TenantId): CollectionReads<Id, Value> & CollectionWrites<Id, Value>
  /** For the tenant of `cache.runAs`; throws `TenantRequiredError` outside of it. */
  tenant(): CollectionReads<Id, Value> & CollectionWrites<Id, Value>
}

/** One entry, named by what it holds. */
export class EntryRef<Value> {
  readonly key: string
  /** Keeps the type apart; it is never there. */
  declare readonly value: Value
  readonly #request: ReadRequest
  readonly #home: object

  /** @param home stands for the cache that it is of */
  constructor(request: ReadRequest, home: object) {
    this.key = request.key
    this.#request = request
    this.#home = home
  }

  /** What the engine reads and writes it by. */
  static requestOf(ref: EntryRef<unknown>): ReadRequest {
    return ref.#request
  }

  static isOf(home: object, ref: EntryRef<unknown>): boolean {
    return ref.#home === home
  }
}

/** With `tenancy: 'required'` all that it has is `tenant`, and `clear` for all of them. */
export type Collection<Id extends CacheId, Value, T extends Tenancy = 'optional'> = T extends 'required'
  ? CollectionTenants<Id, Value> & Pick<CollectionReads<Id, Value>, 'clear'>
  : CollectionReads<Id, Value> &
      CollectionWrites<Id, Value> &
      (T extends 'none' ? unknown : CollectionTenants<Id, Value>)
