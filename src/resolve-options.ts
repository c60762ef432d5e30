import { InvalidOptionError, UnknownOptionError } from './errors.js'
import type { WriteBehind } from './behind-options.js'
import { toMilliseconds, type Duration } from './durations.js'
import type { CacheId, StandardSchema } from './ports.js'
import type {
  Tenancy,
  EntryOptions,
  CollectionOptions,
  WriteFunction,
  WritePolicy,
  EntryPolicy,
  MemoryOptions,
  MemoryPolicy,
  CacheLimits,
  WaitForReplicas,
  TenantBudgetOptions,
  CachePolicy,
  ReplicaPolicy,
  BudgetPolicy
} from './options.js'

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

/** A name that `clear` does not know, such as that of a tenant, would clear more than was meant. */
export function checkClearOptions(options: unknown): void {
  if (options !== undefined) assertKnown(options, ['soft', 'clean'], 'clear')
}

export function checkWriteOptions(options: unknown): void {
  assertKnown(options, ['timeout', 'whenRedisAway'], 'cache.write')
}

export function checkIterable(given: unknown, option: string, needed: string): void {
  const isIterable = typeof (given as Partial<Iterable<unknown>> | null)?.[Symbol.iterator] === 'function'
  if (typeof given === 'string' || !isIterable) throw new InvalidOptionError(option, given, needed)
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
