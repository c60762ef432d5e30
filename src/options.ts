import type { WriteBehind } from './behind-options.js'
import type { Duration } from './durations.js'
import type { Awaitable, CacheId, LoadContext, StandardSchema, TenantId } from './ports.js'

/**
 * Whether calls name a tenant: `'optional'`; `'required'`, so that a call without one is an error; `'none'` for a
 * collection that all tenants share, also inside `cache.runAs`.
 */
export type Tenancy = 'optional' | 'required' | 'none'

/** How long values live and how loads behave; for each collection, or each `getOrLoad`. */
export interface EntryOptions {
  /** Fresh for this long. Required; at least 1 ms. */
  readonly ttl: Duration
  /**
   * For this long after `ttl` the old value is served at once while one process refreshes it, and when the source
   * fails. Default 0: a stale value is never served.
   */
  readonly stale?: Duration | undefined
  /**
   * For this long after `ttl` the old value is served when the source fails, but a load is tried and waited for
   * first. Default: as long as `stale`; at least that.
   */
  readonly staleIfError?: Duration | undefined
  /** How long "there is no such thing" (the loader gave `undefined`) is remembered. Default '30s', never above `ttl`; 0 never: then the entry goes. */
  readonly notFoundTtl?: Duration | undefined
  /** After a failed load nobody tries again for this long. Default '1s', spread by a fifth; 0 lets the next caller try; at most 60 s. */
  readonly failedTtl?: Duration | undefined
  /**
   * The deadline of a load, with the wait for its turn under `maxConcurrentLoads`; when that took most of it, other processes are
   * told of no failure. Default '10s'.
   */
  readonly loadTimeout?: Duration | undefined
  /** How long a caller waits for another process's load before it reads the source itself, storing nothing. Default '10s'. */
  readonly waitTimeout?: Duration | undefined
  /**
   * `ttl` is shortened by a random share of up to this much, so that entries stored together do not expire together.
   * From 0 to 1; default 0.1.
   */
  readonly jitter?: number | undefined
  /**
   * How eagerly one process refreshes a value shortly before it goes stale: the beta of XFetch, which weighs the cost
   * of the last load. 0 never; 1 is the default; above 1 earlier. Callers are served from the cache meanwhile.
   */
  readonly earlyRefresh?: number | undefined
}

/**
 * What `cache.collection` takes; `ttl` and `load` alone are required. Checked at once, with `InvalidOptionError`. Where it is written as
 * a type, `tenancy` is told by it: `CollectionOptions<number, Product, 'none'>`; without it the collection is as its cache.
 */
