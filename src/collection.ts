import { InvalidLoaderResultError, InvalidOptionError, TenantRequiredError } from './errors.js'
import { collectionPrefix, idPart } from './keys/key-schema.js'
import type { CollectionOptions, Tenancy } from './options.js'
import type { CacheId, LoadContext, TenantId } from './ports.js'
import type { Reader } from './read/reader.js'
import type { Lookup, ReadRequest, Source } from './read/request.js'

export interface ReadOptions {
  /** Ends this caller's wait, with the signal's reason. The load goes on for the others and for the cache. */
  readonly signal?: AbortSignal | undefined
}

/** Entries of one kind: of no tenant, or of one. */
export interface CollectionReads<Id extends CacheId, Value> {
  readonly name: string
  /** The value, from the cache or the loader; undefined when the source has no such thing. */
  get(id: Id, options?: ReadOptions): Promise<Value | undefined>
  /** Like `get`, and where the value came from and how old it is. */
  lookup(id: Id, options?: ReadOptions): Promise<Lookup<Value>>
  /**
   * Many at once: one round trip for what is cached, one `loadMany` for what is not. What the source does not have is
   * left out of the map; the order is that of `ids`. Rejects when any load fails.
   */
  getMany(ids: Iterable<Id>, options?: ReadOptions): Promise<Map<Id, Value>>
  /** Loads now, whatever is cached, and stores it. What is cached is served to others meanwhile. */
  refresh(id: Id, options?: ReadOptions): Promise<Value | undefined>
  /**
   * Declares the entry wrong: a read that starts after this resolved, in any process, gets nothing that was loaded
   * before. Rejects with `RedisUnavailableError` when Redis did not confirm it.
   */
  invalidate(id: Id): Promise<void>
  /** The same for many, in one round trip. */
  invalidateMany(ids: Iterable<Id>): Promise<void>
}

export interface CollectionTenants<Id extends CacheId, Value> {
  readonly name: string
  /** The same collection for one tenant: keys of its own, and the tenant in the loader's context. */
  tenant(tenant: TenantId): CollectionReads<Id, Value>
}

/** With `tenancy: 'required'` all that it has is `tenant`. */
export type Collection<Id extends CacheId, Value, T extends Tenancy = 'optional'> = T extends 'required'
  ? CollectionTenants<Id, Value>
  : CollectionReads<Id, Value> & CollectionTenants<Id, Value>

export interface CollectionContext {
  readonly reader: Reader
  readonly namespace: string
  readonly tenancy: Tenancy
  readonly source: Source
}

/** Ids to keys, and each call to the engine. One object per collection and tenant. */
export class CollectionView<Id extends CacheId, Value>
  implements CollectionReads<Id, Value>, CollectionTenants<Id, Value>
{
  readonly name: string
  readonly #context: CollectionContext
  readonly #tenant: TenantId | undefined
  readonly #prefix: string

  constructor(context: CollectionContext, tenant?: TenantId) {
    this.name = context.source.name
    this.#context = context
    this.#tenant = tenant
    this.#prefix = collectionPrefix(context.namespace, this.name, tenant)
  }

  tenant(tenant: TenantId): CollectionReads<Id, Value> {
    if (tenant === undefined) throw new TenantRequiredError(`Collection "${this.name}"`)
    return new CollectionView<Id, Value>(this.#context, tenant)
  }

  async get(id: Id, options?: ReadOptions): Promise<Value | undefined> {
    return (await this.lookup(id, options)).value
  }

  async lookup(id: Id, options?: ReadOptions): Promise<Lookup<Value>> {
    return abortable(this.#context.reader.read(this.#request(id)), options?.signal) as Promise<Lookup<Value>>
  }

  async getMany(ids: Iterable<Id>, options?: ReadOptions): Promise<Map<Id, Value>> {
    const requests = this.#requestsOf(ids)
    const lookups = await abortable(this.#context.reader.readMany(requests), options?.signal)
    const values = new Map<Id, Value>()
    for (const [index, { value }] of lookups.entries()) {
      if (value !== undefined) values.set(requests[index]!.id as Id, value as Value)
    }
    return values
  }

  async refresh(id: Id, options?: ReadOptions): Promise<Value | undefined> {
    const lookup = await abortable(this.#context.reader.refresh(this.#request(id)), options?.signal)
    return lookup.value as Value | undefined
  }

  async invalidate(id: Id): Promise<void> {
    await this.#context.reader.invalidate([this.#request(id)])
  }

  async invalidateMany(ids: Iterable<Id>): Promise<void> {
    await this.#context.reader.invalidate(this.#requestsOf(ids))
  }

  #request(id: Id): ReadRequest {
    const { source, tenancy } = this.#context
    if (this.#tenant === undefined && tenancy === 'required')
      throw new TenantRequiredError(`Collection "${this.name}"`)
    return { source, key: this.#prefix + idPart(id), id, tenant: this.#tenant }
  }

  /** One for each key: two ids may be spelt differently and mean the same, as `{a, b}` and `{b, a}`. */
  #requestsOf(ids: Iterable<Id>): ReadRequest[] {
    if (
      typeof ids === 'string' ||
      typeof (ids as Partial<Iterable<Id>> | null)?.[Symbol.iterator] !== 'function'
    ) {
      throw new InvalidOptionError('ids', ids, 'an array, a set or another iterable of ids')
    }
    const byKey = new Map<string, ReadRequest>()
    for (const id of ids) {
      const request = this.#request(id)
      if (!byKey.has(request.key)) byKey.set(request.key, request)
    }
    return [...byKey.values()]
  }
}

/** The user's `loadMany`, with its answer checked and put in the order of the ids. */
export function orderedLoadMany<Id extends CacheId, Value>(
  name: string,
  { loadMany }: Pick<CollectionOptions<Id, Value>, 'loadMany'>
): Source['loadMany'] {
  if (loadMany === undefined) return undefined
  return async (ids: readonly CacheId[], context: LoadContext) => {
    const result: unknown = await loadMany(ids as readonly Id[], context)
    if (result instanceof Map) return ids.map((id) => (result as Map<unknown, unknown>).get(id))
    if (Array.isArray(result) && result.length === ids.length) return result as unknown[]
    throw new InvalidLoaderResultError(name, result, ids.length)
  }
}

/** `work`, unless the caller's signal fires first. */
export function abortable<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return work
  return new Promise((resolve, reject) => {
    const giveUp = (): void => reject(signal.reason as Error)
    if (signal.aborted) giveUp()
    signal.addEventListener('abort', giveUp, { once: true })
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', giveUp))
  })
}
