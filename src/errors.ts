/**
 * Every error Corral itself raises. A loader's own error is never wrapped in the process that ran the loader:
 * it reaches the caller unchanged.
 */

/** The stable codes; `docs/reference/errors.md` says for each what to do. */
export type CorralErrorCode =
  | 'INVALID_OPTION'
  | 'INVALID_KEY'
  | 'UNCACHEABLE_VALUE'
  | 'VALUE_TOO_LARGE'
  | 'CORRUPT_ENTRY'
  | 'TENANT_REQUIRED'
  | 'TENANTLESS'
  | 'LOAD_TIMEOUT'
  | 'LOAD_FAILED_ELSEWHERE'
  | 'RECURSIVE_LOAD'
  | 'INVALID_LOADER_RESULT'
  | 'OVERLOADED'
  | 'REDIS_UNAVAILABLE'
  | 'NOT_WRITABLE'
  | 'WRITE_TIMEOUT'
  | 'WRITES_FAILED'
  | 'WRITE_UNKNOWN'
  | 'BACKLOG_FULL'
  | 'DURABILITY_UNMET'
  | 'SHARDS_DIFFER'
  | 'SINK_NOT_READY'
  | 'SINK_REFUSES'
  | 'NOT_FLUSHED'
  | 'UNFLUSHED'
  | 'CLOSED'

/** The family. Test with `error instanceof CorralError`, branch on `error.code`. */
export class CorralError extends Error {
  readonly code: CorralErrorCode

  constructor(code: CorralErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = new.target.name
    this.code = code
  }
}

/** An option has a wrong type, unit or range, or is not known. The message names it, what came and what was needed. */
export class InvalidOptionError extends CorralError {
  /** The option's name, with the object it is in: `memory.maxBytes`. */
  readonly option: string

  constructor(option: string, got: unknown, needed: string) {
    super('INVALID_OPTION', `Option "${option}" is ${describe(got)}; needed: ${needed}.`)
    this.option = option
  }
}

/** An option that does not exist: a misspelt one would otherwise be a default in production. */
export class UnknownOptionError extends InvalidOptionError {
  constructor(option: string, known: readonly string[]) {
    super(option, undefined, '')
    this.message = `Option "${option}" does not exist; there are: ${known.join(', ')}.`
  }
}

/** An id, a tenant or a name that cannot become part of a key. */
export class InvalidKeyError extends CorralError {
  constructor(part: string, got: unknown, needed: string) {
    super('INVALID_KEY', `${part} is ${describe(got)}; needed: ${needed}.`)
  }
}

/** The loader returned something that no cache could give back unchanged: a function, a cycle, a class instance. */
export class UncacheableValueError extends CorralError {
  /** Where in the value, as a path from its root: `$.author.books[3]`. */
  readonly path: string

  constructor(path: string, reason: string) {
    super('UNCACHEABLE_VALUE', `The value cannot be cached: ${path} ${reason}.`)
    this.path = path
  }
}

const TOO_LARGE = {
  value: (bytes: number, most: number) =>
    `The value takes ${bytes} bytes when serialized; "maxValueBytes" is ${most}.`,
  entry: (bytes: number, most: number) =>
    `The value takes ${bytes} bytes as it would be stored; "maxLocalBytes" has room for ${most}.`,
  tags: (bytes: number, most: number) =>
    `The tags of the value take ${bytes} bytes; an entry has room for ${most}.`
}

/** A value over `maxValueBytes`, or over `maxLocalBytes` without Redis, or with more tags than an entry has room for. On a read it is returned to the caller and left out of the cache. */
export class ValueTooLargeError extends CorralError {
  readonly bytes: number
  readonly maxBytes: number

  constructor(bytes: number, maxBytes: number, what: 'value' | 'entry' | 'tags' = 'value') {
    super('VALUE_TOO_LARGE', TOO_LARGE[what](bytes, maxBytes))
    this.bytes = bytes
    this.maxBytes = maxBytes
  }
}

/** Bytes in Redis that are not an entry. Never thrown to callers: it is counted and read as a miss. */
export class CorruptEntryError extends CorralError {
  constructor(reason: string, options?: ErrorOptions) {
    super('CORRUPT_ENTRY', `The stored entry cannot be read: ${reason}.`, options)
  }
}

