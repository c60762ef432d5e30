import { Redis, type Cluster, type RedisOptions } from 'ioredis'
import { InvalidOptionError } from '../errors.js'
import type { Clock } from '../clock.js'

/** What `createCache({ redis })` takes: a URL, ioredis options (Sentinel and TLS included), or an instance of the user's. */
export type RedisInput = string | RedisOptions | Redis | Cluster

/** The part of ioredis that Corral calls; `Redis` and `Cluster` of versions 5 and 6 both have it. */
export interface RedisClient {
  readonly status: string
  readonly isCluster: boolean
  readonly options: {
    readonly host?: string | undefined
    readonly port?: number | undefined
    readonly keyPrefix?: string | undefined
    readonly scaleReads?: unknown
    readonly enableAutoPipelining?: boolean | undefined
    readonly reconnectOnError?: unknown
    readonly stringNumbers?: unknown
    /** Of a Cluster only. */
    readonly redisOptions?: { readonly stringNumbers?: unknown } | undefined
    /** Of a Cluster only: where this process reaches the addresses that the Cluster gives. */
    readonly natMap?: NatMap | undefined
  }
  mgetBuffer(keys: readonly string[]): Promise<(Buffer | null)[]>
  getBuffer(key: string): Promise<Buffer | null>
  getrangeBuffer(key: string, start: number, end: number): Promise<Buffer>
  evalshaBuffer(...args: (string | number | Buffer)[]): Promise<unknown>
  evalBuffer(...args: (string | number | Buffer)[]): Promise<unknown>
  pipeline(): RedisPipeline
  unlink(...keys: string[]): Promise<number>
  strlen(key: string): Promise<number>
  scan(cursor: string, ...args: (string | number)[]): Promise<[cursor: string, keys: string[]]>
  /** Of a Cluster only. */
  nodes?(role: 'master' | 'all'): RedisClient[]
  /** Of a Cluster only: by slot the addresses of its primary and replicas, as `host:port`. */
  readonly slots?: readonly (readonly string[] | undefined)[]
  /** Of a Cluster only: asks its nodes, one by one until one answers, who has which slots. */
  refreshSlotsCache?(done?: (error?: Error | null) => void): void
  set(key: string, value: string, ...options: (string | number)[]): Promise<unknown>
  ping(): Promise<unknown>
  time(): Promise<unknown>
  call(command: string, ...args: (string | number | Buffer)[]): Promise<unknown>
  subscribe(...channels: string[]): Promise<unknown>
  connect(): Promise<void>
  disconnect(reconnect?: boolean): void
  quit(): Promise<unknown>
  on(event: string, listener: (...args: never[]) => void): unknown
  off(event: string, listener: (...args: never[]) => void): unknown
}

interface Address {
  readonly host: string
  readonly port: number
}

type NatMap =
  | ((address: string) => Address | null | undefined)
  | Readonly<Record<string, Address | undefined>>

export interface RedisPipeline {
  evalshaBuffer(...args: (string | number | Buffer)[]): RedisPipeline
  exec(): Promise<[error: Error | null, result: unknown][] | null>
}

export interface OpenedClient {
  readonly client: RedisClient
  /** False for an instance that the user passed in: it is never closed and never reconfigured. */
  readonly owned: boolean
  /** Which one the connection is in, of those that somebody else may change; undefined of others. */
  database(): number | undefined
  /** Which one a connection of our own is meant for; 0 of others, and where there is none to choose. */
  readonly ownDatabase: number
  /** Another connection of Corral's own to the same place, with the same credentials and topology. */
  duplicate(): RedisClient | undefined
  /** One to subscribe to a channel with; of a Cluster any node will do. */
  duplicateForChannel(): RedisClient
}

/**
 * What Corral's own connections differ in from ioredis' defaults. A command that cannot be sent now fails now, because
 * the caller has a source to read instead; a command whose reply was lost is not sent again behind the caller's back,
 * because by then it may undo what came after.
 */
function ownDefaults(clock: Clock): RedisOptions {
  return {
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    autoResendUnfulfilledCommands: false,
    connectTimeout: 3_000,
    // Without it a Sentinel that is silent would be waited for, for ever, in place of the next.
    sentinelCommandTimeout: 3_000,
    // While Redis loads its data: soon again, instead of when it estimates to be done.
    maxLoadingRetryTime: 200,
    retryStrategy: (attempt) => reconnectDelayMs(attempt, clock)
  }
}

/** Quick enough to be back within a second, spread so that a fleet does not reconnect in step. */
export function reconnectDelayMs(attempt: number, clock: Clock): number {
  const ceiling = Math.min(500, 25 * 2 ** Math.min(attempt, 10))
  return Math.round(ceiling / 2 + (ceiling / 2) * clock.random())
}

