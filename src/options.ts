import { InvalidOptionError, UnknownOptionError } from './errors.js'
import type { WriteBehind } from './behind-options.js'
import { toMilliseconds, type Duration } from './durations.js'
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
  /** How long "there is no such thing" (the loader gave `undefined`) is remembered. Default '30s', never above `ttl`; 0 never. */
  readonly notFoundTtl?: Duration | undefined
  /** After a failed load nobody tries again for this long. Default '1s', spread by a fifth; 0 lets the next caller try; at most 60 s. */
  readonly failedTtl?: Duration | undefined
  /** The deadline of a load, with the wait for its turn under `maxConcurrentLoads`. Default '10s'. */
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

/** What `cache.collection` takes; `ttl` and `load` alone are required. Checked at once, with `InvalidOptionError`. */
export interface CollectionOptions<Id extends CacheId, Value, T extends Tenancy = Tenancy>
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
  readonly tags?: ((value: NoInfer<Value>, id: Id) => Iterable<string>) | undefined
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
  /** Checked against what comes back from Redis; a mismatch is a miss. Any Standard Schema: zod, valibot, … */
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
  /** The bound of a cache without Redis, in bytes. Default 64 MiB. */
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

const ENTRY_OPTION_NAMES: readonly string[] = [
  'ttl',
  'stale',
  'staleIfError',
  'notFoundTtl',
  'failedTtl',
  'loadTimeout',
  'waitTimeout',
  'jitter',
  'earlyRefresh'
]
const COLLECTION_OPTION_NAMES: readonly string[] = [
  ...ENTRY_OPTION_NAMES,
  'load',
  'loadMany',
  'write',
  'remove',
  'version',
  'tags',
  'writeTimeout',
  'whenRedisAway',
  'maxConcurrentLoads',
  'memory',
  'isolate',
  'schema',
  'tenancy'
]
const CACHE_OPTION_NAMES: readonly string[] = [
  'redis',
  'namespace',
  'tenancy',
  'memory',
  'commandTimeout',
  'lease',
  'writeLease',
  'maxPendingInvalidations',
  'maxConcurrentLoads',
  'maxQueuedLoads',
  'maxValueBytes',
  'compressAbove',
  'maxRecentBytes',
  'tenantBudget',
  'maxLocalBytes',
  'waitForReplicas'
]

const MEMORY_OPTION_NAMES: readonly string[] = ['maxBytes', 'maxEntries', 'ttl']
const LEAST_MEMORY_BYTES = 64 * 1024
/** The LRU map makes room for all of them at once. */
const MOST_ENTRIES = 10_000_000
const DEFAULT_MEMORY_TTL_MS = 60_000

const NAME = /^[A-Za-z0-9_.-]{1,64}$/
const NAME_FORM = "1 to 64 letters, digits, '_', '.' or '-'"
/** Redis refuses strings above 512 MB; a cached value that large is a mistake long before. */
const LARGEST_VALUE_BYTES = 64 * 1024 * 1024

export function resolveEntryPolicy(
  options: EntryOptions & { readonly isolate?: 'clone' | undefined }
): EntryPolicy {
  if (options.isolate !== undefined && options.isolate !== 'clone')
    throw new InvalidOptionError('isolate', options.isolate, "'clone', or nothing")
  const ttlMs = toMilliseconds(options.ttl, 'ttl', 1)
  const staleMs = durationOr(options.stale, 'stale', 0)
  const staleIfErrorMs = Math.max(staleMs, durationOr(options.staleIfError, 'staleIfError', staleMs))
  return {
    ttlMs,
    staleMs,
    staleIfErrorMs,
    notFoundMs: Math.min(ttlMs, durationOr(options.notFoundTtl, 'notFoundTtl', 30_000)),
    failedMs: atMostAMinute(
      durationOr(options.failedTtl, 'failedTtl', 1_000),
      options.failedTtl,
      'failedTtl'
    ),
    loadTimeoutMs: durationOr(options.loadTimeout, 'loadTimeout', 10_000, 1),
    waitTimeoutMs: durationOr(options.waitTimeout, 'waitTimeout', 10_000, 1),
    jitter: numberOr(options.jitter, 'jitter', 0.1, 0, 1),
    earlyRefresh: numberOr(options.earlyRefresh, 'earlyRefresh', 1, 0, 100),
    isolate: options.isolate === 'clone'
  }
}

