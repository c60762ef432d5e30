import { InvalidOptionError, textOf } from './errors.js'
import type { TenantId } from './ports.js'

/**
 * Every fact the cache reports, with its payload. The core only reports; metrics, traces and logs are listeners.
 * Times are in milliseconds. `key` is the whole Redis key.
 */
export interface CacheEvents {
  /** A fresh value was served. */
  hit: KeyFact & { readonly source: 'memory' | 'redis'; readonly ageMs: number }
  /** A value past its `ttl` was served: because a refresh runs, or because the source failed. */
  stale: KeyFact & { readonly ageMs: number; readonly reason: StaleReason }
  /** Nothing usable was cached. */
  miss: KeyFact
  /** The loader is about to run in this process. */
  load: KeyFact & { readonly reason: LoadReason }
  /** The loader returned. `found` is false for `undefined`. */
  loaded: KeyFact & { readonly durationMs: number; readonly found: boolean }
  /** The loader threw, or ran over its deadline. */
  loadFailed: KeyFact & { readonly durationMs: number; readonly error: unknown }
  /** A loaded value was stored; `bytes` with its header. */
  fill: KeyFact & { readonly bytes: number; readonly lifeMs: number }
  /** A loaded value was not stored. Its caller has it all the same. */
  fillRejected: KeyFact & { readonly reason: RejectionReason }
  /** This process begins to wait for another one's load. */
  wait: KeyFact
  /** That wait is over. */
  waited: KeyFact & { readonly durationMs: number; readonly outcome: WaitOutcome }
  /** The process that was loading is gone, or gave up: this one loads now. */
  takeover: KeyFact
  /** The right to store was lost while the loader ran: an invalidation, or this process was stopped for too long. */
  leaseLost: KeyFact
  /** Entries were declared wrong, or stale when `soft`. `dropped` of them existed. */
  invalidated: { readonly keys: readonly string[]; readonly dropped: number; readonly soft: boolean }
  /** A collection, a tenant, a tenant's collection or (both undefined) everything was declared wrong, or stale when `soft`. */
  cleared: AreaFact & { readonly soft: boolean }
  /** What carries one of these tags was declared wrong, or stale when `soft`. */
  tagsInvalidated: {
    readonly tags: readonly string[]
    readonly tenant: TenantId | undefined
    readonly soft: boolean
  }
  /** A page of what was cleared has been gone through, in the background; the counts are those since it began. */
  cleaning: AreaFact & { readonly scanned: number; readonly removed: number }
  /** The cleaning after a clear is over. */
  cleaned: AreaFact & {
    readonly outcome: 'done' | 'stopped' | 'failed'
    readonly scanned: number
    readonly removed: number
    readonly durationMs: number
    readonly error: unknown
  }
  /** A write is done: the source has changed, and the cache as `outcome` says. */
  written: KeyFact & { readonly durationMs: number; readonly outcome: WriteOutcome }
  /** A write threw, was refused, or ran over its deadline. The entry was dropped. */
  writeFailed: KeyFact & { readonly durationMs: number; readonly error: unknown }
  /** What Redis held cannot be read, or fails the schema; it counts as a miss. */
  unreadable: KeyFact & { readonly reason: string }
  /**
   * A batch of written-behind operations is in the sink. `rows` is what was left of `operations` after coalescing, `lagMs` the age
   * of the oldest of them when the batch began.
   */
  flushed: ShardFact & {
    readonly operations: number
    readonly rows: number
    readonly durationMs: number
    readonly lagMs: number
  }
  /** A batch could not be applied. It is tried again, or divided when the reason lies in one of its operations. */
  flushFailed: ShardFact & { readonly error: unknown; readonly attempt: number }
  /** The sink can never take an operation: it was put aside with the reason, as the `letter` of `deadLetters.list`. */
  deadLettered: ShardFact & { readonly letter: string; readonly reason: string }
  /** A shard is at its limit: writes wait, are refused, or go through, as `whenFull` says. */
  backlogFull: ShardFact & { readonly operations: number; readonly bytes: number; readonly ageMs: number }
  /** A worker of this process has a shard from now on. */
  shardTaken: ShardFact & { readonly epoch: number }
  /** It has it no more: it gave it back, another took it over (`fenced`), or its hold in Redis ran out. */
  shardLeft: ShardFact & { readonly reason: 'given-back' | 'fenced' | 'hold-lost' }
  /** Redis did not do what was asked, in time or at all; the call went on without it. */
  redisFailed: { readonly action: string; readonly error: unknown }
  /** The driver reports a broken or refused connection. */
  redisConnectionFailed: { readonly error: unknown }
  /** Whether Redis can be used: `ready`, `away` (reads go to the source; `reason` says why), `closed`. */
  redisState: { readonly state: 'ready' | 'away' | 'closed'; readonly reason: string | undefined }
  /** `open`: calls to Redis fail at once, without being sent, until a probe has been answered. */
  redisBreaker: { readonly state: 'open' | 'closed' }
  /**
   * How this process hears of changes: `tracking` (Redis tells it), `channel` (other processes do), or `paused`: it does
   * not, so waiters look by timer and nothing is served from memory.
   */
  coherence: {
    readonly mode: 'tracking' | 'channel' | 'paused'
    readonly reason: string | undefined
  }
  /** Redis refuses something until somebody changes its configuration or ours. Once for each code, until it has been well for a minute. */
  redisMisconfigured: {
    readonly code: string
    readonly message: string
    readonly advice: string | undefined
  }
  /** A listener of one of these events threw. */
  listenerFailed: { readonly event: keyof CacheEvents; readonly error: unknown }
}