export function openClient(input: RedisInput, clock: Clock): OpenedClient {
  if (typeof input !== 'string' && (typeof input !== 'object' || input === null)) {
    throw new InvalidOptionError('redis', input, 'a URL, ioredis options, or an ioredis instance')
  }
  const defaults = ownDefaults(clock)
  if (typeof input !== 'string' && isInstance(input)) {
    assertReadsPrimaries(asClient(input))
    assertPlainNumbers(asClient(input))
    return {
      client: asClient(input),
      owned: false,
      database: () => (input.isCluster ? undefined : databaseOf(input as Redis)),
      ownDatabase: 0,
      duplicate: () => duplicateOf(input, defaults),
      duplicateForChannel: () => channelOf(input, defaults)
    }
  }
  const redis =
    typeof input === 'string'
      ? openUrl(input, { ...defaults, ...PLAIN_REPLIES })
      : new Redis({ ...defaults, ...plainOptions(input), ...PLAIN_REPLIES })
  return {
    client: asClient(redis),
    owned: true,
    database: () => undefined,
    ownDatabase: ownDatabaseOf(redis),
    duplicate: () => duplicateOf(redis, {}),
    duplicateForChannel: () => channelOf(redis, {})
  }
}

/**
 * RESP2 on purpose: replies look the same under ioredis 5 and 6, and only there does ioredis hand over the
 * invalidation messages of client tracking.
 */
const PLAIN_REPLIES = { protocol: 2, replyMapping: 'legacy', stringNumbers: false } as const

/** A Cluster has one tracking table per node, which one pair of connections cannot watch. */
function duplicateOf(input: Redis | Cluster, overrides: RedisOptions): RedisClient | undefined {
  if (input.isCluster) return undefined
  const options = {
    ...overrides,
    ...PLAIN_REPLIES,
    lazyConnect: false,
    autoResubscribe: false,
    enableAutoPipelining: false,
    db: databaseOf(input as Redis)
  }
  return asClient((input as Redis).duplicate(options))
}

function channelOf(input: Redis | Cluster, overrides: RedisOptions): RedisClient {
  return duplicateOf(input, overrides) ?? asClient((input as Cluster).duplicate([], { lazyConnect: false }))
}

function asClient(instance: Redis | Cluster): RedisClient {
  return instance as unknown as RedisClient
}

/** A replica may be behind an invalidation that has returned, and behind the counters that tell of a clear. */
function assertReadsPrimaries({ isCluster, options: { scaleReads } }: RedisClient): void {
  if (isCluster && scaleReads !== undefined && scaleReads !== 'master') {
    const needed =
      "a Cluster with scaleReads 'master', because a replica may answer with what was invalidated"
    throw new InvalidOptionError('redis', { isCluster, scaleReads }, needed)
  }
}

/** Scripts answer with numbers, and what they mean would be read as something else. */
function assertPlainNumbers({ options: { stringNumbers, redisOptions } }: RedisClient): void {
  if (stringNumbers !== true && redisOptions?.stringNumbers !== true) return
  throw new InvalidOptionError('redis.stringNumbers', true, 'an ioredis instance without it')
}

/** ioredis goes to the first database for what is no number, and its own error ends the process. */
function ownDatabaseOf(redis: Redis): number {
  const { db } = redis.options
  const database = db == null ? 0 : Number(db)
  if (Number.isInteger(database) && database >= 0) return database
  redis.on('error', () => undefined)
  redis.disconnect()
  throw new InvalidOptionError('redis.db', db, 'the number of a database, as in redis://127.0.0.1:6379/1')
}

/** Where it is by now: after a SELECT its options still name the database that it began in. */
function databaseOf(input: Redis): number | undefined {
  const { condition } = input as unknown as { readonly condition?: { readonly select?: number } | null }
  return condition?.select ?? input.options.db
}

/**
 * Anything else, such as a `URL` or another driver's client, has none of the options that ioredis looks for, and would
 * be a connection to localhost.
 */
function plainOptions(input: RedisOptions | Redis | Cluster): RedisOptions {
  const prototype: unknown = Object.getPrototypeOf(input)
  const isPlain = prototype === null || Object.getPrototypeOf(prototype) === null
  if (isPlain && !Array.isArray(input)) return input as RedisOptions
  throw new InvalidOptionError('redis', input, 'a URL as text, plain ioredis options, or an ioredis instance')
}

/** By its shape: the user's ioredis may be another copy, or another version, than ours. */
function isInstance(input: RedisOptions | Redis | Cluster): input is Redis | Cluster {
  return typeof (input as Partial<RedisClient>).evalshaBuffer === 'function'
}

function openUrl(text: string, options: RedisOptions & typeof PLAIN_REPLIES): Redis {
  if (/^(rediss?|unix):\/\//.test(text) || text.startsWith('/')) {
    try {
      return new Redis(text, options)
    } catch {
      // Not its error, which may have the password in it.
    }
  }
  throw new InvalidOptionError(
    'redis',
    redacted(text),
    "a URL such as 'redis://127.0.0.1:6379' or 'rediss://…'"
  )
}

/** A malformed URL may still hold a password, with no scheme before it or among its options, and messages end up in logs. */
function redacted(text: string): string {
  return text.replace(/^(\w+:\/\/)?.*@/s, '$1…@').replace(/\?.*/s, '?…')
}