/** A call without a tenant on a cache or collection with `tenancy: 'required'`. */
export class TenantRequiredError extends CorralError {
  constructor(subject: string) {
    super('TENANT_REQUIRED', `${subject} needs a tenant: call .tenant(id) first, or work inside cache.runAs.`)
  }
}

/** A tenant was named where all tenants share one collection. */
export class TenantlessError extends CorralError {
  constructor(subject: string) {
    super('TENANTLESS', `${subject} has tenancy "none": it is the same for every tenant.`)
  }
}

/** The loader did not settle within `loadTimeout`. Its AbortSignal has fired. */
export class LoadTimeoutError extends CorralError {
  readonly timeoutMs: number
  /** How much of that it waited for its turn in this process, under `maxConcurrentLoads`, before the loader was called. */
  readonly waitedMs: number

  constructor(key: string, timeoutMs: number, waitedMs: number) {
    const waiting =
      waitedMs < 1 ? '' : `, of which it waited ${waitedMs} ms for its turn under "maxConcurrentLoads"`
    super(
      'LOAD_TIMEOUT',
      `The load of "${key}" took longer than its "loadTimeout" of ${timeoutMs} ms${waiting}.`
    )
    this.timeoutMs = timeoutMs
    this.waitedMs = waitedMs
  }
}

/** Another process ran the loader and it failed; `cause` has that error's name, message and code as plain data. */
export class LoadFailedElsewhereError extends CorralError {
  declare readonly cause: FailureReport

  constructor(key: string, report: FailureReport) {
    super('LOAD_FAILED_ELSEWHERE', `The load of "${key}" failed: ${report.name}: ${report.message}`, {
      cause: report
    })
  }
}

/** What travels between processes of an error: enough to log and to branch on, bounded in size. */
export interface FailureReport {
  readonly name: string
  readonly message: string
  readonly code?: string
}

/** A loader asked the cache for the very key it is loading; waiting would never end. */
export class RecursiveLoadError extends CorralError {
  constructor(key: string) {
    super('RECURSIVE_LOAD', `The loader of "${key}" asked for "${key}" itself.`)
  }
}

/** `loadMany` returned neither a Map nor an array with one element for each id. */
export class InvalidLoaderResultError extends CorralError {
  constructor(collection: string, got: unknown, ids: number) {
    super(
      'INVALID_LOADER_RESULT',
      `loadMany of "${collection}" returned ${describe(got)}; needed: a Map from id to value, or an array of ${ids} values in the order of the ids.`
    )
  }
}

/** Too many loads run and wait already. The source is being protected; answer 503 and let the client retry later. */
export class OverloadedError extends CorralError {
  constructor(running: number, queued: number) {
    super('OVERLOADED', `${running} loads are running and ${queued} wait; this one was refused.`)
  }
}

/** Redis did not do what a call needs it for, in time or at all. `cause` is the driver's error. */
export class RedisUnavailableError extends CorralError {
  constructor(action: string, options?: ErrorOptions) {
    super('REDIS_UNAVAILABLE', `Redis did not ${action}.`, options)
  }
}

/** A write on a collection that was given no `write`, or no `remove`. */
export class NotWritableError extends CorralError {
  constructor(collection: string, option: 'write' | 'remove' | 'writeBehind') {
    super('NOT_WRITABLE', `Collection "${collection}" has no "${option}".`)
  }
}

/**
 * The change of the source did not settle within `writeTimeout`; its AbortSignal has fired. Whether it happened is not
 * known. Nothing is cached until it settles.
 */
export class WriteTimeoutError extends CorralError {
  constructor(timeoutMs: number) {
    super(
      'WRITE_TIMEOUT',
      `The write took longer than its "writeTimeout" of ${timeoutMs} ms; it may still happen.`
    )
  }
}

/** Some of the writes of a `putMany` failed; the others are done. */
export class WritesFailedError extends CorralError {
  /** By id, what each failed write threw. */
  readonly failures: ReadonlyMap<unknown, unknown>

  constructor(failures: ReadonlyMap<unknown, unknown>, writes: number) {
    super('WRITES_FAILED', `${failures.size} of ${writes} writes failed; see "failures".`, {
      cause: failures.values().next().value
    })
    this.failures = failures
  }
}

/**
 * A write behind was sent and no answer came in time, or it went through to a sink that did not say what became of it. It may
 * have been accepted: then it is in the source in the end, once, and read back now. Asking again makes a second one; read the value first where that matters.
 */
