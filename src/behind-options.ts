import { toMilliseconds, type Duration } from './durations.js'
import { InvalidOptionError, UnknownOptionError } from './errors.js'
import type { CacheId } from './ports.js'
import type { Sink, SinkOperation } from './sink.js'

/**
 * What an acknowledged write survives: `memory` the end of any process of yours; `replicated` also the loss of the
 * master; `fsync` also the loss of power.
 */
export type Durability = 'memory' | 'replicated' | 'fsync'

/** How much may wait to be written to the source, over all shards of a queue. */
export interface BehindLimits {
  /** Most operations that may wait. Default 1,000,000; 0 is no limit. Each shard has its part of it. */
  readonly operations?: number | undefined
  /** Most bytes that may wait. Default 256 MiB; 0 is no limit. Each shard has its part of it. */
  readonly bytes?: number | undefined
  /** Greatest age of what waits. Default none. */
  readonly age?: Duration | undefined
}

/** What to do with a write while too much waits already. */
export type WhenFull = 'wait' | 'refuse' | 'write-through'

/** How operations get to the sink, and how safe they are until then. */
export interface BehindOptions<Id extends CacheId = CacheId, Value = unknown> {
  /** Where operations end, such as `postgresSink(pool, { table: 'product_views', key: 'product_id', value: 'views' })`. */
  readonly sink: Sink<Id, Value>
  /** An operation waits for so long for others to go with it. Default '1s'; at least 10 ms. */
  readonly flushEvery?: Duration | undefined
  /** So many operations go at once, however short they have waited. Default 5,000; from 1 to 100,000. */
  readonly maxBatch?: number | undefined
  /** How many workers can work at once. Cannot be changed while operations wait. Default 8; from 1 to 256. */
  readonly shards?: number | undefined
  /** What an acknowledged write survives; checked against the server. Default 'memory'. */
  readonly durability?: Durability | undefined
  /** How much may wait. */
  readonly limits?: BehindLimits | undefined
  /**
   * At the limit a write waits for room (the default) until `writeTimeout`, is refused, or goes through to the sink while its
   * caller waits.
   */
  readonly whenFull?: WhenFull | undefined
  /** How long a write may wait for room and for Redis' answer. Default '30s' for `ingest`; a collection's own `writeTimeout`. */
  readonly writeTimeout?: Duration | undefined
}

/** What `writeBehind` makes. */
export interface WriteBehind<Id extends CacheId = CacheId, Value = unknown> {
  readonly kind: 'write-behind'
  readonly options: BehindOptions<Id, Value>
}

export interface BehindPolicy {
  readonly sink: Sink
  readonly flushEveryMs: number
  readonly maxBatch: number
  readonly shards: number
  readonly durability: Durability
  /** Of one shard. */
  readonly limits: { readonly operations: number; readonly bytes: number; readonly ageMs: number }
  readonly whenFull: WhenFull
  readonly writeTimeoutMs: number
}

/**
 * Changes of the collection are acknowledged by Redis and written to the sink behind the callers' backs, in batches, once
 * each and in their order. `put`, `delete` and `increment` are read back at once, by every process.
 */
export function writeBehind<Id extends CacheId, Value>(
  options: BehindOptions<Id, Value>
): WriteBehind<Id, Value> {
  resolveBehind(options)
  return { kind: 'write-behind', options }
}

const NAMES: readonly string[] = [
  'sink',
  'flushEvery',
  'maxBatch',
  'shards',
  'durability',
  'limits',
  'whenFull',
  'writeTimeout'
]
const LIMIT_NAMES: readonly string[] = ['operations', 'bytes', 'age']
const LEVELS: readonly unknown[] = ['memory', 'replicated', 'fsync']
const CHOICES: readonly unknown[] = ['wait', 'refuse', 'write-through']
const KINDS: readonly SinkOperation['kind'][] = ['put', 'increment', 'delete', 'append']

export function resolveBehind(
  options: BehindOptions<never, never> | BehindOptions,
  writeTimeoutMs = 30_000
): BehindPolicy {
  assertKnown(options, NAMES, 'writeBehind')
  const { limits = {}, durability = 'memory', whenFull = 'wait', shards = 8, maxBatch = 5_000 } = options
  assertKnown(limits, LIMIT_NAMES, 'limits')
  if (!LEVELS.includes(durability)) {
    throw new InvalidOptionError('durability', durability, "'memory', 'replicated' or 'fsync'")
  }
  if (!CHOICES.includes(whenFull)) {
    throw new InvalidOptionError('whenFull', whenFull, "'wait', 'refuse' or 'write-through'")
  }
  const sink = checkedSink(options.sink as unknown)
  if (whenFull === 'write-through' && sink.write === undefined) {
    throw new InvalidOptionError('whenFull', whenFull, "a sink with `write`, or 'wait' or 'refuse'")
  }
  const perShard = (most: number): number => Math.ceil(most / whole(shards, 'shards', 1, 256))
  return {
    sink,
    flushEveryMs:
      options.flushEvery === undefined ? 1_000 : toMilliseconds(options.flushEvery, 'flushEvery', 10),
    maxBatch: whole(maxBatch, 'maxBatch', 1, 100_000),
    shards: whole(shards, 'shards', 1, 256),
    durability,
    limits: {
      operations: perShard(whole(limits.operations ?? 1_000_000, 'limits.operations', 0)),
      bytes: perShard(whole(limits.bytes ?? 256 * 1024 * 1024, 'limits.bytes', 0)),
      ageMs: limits.age === undefined ? 0 : toMilliseconds(limits.age, 'limits.age', 1)
    },
    whenFull,
    writeTimeoutMs:
      options.writeTimeout === undefined
        ? writeTimeoutMs
        : toMilliseconds(options.writeTimeout, 'writeTimeout', 1)
  }
}

function checkedSink(sink: unknown): Sink {
  const given = sink as Partial<Sink> | null | undefined
  const isSink =
    typeof given?.take === 'function' &&
    typeof given.apply === 'function' &&
    typeof given.check === 'function' &&
    typeof given.isPoison === 'function' &&
    Array.isArray(given.kinds) &&
    given.kinds.every((kind) => KINDS.includes(kind))
  if (!isSink) {
    throw new InvalidOptionError('sink', sink, 'what postgresSink(pool, …) returns, or a Sink of your own')
  }
  return given as Sink
}

export function checkWorkerOptions(options: unknown): void {
  assertKnown(options, ['lease', 'name'], 'worker')
}

/** A misspelt `drain` would leave in Redis what was to be flushed. */
export function checkStopOptions(options: unknown): void {
  if (options !== undefined) assertKnown(options, ['drain'], 'worker.stop')
}

function assertKnown(options: unknown, names: readonly string[], of: string): void {
  if (typeof options !== 'object' || options === null || Array.isArray(options)) {
    throw new InvalidOptionError(`options of ${of}`, options, 'an object')
  }
  for (const name of Object.keys(options)) {
    if (!names.includes(name)) throw new UnknownOptionError(name, names)
  }
}

function whole(given: unknown, option: string, least: number, most = Number.MAX_SAFE_INTEGER): number {
  if (Number.isInteger(given) && (given as number) >= least && (given as number) <= most)
    return given as number
  throw new InvalidOptionError(option, given, `a whole number from ${least} to ${most}`)
}
