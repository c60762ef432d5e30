import {
  CollectionView,
  orderedLoadMany,
  abortable,
  type Collection,
  type ReadOptions
} from './collection.js'
import { toMilliseconds, type Duration } from './durations.js'
import { InvalidOptionError, TenantRequiredError } from './errors.js'
import type { EventName, Events, Listener } from './events.js'
import { AD_HOC, collectionPrefix, idPart } from './keys/key-schema.js'
import {
  checkCollectionOptions,
  checkEntryOptions,
  resolveEntryPolicy,
  resolveTenancy,
  type CollectionOptions,
  type EntryOptions,
  type Tenancy
} from './options.js'
import type { Awaitable, CacheId, LoadContext, TenantId } from './ports.js'
import type { Reader } from './read/reader.js'
import type { ReadRequest, Source } from './read/request.js'
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
  /** Declares wrong what `getOrLoad` stored under `key`. */
  invalidate(key: CacheId): Promise<void>
}

export interface CacheControl<T extends Tenancy> {
  /** Entries of one kind, with the loader that reads them from the source. A name can be used once. */
  collection<Id extends CacheId, Value, C extends Tenancy = T>(
    name: string,
    options: CollectionOptions<Id, Value, C>
  ): Collection<Id, Value, C>
  /** `getOrLoad` with keys of one tenant. */
  tenant(tenant: TenantId): AdHocReads
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

export interface CacheParts {
  readonly namespace: string
  readonly tenancy: Tenancy
  readonly reader: Reader
  readonly events: Events
  /** The parts of a snapshot that only the composition root can see. */
  readonly vitals: () => Pick<CacheStats, 'redis' | 'loads'>
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
    const source: Source = {
      name,
      policy: resolveEntryPolicy(options),
      stats: this.#statsOf(name),
      schema: options.schema,
      load: (id, context) => options.load(id as Id, context),
      loadMany: orderedLoadMany(name, options)
    }
    const { reader, namespace, tenancy } = this.#parts
    const context = { reader, namespace, source, tenancy: resolveTenancy(options.tenancy, tenancy) }
    return new CollectionView<Id, Value>(context) as unknown as Collection<Id, Value, C>
  }

  async getOrLoad<Value>(
    key: CacheId,
    load: (context: LoadContext) => Awaitable<Value | undefined>,
    options: GetOrLoadOptions
  ): Promise<Value | undefined> {
    return this.#getOrLoad(undefined, key, load, options)
  }

  async invalidate(key: CacheId): Promise<void> {
    return this.#invalidate(undefined, key)
  }

  tenant(tenant: TenantId): AdHocReads {
    return {
      getOrLoad: (key, load, options) => this.#getOrLoad(tenant, key, load, options),
      invalidate: (key) => this.#invalidate(tenant, key)
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
    { signal, ...entryOptions }: GetOrLoadOptions
  ): Promise<Value | undefined> {
    checkEntryOptions(entryOptions)
    if (typeof load !== 'function')
      throw new InvalidOptionError('load', load, 'a function (context) => value')
    const request = this.#adHocRequest(tenant, key, (_id, context) => load(context), entryOptions)
    const lookup = await abortable(this.#parts.reader.read(request), signal)
    return lookup.value as Value | undefined
  }

  async #invalidate(tenant: TenantId | undefined, key: CacheId): Promise<void> {
    await this.#parts.reader.invalidate([this.#adHocRequest(tenant, key, () => undefined, { ttl: 1 })])
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