export class WriteUnknownError extends CorralError {
  constructor(queue: string, options?: ErrorOptions) {
    super('WRITE_UNKNOWN', `A write of "${queue}" was not confirmed; it may have been accepted.`, options)
  }
}

/** Too much waits to be written to the source. Nothing was accepted. */
export class BacklogFullError extends CorralError {
  readonly operations: number
  readonly bytes: number
  readonly ageMs: number

  constructor(queue: string, backlog: { operations: number; bytes: number; ageMs: number }) {
    const { operations, bytes, ageMs } = backlog
    super(
      'BACKLOG_FULL',
      `A shard of "${queue}" has ${operations} unflushed operations of ${bytes} bytes, the oldest ${ageMs} ms old, which is its limit.`
    )
    this.operations = operations
    this.bytes = bytes
    this.ageMs = ageMs
  }
}

/** Redis cannot keep what `durability` promises. Nothing was accepted. */
export class DurabilityUnmetError extends CorralError {
  constructor(queue: string, level: string, found: string, change: string) {
    super(
      'DURABILITY_UNMET',
      `Redis cannot keep "${queue}" at durability "${level}": ${found}. To change: ${change}.`
    )
  }
}

/** The queue is in use with another number of shards, and one thing's operations must not lie in two. */
export class ShardsDifferError extends CorralError {
  constructor(queue: string, given: number, inUse: number, key: string) {
    super(
      'SHARDS_DIFFER',
      `"${queue}" is in use with ${inUse} shards; "shards" is ${given}. Set it to ${inUse}, or stop all writers, flush, and delete the key "${key}".`
    )
  }
}

/** Something that the sink needs is not there. The message says what, and how to make it. */
export class SinkNotReadyError extends CorralError {
  constructor(sink: string, missing: string, options?: ErrorOptions) {
    super('SINK_NOT_READY', `The sink ${sink} is not ready: ${missing}`, options)
  }
}

/** The sink cannot take such an operation, so it was not accepted. */
export class SinkRefusesError extends CorralError {
  constructor(sink: string, reason: string) {
    super('SINK_REFUSES', `The sink ${sink} ${reason}.`)
  }
}

/** A change of the source around the queue: the entry is written behind, and has something that the source does not have yet. */
export class UnflushedError extends CorralError {
  constructor(key: string) {
    super('UNFLUSHED', `The source does not have "${key}" yet; flush before you change it directly.`)
  }
}

/** A flush did not end in time. What is left stays in Redis, for a worker to come. */
export class NotFlushedError extends CorralError {
  /** What is left, as `namespace/queue/shard`; of a read that waited, the key. */
  readonly shards: readonly string[]

  constructor(shards: readonly string[], timeoutMs: number, hint: string) {
    super(
      'NOT_FLUSHED',
      `Within ${timeoutMs} ms these shards were not flushed: ${shards.join(', ')}. ${hint}`
    )
    this.shards = shards
  }
}

/** A call after `cache.close()`. */
export class ClosedError extends CorralError {
  constructor() {
    super('CLOSED', 'The cache is closed.')
  }
}

const DESCRIPTION_LIMIT = 80
/** Of a URL, which may have been passed in the wrong place; also of one that is malformed. */
const CREDENTIALS = /\/\/.*@/s

/** What was thrown, as text: anything may be, also what cannot be made text of. */
export function textOf(thrown: unknown): string {
  try {
    return String(thrown)
  } catch {
    return 'something that has no text'
  }
}

/** A value as it stands in a message: its type, and as much of it as helps. */
function describe(value: unknown): string {
  if (value === null || value === undefined) return String(value)
  if (typeof value === 'string') return JSON.stringify(shorten(value.replace(CREDENTIALS, '//…@')))
  if (typeof value === 'number' || typeof value === 'boolean') return String(value)
  if (typeof value === 'bigint') return `${value}n`
  if (typeof value === 'function' || typeof value === 'symbol') return `a ${typeof value}`
  try {
    if (Array.isArray(value)) return `an array of ${value.length}`
    return `an object of type ${value.constructor?.name ?? 'Object'}`
  } catch {
    // A Proxy, or a getter that throws: the message is to be about what was needed.
    return 'an object that cannot be read'
  }
}

function shorten(text: string): string {
  return text.length <= DESCRIPTION_LIMIT ? text : `${text.slice(0, DESCRIPTION_LIMIT)}…`
}
