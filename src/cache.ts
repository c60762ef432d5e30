import {
  abortable,
  CollectionView,
  EntryRef,
  orderedLoadMany,
  rowsOf,
  type Collection,
  type ReadOptions,
  type Written
} from './collection.js'
import { toMilliseconds, type Duration } from './durations.js'
import { InvalidKeyError, InvalidOptionError, TenantRequiredError } from './errors.js'
import type { EventName, Events, Listener } from './events.js'
import { AD_HOC, collectionPrefix, idPart } from './keys/key-schema.js'
import {
  checkCollectionOptions,
  checkEntryOptions,
  resolveEntryPolicy,
  resolveTenancy,
  resolveWritePolicy,
  writeFunctionOf,
  type CollectionOptions,
  type EntryOptions,
  type Tenancy
} from './options.js'
import type { Awaitable, CacheId, LoadContext, TenantId } from './ports.js'
import type { Reader } from './read/reader.js'
import type { ReadRequest, Source } from './tiers/request.js'
import type { Committed, NewRow, Writer } from './write/writer.js'
import { newCollectionStats, sumOf, type CacheStats, type CollectionStats } from './stats.js'

export interface GetOrLoadOptions extends EntryOptions, ReadOptions {}

/** What can be asked without naming a collection: of no tenant, or of one. */
export interface AdHocReads {
  /**
   * The value under `key`, loaded and stored when it is not cached; with all the guarantees of a collection. Calls with
   * one key share one load, so they should bring equivalent loaders.
   */
  getOrLoad<Value>(
    key: CacheId,
    load: (context: LoadContext) => Awaitable<Value | undefined>,
    options: GetOrLoadOptions
  ): Promise<Value | undefined>
  /** What is cached under `key` by `getOrLoad` or `set`; undefined when there is nothing. Never loads. */
  get(key: CacheId): Promise<unknown>
  /** Into the cache, for `getOrLoad` and `get` to find. Rejects for a value that cannot be cached. */
  set(key: CacheId, value: unknown, options: EntryOptions): Promise<boolean>
  /** Declares wrong what is cached under `key`. Rejects when Redis did not confirm it. */
  delete(key: CacheId): Promise<void>
}

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

export interface WriteOptions {
  /** The deadline of the change. Default '30s'. */
  readonly timeout?: Duration
  /** As in a collection's options. Default 'refuse'. */
  readonly whenRedisAway?: 'refuse' | 'remember'
}

export interface CacheControl<T extends Tenancy> {
  /** Entries of one kind, with the loader that reads them from the source. A name can be used once. */
  collection<Id extends CacheId, Value, C extends Tenancy = T>(
    name: string,
    options: CollectionOptions<Id, Value, C>
  ): Collection<Id, Value, C>
  /** `getOrLoad` with keys of one tenant. */
  tenant(tenant: TenantId): AdHocReads
  /**
   * A change of the source that makes several entries wrong, such as a transaction of your own, with any driver or ORM:
   * guards them all, runs `change`, then publishes what it said and drops the rest. If it throws, all are dropped.
   */
  write<Result>(
    refs: Iterable<EntryRef<unknown>>,
    change: (transaction: WriteTransaction) => Promise<Result>,
    options?: WriteOptions
  ): Promise<Written<Result>>
  /** Calls `listener` with every such fact from now on; returns how to stop. */
  on<Name extends EventName>(event: Name, listener: Listener<Name>): () => void
  /** A snapshot of the counts since the start, in this process. */
  stats(): CacheStats
  /**
   * Refuses new calls, waits for what is under way, aborts what is left after `timeout` (default '5s'), and closes
   * Corral's own connections; never one that was passed in. Safe to call twice.
   */
  close(options?: { readonly timeout?: Duration }): Promise<void>
}

export type Cache<T extends Tenancy = 'optional'> = CacheControl<T> &
  (T extends 'required' ? unknown : AdHocReads)

/** For calls that load nothing: how long an entry lives was said when it was stored. */
const PEEKING: EntryOptions = { ttl: 1 }
const nothing = (): undefined => undefined

const AD_HOC_WRITING = resolveWritePolicy({})

export interface CacheParts {
  readonly namespace: string
  readonly tenancy: Tenancy
  readonly reader: Reader
  readonly writer: Writer
  readonly events: Events
  /** The parts of a snapshot that only the composition root can see. */
  readonly vitals: () => Pick<CacheStats, 'redis' | 'loads' | 'pendingInvalidations'>
  readonly shutDown: (timeoutMs: number) => Promise<void>
}

export class CorralCache implements CacheControl<Tenancy>, AdHocReads {
  readonly #parts: CacheParts
  readonly #stats = new Map<string, CollectionStats>()
  #closing: Promise<void> | undefined

  constructor(parts: CacheParts) {
    this.#parts = parts
  }

