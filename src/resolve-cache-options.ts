import { InvalidOptionError } from './errors.js'
import {
  assertKnown,
  atMostAMinute,
  durationOr,
  leaseOr,
  NAME,
  NAME_FORM,
  numberOr,
  wholeOr
} from './option-values.js'
import type {
  BudgetPolicy,
  CacheLimits,
  CachePolicy,
  MemoryOptions,
  MemoryPolicy,
  ReplicaPolicy,
  TenantBudgetOptions,
  WaitForReplicas
} from './options.js'
import { resolveTenancy } from './resolve-options.js'

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

/** Redis refuses strings above 512 MB; a cached value that large is a mistake long before. */
const LARGEST_VALUE_BYTES = 64 * 1024 * 1024

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
