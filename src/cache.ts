import type { AdHocReads, TagRef } from './ad-hoc.js'
import type { Collection, EntryRef, Written } from './collection.js'
import type { Duration } from './durations.js'
import type { EventName, Listener } from './events.js'
import type { CacheHealth } from './health.js'
import type { Cleaning } from './invalidation/cleaning.js'
import type { ClearAllOptions } from './invalidation/clearing.js'
import type { CollectionOptions, Tenancy } from './options.js'
import type { DeadLetters } from './behind/dead-letters.js'
import type { Worker, WorkerOptions } from './behind/worker.js'
import type { BehindOptions } from './behind-options.js'
import type { CacheId, TenantId } from './ports.js'
import type { Usage } from './tenants/usage.js'
import type { CacheStats } from './stats.js'

/** What `cache.write` hands to the user's change. */
export interface WriteTransaction {
  /** Fires when the change is over its deadline or the cache closes. */
  readonly signal: AbortSignal
  /**
   * Caches `row` under `ref` once the change is done. What is not published is dropped. Call it with what was saved,
   * and only count on it when the function returned: until then nothing is cached.
   */
  readonly publish: <Value>(ref: EntryRef<Value>, row: Value | undefined) => void
}

/** For one `cache.write`. */
export interface WriteOptions {
  /** The deadline of the change. Default '30s'. */
  readonly timeout?: Duration | undefined
  /** As in a collection's options. Default 'refuse'. */
  readonly whenRedisAway?: 'refuse' | 'remember' | undefined
}

/** All that a cache does but reading without a collection, which needs a tenant where one is required. */
export interface CacheControl<T extends Tenancy> {
  /**
   * Entries of one kind, with the loader that reads them from the source. A name has 1 to 64 letters, digits, `_`, `.` or `-`, and
   * can be used once. Throws `InvalidOptionError`.
   */
  collection<Id extends CacheId, Value, C extends Tenancy = T>(
    name: string,
    options: CollectionOptions<Id, Value, C>
  ): Collection<Id, Value, [C] extends [never] ? T : C>
  /** What belongs to one tenant: `getOrLoad` with keys of its own, its tags, `clear` of all that it has. */
  tenant(tenant: TenantId): TenantCache
  /** Runs `work`, and whatever it awaits, for a tenant: calls that name none mean this one, but for collections with tenancy 'none'. */
  runAs<Result>(tenant: TenantId, work: () => Result): Result
  /**
   * Declares everything wrong, in every collection and of every tenant; inside `runAs`, of its tenant. It takes a few
   * milliseconds however many entries there are. Rejects with `RedisUnavailableError` when Redis did not confirm it.
   */
  clear(options?: ClearAllOptions): Promise<Cleaning>
  /**
   * A change of the source that makes several entries wrong, such as a transaction of your own, with any driver or ORM:
   * guards them all, runs `change`, then publishes what it said and drops the rest. If it throws, all are dropped. A tag
   * stands for all that carries it: `[products.key(1), cache.tag('brand:acme')]`. Rejects with what `change` throws, and as `put`
   * of a collection does.
   */
  write<Result>(
    refs: Iterable<EntryRef<unknown> | TagRef>,
    change: (transaction: WriteTransaction) => Promise<Result>,
    options?: WriteOptions
  ): Promise<Written<Result>>
  /**
   * Events on their way to a sink, without a cached value. Resolves for each once Redis has it, at the `durability` that was
   * asked for. A name can be used once, by a collection or by this.
   */
  ingest<Value>(name: string, options: BehindOptions<never, Value>): Ingest<Value, T>
  /**
   * Begins to bring to the sinks what was written behind, by this process and by others: all collections with `writeBehind`, and
   * all ingests. Run it in the API process, or in as many processes as you like.
   */
  worker(options?: WorkerOptions): Worker
  /**
   * Resolves when all that was acknowledged before the call is committed by its sink. Rejects with `NotFlushedError` after
   * `timeout`, default '30s'. A worker must be running somewhere.
   */
  flush(options?: { readonly timeout?: Duration | undefined }): Promise<void>
  /** Written-behind operations that their sink can never take. */
  readonly deadLetters: DeadLetters
  /** Calls `listener` with every such fact from now on; returns how to stop. */
  on<Name extends EventName>(event: Name, listener: Listener<Name>): () => void
  /** A snapshot of the counts since the start, in this process. */
  stats(): CacheStats
  /** How it is now: what works, what does not, and what to do about it. Asks nothing of Redis, so it is never slow. */
  health(): CacheHealth
  /**
   * Resolves once Redis can be used and it is known how changes are heard of, which takes five seconds at most; at once without Redis. Nothing needs to wait for
   * it: calls made before work as they do when Redis is away. Rejects with `RedisUnavailableError` after `timeout` (default: never), or as soon as Redis says that it may
   * not be used: its `cause` names the right to grant, or says that the password is wrong. With `ClosedError` when the cache is closed first.
   */
  ready(options?: { readonly timeout?: Duration | undefined }): Promise<void>
  /**
   * Refuses new calls, waits for what is under way, aborts what is left after `timeout` (default '5s'), and closes
   * Corral's own connections; never one that was passed in. Safe to call twice.
   */
  close(options?: { readonly timeout?: Duration | undefined }): Promise<void>
}

/** Events of one kind, of no tenant or of one. */
export interface IngestAppends<Value> {
  readonly name: string
  /** One more event. Once it resolves the event reaches the sink, once. Rejects as `put` of a collection written behind. */
  append(event: Value): Promise<void>
}

/** The way to a tenant's events. */
export interface IngestTenants<Value> {
  readonly name: string
  /** The events of one tenant. */
  tenant(tenant: TenantId): IngestAppends<Value>
}

/** What `cache.ingest` gives. With `tenancy: 'required'` all that it has is `tenant`. */
export type Ingest<Value, T extends Tenancy = 'optional'> = T extends 'required'
  ? IngestTenants<Value>
  : IngestAppends<Value> & IngestTenants<Value>

/** What `createCache` gives. With `tenancy: 'required'` calls without a collection go by way of `tenant(…)` only. */
export type Cache<T extends Tenancy = 'optional'> = CacheControl<T> &
  (T extends 'required' ? unknown : AdHocReads)

/** What `cache.tenant(…)` gives. */
export interface TenantCache extends AdHocReads {
  /** Declares wrong all that is cached for this tenant, in every collection; as `cache.clear`. */
  clear(options?: ClearAllOptions): Promise<Cleaning>
  /**
   * What the tenant takes in the cache, counted now, by SCAN and STRLEN in pages over the whole database; entries being
   * loaded and those cleared but not yet removed included. Rejects with `RedisUnavailableError`.
   */
  usage(): Promise<Usage>
}