  collection<Id extends CacheId, Value, C extends Tenancy>(
    name: string,
    options: CollectionOptions<Id, Value, C>
  ): Collection<Id, Value, C> {
    checkCollectionOptions(name, options)
    if (this.#stats.has(name))
      throw new InvalidOptionError('collection name', name, 'a name that is not in use')
    const write = writeFunctionOf(options.write)
    const source: Source = {
      name,
      policy: resolveEntryPolicy(options),
      stats: this.#statsOf(name),
      schema: options.schema,
      writing: resolveWritePolicy(options),
      write: write && ((id, value, context) => write(id as Id, value as Value, context)),
      remove: options.remove && ((id, context) => options.remove!(id as Id, context)),
      version: options.version && ((row) => options.version!(row as Value)),
      load: (id, context) => options.load(id as Id, context),
      loadMany: orderedLoadMany(name, options)
    }
    const { reader, writer, namespace, tenancy } = this.#parts
    const context = { reader, writer, namespace, source, tenancy: resolveTenancy(options.tenancy, tenancy) }
    return new CollectionView<Id, Value>(context) as unknown as Collection<Id, Value, C>
  }

  async getOrLoad<Value>(
    key: CacheId,
    load: (context: LoadContext) => Awaitable<Value | undefined>,
    options: GetOrLoadOptions
  ): Promise<Value | undefined> {
    return this.#getOrLoad(undefined, key, load, options)
  }

  async write<Result>(
    refs: Iterable<EntryRef<unknown>>,
    change: (transaction: WriteTransaction) => Promise<Result>,
    options: WriteOptions = {}
  ): Promise<Written<Result>> {
    const byKey = new Map(Array.from(refs, (ref) => [ref.key, EntryRef.requestOf(ref)]))
    const requests = [...byKey.values()]
    const { writeTimeoutMs, whenRedisAway } = resolveWritePolicy({
      ...options,
      writeTimeout: options.timeout
    })
    const work = async (signal: AbortSignal): Promise<Committed<Result>> => {
      const rows = new Map<string, NewRow>()
      let isOver = false
      const publish = <Value>(ref: EntryRef<Value>, row: Value | undefined): void => {
        if (isOver) throw new InvalidOptionError('ref', ref.key, 'to be published before the change is over')
        if (!byKey.has(ref.key))
          throw new InvalidOptionError('ref', ref.key, 'an entry that was given to cache.write')
        for (const [key, newRow] of rowsOf(EntryRef.requestOf(ref), row)) rows.set(key, newRow)
      }
      try {
        return { result: await change({ signal, publish }), rows: new Map(rows) }
      } finally {
        isOver = true
      }
    }
    const changed = await this.#parts.writer.change({
      requests,
      work,
      timeoutMs: writeTimeoutMs,
      whenRedisAway
    })
    return { value: changed.result, cache: changed.outcome }
  }

  get(key: CacheId): Promise<unknown> {
    return this.#get(undefined, key)
  }

  set(key: CacheId, value: unknown, options: EntryOptions): Promise<boolean> {
    return this.#set(undefined, key, value, options)
  }

  delete(key: CacheId): Promise<void> {
    return this.#delete(undefined, key)
  }

  tenant(tenant: TenantId): AdHocReads {
    if (tenant === undefined)
      throw new InvalidKeyError('The tenant', tenant, 'a string, a number or a bigint')
    return {
      getOrLoad: (key, load, options) => this.#getOrLoad(tenant, key, load, options),
      get: (key) => this.#get(tenant, key),
      set: (key, value, options) => this.#set(tenant, key, value, options),
      delete: (key) => this.#delete(tenant, key)
    }
  }

  on<Name extends EventName>(event: Name, listener: Listener<Name>): () => void {
    return this.#parts.events.on(event, listener)
  }

  stats(): CacheStats {
    const collections = Object.fromEntries([...this.#stats].map(([name, stats]) => [name, { ...stats }]))
    return { collections, total: sumOf(this.#stats.values()), ...this.#parts.vitals() }
  }

  close(options?: { readonly timeout?: Duration }): Promise<void> {
    this.#closing ??= this.#parts.shutDown(toMilliseconds(options?.timeout ?? '5s', 'timeout'))
    return this.#closing
  }

  async #getOrLoad<Value>(
    tenant: TenantId | undefined,
    key: CacheId,
    load: (context: LoadContext) => Awaitable<Value | undefined>,
    options: GetOrLoadOptions
  ): Promise<Value | undefined> {
    checkEntryOptions(options, ['signal'])
    options.signal?.throwIfAborted()
    if (typeof load !== 'function')
      throw new InvalidOptionError('load', load, 'a function (context) => value')
    const request = this.#adHocRequest(tenant, key, (_id, context) => load(context), options)
    const lookup = await abortable(this.#parts.reader.read(request), options.signal)
    return lookup.value as Value | undefined
  }

  async #get(tenant: TenantId | undefined, key: CacheId): Promise<unknown> {
    return (await this.#parts.reader.peek(this.#adHocRequest(tenant, key, nothing, PEEKING)))?.value
  }

  async #set(
    tenant: TenantId | undefined,
    key: CacheId,
    value: unknown,
    options: EntryOptions
  ): Promise<boolean> {
    checkEntryOptions(options)
    return this.#parts.writer.set(this.#adHocRequest(tenant, key, nothing, options), value)
  }

  async #delete(tenant: TenantId | undefined, key: CacheId): Promise<void> {
    await this.#parts.writer.invalidate([this.#adHocRequest(tenant, key, nothing, PEEKING)], 'refuse')
  }

  #adHocRequest(
    tenant: TenantId | undefined,
    id: CacheId,
    load: Source['load'],
    options: EntryOptions
  ): ReadRequest {
    const { namespace, tenancy } = this.#parts
    if (tenant === undefined && tenancy === 'required') throw new TenantRequiredError('The cache')
    const key = collectionPrefix(namespace, AD_HOC, tenant) + idPart(id)
    const policy = resolveEntryPolicy(options)
    const source: Source = {
      name: AD_HOC,
      policy,
      stats: this.#statsOf(AD_HOC),
      schema: undefined,
      writing: AD_HOC_WRITING,
      write: undefined,
      remove: undefined,
      version: undefined,
      load,
      loadMany: undefined
    }
    return { source, key, id, tenant }
  }

  #statsOf(name: string): CollectionStats {
    const stats = this.#stats.get(name) ?? newCollectionStats()
    this.#stats.set(name, stats)
    return stats
  }
}