export interface CollectionOptions<Id extends CacheId, Value, T extends Tenancy = never>
  extends EntryOptions {
  /** Reads the source of record; `undefined` means there is no such thing. */
  readonly load: (id: Id, context: LoadContext) => Awaitable<Value | undefined>
  /**
   * Reads many at once, for the misses of `getMany`, a thousand at most. Gives a Map from id to value, or an array with one element for
   * each id in the same order; what is missing or `undefined` does not exist. Default: `load` for each.
   */
  readonly loadMany?:
    | ((
        ids: readonly Id[],
        context: LoadContext
      ) => Awaitable<ReadonlyMap<Id, NoInfer<Value>> | readonly (NoInfer<Value> | undefined)[]>)
    | undefined
  /**
   * What an entry is about, beside its id, such as `brand:acme`: `cache.invalidateTags` declares wrong whatever carries a
   * tag. Called with each value that is stored; a remembered not-found has no tags. Write it after `load`, from which the
   * compiler takes the type of the values.
   */
  readonly tags?: ((value: NoInfer<Value>, id: Id) => Iterable<string> & object) | undefined
  /**
   * Makes `put` possible. `writeThrough(async (id: Id, value: Value, context) => savedRow)`, or the function alone, whose
   * parameters the compiler then knows by itself; or `writeBehind({ sink, … })`, which makes `delete` possible as well, and
   * `increment`.
   */
  readonly write?:
    | WriteThrough<Id, Value>
    | WriteFunction<Id, Value>
    | WriteBehind<NoInfer<Id>, NoInfer<Value>>
    | undefined
  /** Makes `delete` possible: removes it from the source of record, and resolves once that is committed. */
  readonly remove?: ((id: Id, context: LoadContext) => Awaitable<unknown>) | undefined
  /**
   * A number in each row that grows with every change of it. With it the newest of overlapping writes is cached;
   * without it such a key is dropped.
   */
  readonly version?: ((row: Value) => number) | undefined
  /** The deadline of one run of `write` or `remove`. Default '30s'. */
  readonly writeTimeout?: Duration | undefined
  /**
   * A write while Redis cannot be told: `'refuse'` it before the source is changed (the default), or `'remember'` the
   * invalidation in this process and deliver it first when Redis is back. Other processes may serve the old value until then.
   */
  readonly whenRedisAway?: 'refuse' | 'remember' | undefined
  /**
   * Loads of this collection that may run at once in this process, beside the cache's own `maxConcurrentLoads`; more wait
   * for their turn, within the cache's `maxQueuedLoads`. Default: as many as the cache allows.
   */
  readonly maxConcurrentLoads?: number | undefined
  /**
   * `false`: nothing of this collection is kept in memory. Else limits that differ from the cache's: `ttl`, or
   * `maxBytes` and `maxEntries` for room of its own beside what the others share. Default: as the cache has it.
   */
  readonly memory?: Partial<MemoryOptions> | false | undefined
  /**
   * `'clone'`: each caller gets a copy of its own that it may change, for the price of decoding it at every hit.
   * Default: one frozen value for all, where it can be frozen.
   */
  readonly isolate?: 'clone' | undefined
  /**
   * Checked against what comes back from Redis; a mismatch is a miss, and so is no answer within `loadTimeout`. Any Standard Schema:
   * zod, valibot, …
   */
  readonly schema?: StandardSchema | undefined
  /** Default: as the cache has it. */
  readonly tenancy?: T | undefined
}

/**
 * Changes the source, and gives the row as it was saved once that is committed. What it throws reaches the caller
 * of `put`.
 */
export type WriteFunction<Id extends CacheId, Value> = (
  id: Id,
  value: Value,
  context: LoadContext
) => Awaitable<Value>

/** What `writeThrough` makes. */
export interface WriteThrough<Id extends CacheId, Value> {
  readonly kind: 'write-through'
  readonly write: WriteFunction<Id, Value>
}

/** What rules writes, every default filled in. */
export interface WritePolicy {
  readonly writeTimeoutMs: number
  readonly whenRedisAway: 'refuse' | 'remember'
}

/** What rules the life of an entry, in milliseconds, every default filled in. */
export interface EntryPolicy {
  readonly ttlMs: number
  readonly staleMs: number
  readonly staleIfErrorMs: number
  readonly notFoundMs: number
  readonly failedMs: number
  readonly loadTimeoutMs: number
  readonly waitTimeoutMs: number
  readonly jitter: number
  readonly earlyRefresh: number
  /** Each caller gets a copy of its own. */
  readonly isolate: boolean
}

/** Values kept in this process, in front of Redis. */
export interface MemoryOptions {
  /** What they may take, by a count of what they take on the heap. Required; at least 64 KiB. */
  readonly maxBytes: number
  /** How many there may be. Default: as many as fit. */
  readonly maxEntries?: number | undefined
  /**
   * None is served from memory for longer than this after it was read from Redis, whatever its own `ttl`: the bound on
   * staleness when all else fails. Default '60s'.
   */
  readonly ttl?: Duration | undefined
}

/** The same, every default filled in. */
export interface MemoryPolicy {
  readonly maxBytes: number
  readonly maxEntries: number | undefined
  readonly ttlMs: number
}