export function writeFunctionOf<Id extends CacheId, Value>(
  write: CollectionOptions<Id, Value>['write']
): WriteFunction<Id, Value> | undefined {
  if (typeof write === 'function') return write
  return write?.kind === 'write-through' ? write.write : undefined
}

export function writeBehindOf<Id extends CacheId, Value>(
  write: CollectionOptions<Id, Value>['write']
): WriteBehind<Id, Value> | undefined {
  return typeof write === 'object' && write.kind === 'write-behind' ? write : undefined
}

export function resolveWritePolicy(options: {
  readonly writeTimeout?: Duration | undefined
  readonly whenRedisAway?: unknown
}): WritePolicy {
  const { whenRedisAway = 'refuse' } = options
  if (whenRedisAway !== 'refuse' && whenRedisAway !== 'remember') {
    throw new InvalidOptionError('whenRedisAway', whenRedisAway, "'refuse' or 'remember'")
  }
  return { writeTimeoutMs: durationOr(options.writeTimeout, 'writeTimeout', 30_000, 1), whenRedisAway }
}

/** Undefined: no limit but the cache's. */
export function resolveLoadLimit(maxConcurrentLoads: unknown): number | undefined {
  return maxConcurrentLoads === undefined
    ? undefined
    : wholeOr(maxConcurrentLoads, 'maxConcurrentLoads', 1, 1)
}

/** Undefined: nothing is kept in memory. */
export function resolveMemory(memory: unknown): MemoryPolicy | undefined {
  if (memory === undefined || memory === false) return undefined
  if (typeof memory !== 'object' || memory === null)
    throw new InvalidOptionError('memory', memory, 'false, or { maxBytes, maxEntries?, ttl? }')
  assertKnown(memory, MEMORY_OPTION_NAMES, 'memory')
  const { maxBytes, maxEntries, ttl } = memory as Partial<MemoryOptions>
  if (maxBytes === undefined)
    throw new InvalidOptionError('memory.maxBytes', maxBytes, 'a number of bytes, such as 64 * 1024 * 1024')
  return {
    maxBytes: wholeOr(maxBytes, 'memory.maxBytes', 0, LEAST_MEMORY_BYTES),
    maxEntries:
      maxEntries === undefined ? undefined : wholeOr(maxEntries, 'memory.maxEntries', 0, 1, MOST_ENTRIES),
    ttlMs: durationOr(ttl, 'memory.ttl', DEFAULT_MEMORY_TTL_MS, 1)
  }
}

/** What a collection has of its own beside the cache's; undefined: nothing of it is kept in memory. */
export function resolveCollectionMemory(
  memory: unknown,
  cache: MemoryPolicy | undefined
): { readonly ttlMs: number; readonly own: MemoryPolicy | undefined } | undefined {
  if (memory === false || (memory === undefined && cache === undefined)) return undefined
  if (memory === undefined) return { ttlMs: cache!.ttlMs, own: undefined }
  if (cache === undefined)
    throw new InvalidOptionError('memory', memory, "createCache to have the option 'memory' as well")
  if (typeof memory !== 'object' || memory === null)
    throw new InvalidOptionError('memory', memory, 'false, or { maxBytes?, maxEntries?, ttl? }')
  const isOwn = 'maxBytes' in memory || 'maxEntries' in memory
  const policy = resolveMemory({
    ...memory,
    maxBytes: (memory as Partial<MemoryOptions>).maxBytes ?? cache.maxBytes
  })!
  const ttlMs = 'ttl' in memory ? policy.ttlMs : cache.ttlMs
  return { ttlMs, own: isOwn ? policy : undefined }
}

/** For `getOrLoad`, whose options hold no loader. */
export function checkEntryOptions(options: unknown, more: readonly string[] = []): void {
  assertKnown(options, [...ENTRY_OPTION_NAMES, ...more], 'a call without a collection')
}