/** What a clear was about. Both undefined: everything in the namespace. */
export interface AreaFact {
  readonly collection: string | undefined
  readonly tenant: TenantId | undefined
}

/** Which part of which queue an event is about. */
export interface ShardFact {
  /** The collection, or the name given to `cache.ingest`. */
  readonly queue: string
  readonly shard: number
}

/** Which entry an event is about: its whole key in Redis, and the name of its collection (`~` for `getOrLoad`). */
export interface KeyFact {
  readonly key: string
  readonly collection: string
}

/**
 * `refreshing`: one process loads meanwhile. `load-failed`: the load failed, and the collection has `staleIfError`.
 */
export type StaleReason = 'refreshing' | 'load-failed'
/** Why a loader runs. From `redis-away` on it runs without a lease, and nothing is stored. */
export type LoadReason =
  | 'miss'
  | 'refresh'
  | 'early-refresh'
  | 'forced'
  | 'redis-away'
  | 'uncacheable'
  | 'waited-too-long'
/**
 * Why a loaded value was not stored. `superseded`: the lease was lost, or what it was loaded under was cleared
 * meanwhile.
 */
export type RejectionReason = 'superseded' | 'too-large' | 'over-budget' | 'uncacheable' | 'redis-away'
/** How a wait ended. `takeover`: nobody was loading any more, so this process does. */
export type WaitOutcome = 'value' | 'failed' | 'takeover' | 'timeout' | 'redis-away'

/**
 * `published`: the saved row is cached; of several, all that were to be. `dropped`: nothing is, and the next read loads, because writers overlapped or
 * there was no row to cache. `pending`: the source has changed, but Redis could not be told yet.
 * `accepted`: written behind; it is read back from now on, and will be in the source.
 */
export type WriteOutcome = 'published' | 'dropped' | 'pending' | 'accepted'

/** The names of the events. */
export type EventName = keyof CacheEvents
/** What `cache.on` takes. It should be quick, and what it returns is ignored. */
export type Listener<Name extends EventName> = (fact: CacheEvents[Name]) => void

/** For callers whom no compiler tells: a name that is not one would never be heard of. */
const NAMES: Readonly<Record<EventName, true>> = {
  hit: true,
  stale: true,
  miss: true,
  load: true,
  loaded: true,
  loadFailed: true,
  fill: true,
  fillRejected: true,
  wait: true,
  waited: true,
  takeover: true,
  leaseLost: true,
  invalidated: true,
  cleared: true,
  tagsInvalidated: true,
  cleaning: true,
  cleaned: true,
  written: true,
  writeFailed: true,
  unreadable: true,
  flushed: true,
  flushFailed: true,
  deadLettered: true,
  backlogFull: true,
  shardTaken: true,
  shardLeft: true,
  redisFailed: true,
  redisConnectionFailed: true,
  redisState: true,
  redisBreaker: true,
  coherence: true,
  redisMisconfigured: true,
  listenerFailed: true
}

export function checkEventName(name: unknown): void {
  if (typeof name === 'string' && Object.hasOwn(NAMES, name)) return
  throw new InvalidOptionError('event', name, `one of ${Object.keys(NAMES).join(', ')}`)
}

/** The typed emitter. A listener that throws is reported and never disturbs the call that caused the event. */
export class Events {
  readonly #listeners = new Map<EventName, Set<(fact: never) => void>>()
  /** `has('hit')`, for where even looking that up is a part of the cost. */
  hearsHits = false

  on<Name extends EventName>(name: Name, listener: Listener<Name>): () => void {
    const ofName = this.#listeners.get(name) ?? new Set()
    this.#listeners.set(name, ofName.add(listener))
    this.hearsHits = this.has('hit')
    return () => {
      if (ofName.delete(listener) && ofName.size === 0) this.#listeners.delete(name)
      this.hearsHits = this.has('hit')
    }
  }

  /** Ask before building a payload on a hot path. */
  has(name: EventName): boolean {
    return this.#listeners.has(name)
  }

  emit<Name extends EventName>(name: Name, fact: CacheEvents[Name]): void {
    const ofName = this.#listeners.get(name)
    if (ofName === undefined) return
    for (const listener of ofName as Set<Listener<Name>>) {
      try {
        // One that is asynchronous in spite of its type: its rejection would otherwise end the process.
        const result: unknown = listener(fact)
        if (result instanceof Promise) result.catch((error: unknown) => this.#listenerFailed(name, error))
      } catch (error) {
        this.#listenerFailed(name, error)
      }
    }
  }

  #listenerFailed(event: EventName, error: unknown): void {
    if (event !== 'listenerFailed' && this.has('listenerFailed'))
      this.emit('listenerFailed', { event, error })
    else
      process.emitWarning(`A listener of the cache event "${event}" threw: ${textOf(error)}`, 'CorralWarning')
  }
}