/** The bounds of a cache, each with its default. */
export interface CacheLimits {
  /**
   * Keeps values in this process, in front of Redis, and drops them as soon as Redis says that they changed. A hit there
   * asks nobody. Default `false`: every read is answered by Redis.
   */
  readonly memory?: MemoryOptions | false | undefined
  /** The deadline of one Redis call. Default '200ms'. */
  readonly commandTimeout?: Duration | undefined
  /**
   * How long a silent process keeps the right to load a key: what a crash costs the waiting ones. A living one renews
   * it at a third. Default '2s'; from 50 ms to 60 s.
   */
  readonly lease?: Duration | undefined
  /**
   * How long a silent writer keeps its entries from being filled: what a crash in the middle of a write costs, and
   * what the source may take to notice that a client is gone. A living one renews it at a third. Default '5s';
   * from 50 ms to 60 s.
   */
  readonly writeLease?: Duration | undefined
  /**
   * What makes entries wrong (invalidations, clears, and both ends of a write) is done only once so many replicas have it,
   * so that a failover right after does not bring the old value back. Costs each of them a round trip to a replica. What is
   * not confirmed in time counts as not delivered, as `whenRedisAway` says. Default: none.
   */
  readonly waitForReplicas?: WaitForReplicas | undefined
  /** Changes that may wait for Redis with `whenRedisAway: 'remember'`; beyond it writes are refused. Default 10,000 keys. */
  readonly maxPendingInvalidations?: number | undefined
  /** Loads that may run at once in this process, over all collections. Default 100. Loads started by a loader do not count. */
  readonly maxConcurrentLoads?: number | undefined
  /** Loads that may wait for their turn, over all collections; beyond it callers get `OverloadedError`. Default 10,000. */
  readonly maxQueuedLoads?: number | undefined
  /** The largest value, serialized, before compression. A larger one is returned but not stored. Default 4 MiB. */
  readonly maxValueBytes?: number | undefined
  /** Values whose serialized form is larger are compressed. Default 64 KiB; Infinity never. */
  readonly compressAbove?: number | undefined
  /**
   * Values over 8 KiB that this process has read lately are kept within so many bytes. They are never served unasked:
   * the next read asks Redis for the entry's header, and is spared the transfer and the decoding when it is still the
   * same. Default 32 MiB; 0 never.
   */
  readonly maxRecentBytes?: number | undefined
  /**
   * What one tenant may take in the cache; beyond it its values are returned but not stored, until there is room again.
   * Approximate: see `TenantBudgetOptions`. Default: no limit.
   */
  readonly tenantBudget?: TenantBudgetOptions | undefined
  /** The bound of a cache without Redis, in bytes. What alone is larger is returned but not stored. Default 64 MiB. */
  readonly maxLocalBytes?: number | undefined
}

/** Which replicas have to have what makes entries wrong, before it counts as done. */
export interface WaitForReplicas {
  /** Replicas that must have it, at least 1: all that there are, to be sure of the one that takes over. On a Cluster, of each primary. */
  readonly count: number
  /** How long Redis waits for them. Default: as long as `commandTimeout`; at most 60 s. */
  readonly timeout?: Duration | undefined
}

/** What a tenant may take in the cache, and how often that is counted. */
export interface TenantBudgetOptions {
  /** Keys and values, and 64 bytes beside each entry; for all tenants, or for each. */
  readonly maxBytes: number | ((tenant: TenantId) => number)
  /**
   * How often one process of the fleet counts what all tenants have, by SCAN and STRLEN in pages. In between every process
   * adds what it stores, and tells the others each second. Default '1m'.
   */
  readonly recountEvery?: Duration | undefined
}

export interface CachePolicy {
  readonly namespace: string
  readonly tenancy: Tenancy
  readonly memory: MemoryPolicy | undefined
  readonly commandTimeoutMs: number
  readonly leaseMs: number
  readonly writeLeaseMs: number
  readonly maxPendingInvalidations: number
  readonly maxConcurrentLoads: number
  readonly maxQueuedLoads: number
  readonly maxValueBytes: number
  readonly compressAboveBytes: number
  readonly maxRecentBytes: number
  readonly maxLocalBytes: number
  readonly tenantBudget: BudgetPolicy | undefined
  readonly waitForReplicas: ReplicaPolicy | undefined
}

export interface ReplicaPolicy {
  readonly count: number
  readonly timeoutMs: number
}

export interface BudgetPolicy {
  readonly maxBytesOf: (tenant: TenantId) => number
  readonly recountEveryMs: number
}