export function checkName(name: unknown, what: string): asserts name is string {
  if (typeof name === 'string' && NAME.test(name) && name !== 'tenant') return
  // `tenant` marks the keys of tenants: a collection of that name would share their prefix.
  throw new InvalidOptionError(what, name, `${NAME_FORM}, and not 'tenant'`)
}

export function checkCollectionOptions(name: unknown, options: unknown): void {
  checkName(name, 'collection name')
  assertKnown(options, COLLECTION_OPTION_NAMES, `collection "${name}"`)
  const { load, loadMany, write, remove, version, tags, schema, tenancy } = options as Record<string, unknown>
  if (typeof load !== 'function')
    throw new InvalidOptionError('load', load, 'a function (id, context) => value')
  if (loadMany !== undefined && typeof loadMany !== 'function') {
    throw new InvalidOptionError('loadMany', loadMany, 'a function (ids, context) => Map or array of values')
  }
  checkWrite(write as CollectionOptions<CacheId, unknown>['write'], options as Record<string, unknown>)
  if (remove !== undefined && typeof remove !== 'function') {
    throw new InvalidOptionError('remove', remove, 'a function (id, context)')
  }
  if (version !== undefined && typeof version !== 'function') {
    throw new InvalidOptionError('version', version, 'a function (row) => number')
  }
  if (tags !== undefined && typeof tags !== 'function') {
    throw new InvalidOptionError('tags', tags, 'a function (value, id) => tags')
  }
  if (
    schema !== undefined &&
    typeof (schema as StandardSchema | null)?.['~standard']?.validate !== 'function'
  ) {
    throw new InvalidOptionError('schema', schema, 'a Standard Schema (zod, valibot, arktype, …)')
  }
  resolveTenancy(tenancy, 'optional')
}

function checkWrite(
  write: CollectionOptions<CacheId, unknown>['write'] | null,
  { remove, version, notFoundTtl }: Record<string, unknown>
): void {
  if (write === undefined) return
  if (write !== null && typeof writeFunctionOf(write) === 'function') return
  if (write === null || writeBehindOf(write) === undefined) {
    throw new InvalidOptionError(
      'write',
      write,
      'what writeThrough(fn) or writeBehind(options) returns, or a function (id, value, context)'
    )
  }
  if (remove !== undefined) {
    throw new InvalidOptionError('remove', remove, 'left out with writeBehind, whose sink deletes')
  }
  if (version !== undefined) {
    throw new InvalidOptionError('version', version, 'left out with writeBehind; postgresSink has one')
  }
  // An increment of what is not there starts from the entry that says so.
  if (notFoundTtl !== undefined && toMilliseconds(notFoundTtl, 'notFoundTtl') < 1_000) {
    throw new InvalidOptionError('notFoundTtl', notFoundTtl, "at least '1s' with writeBehind")
  }
}

export function resolveCachePolicy(options: unknown): CachePolicy {
  assertKnown(options, CACHE_OPTION_NAMES, 'createCache')
  const given = options as CacheLimits & { namespace?: unknown; tenancy?: unknown }
  const { namespace } = given
  if (typeof namespace !== 'string' || !NAME.test(namespace)) {
    throw new InvalidOptionError('namespace', namespace, NAME_FORM)
  }
  const commandTimeoutMs = durationOr(given.commandTimeout, 'commandTimeout', 200, 1)
  return {
    namespace,
    tenancy: resolveTenancy(given.tenancy, 'optional'),
    memory: resolveMemory(given.memory),
    commandTimeoutMs,
    leaseMs: leaseOr(given.lease, 'lease', 2_000),
    writeLeaseMs: leaseOr(given.writeLease, 'writeLease', 5_000),
    maxPendingInvalidations: wholeOr(given.maxPendingInvalidations, 'maxPendingInvalidations', 10_000, 0),
    maxConcurrentLoads: wholeOr(given.maxConcurrentLoads, 'maxConcurrentLoads', 100, 1),
    maxQueuedLoads: wholeOr(given.maxQueuedLoads, 'maxQueuedLoads', 10_000, 0),
    maxValueBytes: wholeOr(given.maxValueBytes, 'maxValueBytes', 4 * 1024 * 1024, 1, LARGEST_VALUE_BYTES),
    compressAboveBytes: numberOr(
      given.compressAbove,
      'compressAbove',
      64 * 1024,
      0,
      Number.POSITIVE_INFINITY
    ),
    maxRecentBytes: wholeOr(given.maxRecentBytes, 'maxRecentBytes', 32 * 1024 * 1024, 0),
    maxLocalBytes: wholeOr(given.maxLocalBytes, 'maxLocalBytes', 64 * 1024 * 1024, 1024),
    tenantBudget: resolveBudget(given.tenantBudget),
    waitForReplicas: resolveReplicas(given.waitForReplicas, commandTimeoutMs)
  }
}

