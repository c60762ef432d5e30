import { InvalidOptionError } from './errors.js'
import type { WriteBehind } from './behind-options.js'
import { toMilliseconds, type Duration } from './durations.js'
import { assertKnown, atMostAMinute, checkName, durationOr, numberOr, wholeOr } from './option-values.js'
import type { CacheId, StandardSchema } from './ports.js'
import type {
  Tenancy,
  EntryOptions,
  CollectionOptions,
  WriteFunction,
  WritePolicy,
  EntryPolicy
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

export function resolveWritePolicy(
  options: { readonly writeTimeout?: Duration | undefined; readonly whenRedisAway?: unknown },
  timeoutName = 'writeTimeout'
): WritePolicy {
  const { whenRedisAway = 'refuse' } = options
  if (whenRedisAway !== 'refuse' && whenRedisAway !== 'remember') {
    throw new InvalidOptionError('whenRedisAway', whenRedisAway, "'refuse' or 'remember'")
  }
  return { writeTimeoutMs: durationOr(options.writeTimeout, timeoutName, 30_000, 1), whenRedisAway }
}

/** Undefined: no limit but the cache's. */
export function resolveLoadLimit(maxConcurrentLoads: unknown): number | undefined {
  return maxConcurrentLoads === undefined
    ? undefined
    : wholeOr(maxConcurrentLoads, 'maxConcurrentLoads', 1, 1)
}

/** For `getOrLoad`, whose options hold no loader. */
export function checkEntryOptions(options: unknown, more: readonly string[] = []): void {
  assertKnown(options, [...ENTRY_OPTION_NAMES, ...more], 'a call without a collection')
}

/** A name that `clear` does not know, such as that of a tenant, would clear more than was meant. */
export function checkClearOptions(options: unknown): void {
  if (options !== undefined) checkSwitches(options, ['soft', 'clean'], 'clear')
}

/** Of a cache, or of a tenant. */
export function checkClearAllOptions(options: unknown): void {
  if (options !== undefined) checkSwitches(options, ['soft', 'clean', 'collections'], 'clear')
}

/** A misspelt `soft` would clear harder than was meant. */
export function checkInvalidateOptions(options: unknown): void {
  if (options !== undefined) checkSwitches(options, ['soft'], 'an invalidation')
}

function checkSwitches(options: unknown, names: readonly string[], of: string): void {
  assertKnown(options, names, of)
  for (const [name, is] of Object.entries(options as Record<string, unknown>)) {
    if (is !== undefined && typeof is !== 'boolean') throw new InvalidOptionError(name, is, 'true or false')
  }
}

/** A misspelt `timeout` would be a wait without an end. */
export function checkTimeoutOptions(options: unknown, of: string): void {
  if (options !== undefined) assertKnown(options, ['timeout'], of)
}

export function checkWriteOptions(options: unknown): void {
  assertKnown(options, ['timeout', 'whenRedisAway'], 'cache.write')
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

export function resolveTenancy(tenancy: unknown, fallback: Tenancy): Tenancy {
  if (tenancy === undefined) return fallback
  if (tenancy === 'optional' || tenancy === 'required' || tenancy === 'none') return tenancy
  throw new InvalidOptionError('tenancy', tenancy, "'optional', 'required' or 'none'")
}