function resolveReplicas(given: unknown, commandTimeoutMs: number): ReplicaPolicy | undefined {
  if (given === undefined) return undefined
  assertKnown(given, ['count', 'timeout'], 'waitForReplicas')
  const { count, timeout } = given as Partial<WaitForReplicas>
  if (!Number.isInteger(count) || count! < 1)
    throw new InvalidOptionError('waitForReplicas.count', count, 'a number of replicas, at least 1')
  const name = 'waitForReplicas.timeout'
  return {
    count: count!,
    timeoutMs: atMostAMinute(durationOr(timeout, name, commandTimeoutMs, 1), timeout, name)
  }
}

function resolveBudget(given: unknown): BudgetPolicy | undefined {
  if (given === undefined) return undefined
  assertKnown(given, ['maxBytes', 'recountEvery'], 'tenantBudget')
  const { maxBytes, recountEvery } = given as TenantBudgetOptions
  const isNumber = typeof maxBytes === 'number' && maxBytes >= 0
  if (!isNumber && typeof maxBytes !== 'function') {
    throw new InvalidOptionError(
      'tenantBudget.maxBytes',
      maxBytes,
      'a number of bytes, or a function (tenant)'
    )
  }
  return {
    maxBytesOf: typeof maxBytes === 'function' ? maxBytes : () => maxBytes,
    recountEveryMs: durationOr(recountEvery, 'tenantBudget.recountEvery', 60_000, 1_000)
  }
}

export function resolveTenancy(tenancy: unknown, fallback: Tenancy): Tenancy {
  if (tenancy === undefined) return fallback
  if (tenancy === 'optional' || tenancy === 'required' || tenancy === 'none') return tenancy
  throw new InvalidOptionError('tenancy', tenancy, "'optional', 'required' or 'none'")
}

function assertKnown(options: unknown, names: readonly string[], of: string): void {
  if (typeof options !== 'object' || options === null || Array.isArray(options)) {
    throw new InvalidOptionError(`options of ${of}`, options, 'an object')
  }
  for (const name of Object.keys(options)) {
    if (!names.includes(name)) throw new UnknownOptionError(name, names)
  }
}

function durationOr(given: unknown, option: string, fallbackMs: number, leastMs = 0): number {
  return given === undefined ? fallbackMs : toMilliseconds(given, option, leastMs)
}

function leaseOr(given: unknown, option: string, fallbackMs: number): number {
  return atMostAMinute(durationOr(given, option, fallbackMs, 50), given, option)
}

/** A lease that is longer is taken for damage, by the scripts in Redis. */
function atMostAMinute(ms: number, given: unknown, option: string): number {
  if (ms <= 60_000) return ms
  throw new InvalidOptionError(option, given, 'at most 60 s')
}

function numberOr(given: unknown, option: string, fallback: number, least: number, most: number): number {
  if (given === undefined) return fallback
  if (typeof given === 'number' && given >= least && given <= most) return given
  throw new InvalidOptionError(option, given, `a number from ${least} to ${most}`)
}

function wholeOr(
  given: unknown,
  option: string,
  fallback: number,
  least: number,
  most = Number.MAX_SAFE_INTEGER
): number {
  if (given === undefined) return fallback
  if (Number.isInteger(given) && (given as number) >= least && (given as number) <= most)
    return given as number
  throw new InvalidOptionError(option, given, `a whole number from ${least} to ${most}`)
}
