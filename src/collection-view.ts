import {
  InvalidKeyError,
  InvalidOptionError,
  NotWritableError,
  TenantlessError,
  TenantRequiredError
} from './errors.js'
import type { AmbientTenant } from './ambient-tenant.js'
import {
  EntryRef,
  type CollectionReads,
  type CollectionTenants,
  type CollectionWrites,
  type InvalidateOptions,
  type InvalidationOutcome,
  type ReadOptions,
  type Written
} from './collection.js'
import type { Cleaning } from './invalidation/cleaning.js'
import type { Clearing, ClearOptions } from './invalidation/clearing.js'
import type { Clock } from './clock.js'
import type { BehindEntries } from './behind/entries.js'
import { abortable, signalOf } from './policy/abort.js'
import { behindKey, collectionPrefix, idPart, ownId, type Area } from './keys/key-schema.js'
import type { Tenancy } from './options.js'
import { checkIterable } from './option-values.js'
import { checkClearOptions, checkInvalidateOptions } from './resolve-options.js'
import type { CacheId, TenantId } from './ports.js'
import type { Reader } from './read/reader.js'
import type { Scope } from './tiers/generation.js'
import type { Generations } from './tiers/generations.js'
import type { MemoryEntry } from './tiers/memory-entry.js'
import type { MemoryShelf, MemoryView } from './tiers/memory-shelf.js'
import type { Lookup, ReadRequest, Source } from './tiers/request.js'
import { GONE, rowsOf } from './write/new-rows.js'
import { checkedPair, putEach } from './write/put-each.js'
import type { Change, Changed, Writer } from './write/writer.js'

export interface CollectionContext {
  readonly reader: Reader
  readonly writer: Writer
  readonly clearing: Clearing
  readonly generations: Generations
  readonly ambient: AmbientTenant
  readonly namespace: string
  readonly tenancy: Tenancy
  readonly source: Source
  readonly clock: Clock
  /** Undefined where nothing is kept in memory. */
  readonly memory: MemoryShelf | undefined
  /** Where writes go that are written behind. */
  readonly entries?: BehindEntries | undefined
}

const NO_HITS: readonly undefined[] = []

/** Views of tenants that are kept for their next call. */
const MOST_VIEWS = 1_000

/** Ids to keys, and each call to the engine. One object per collection and tenant. */
export class CollectionView<Id extends CacheId, Value>
  implements CollectionReads<Id, Value>, CollectionWrites<Id, Value>, CollectionTenants<Id, Value>
{
  readonly name: string
  readonly #context: CollectionContext
  readonly #tenant: TenantId | undefined
  readonly #prefix: string
  readonly #scope: Scope
  readonly #memory: MemoryView | undefined
  #views: Map<TenantId, CollectionView<Id, Value>> | undefined

  constructor(context: CollectionContext, tenant?: TenantId) {
    const { source, namespace, generations } = context
    this.name = source.name
    this.#context = context
    this.#tenant = tenant
    this.#prefix = collectionPrefix(namespace, this.name, tenant)
    this.#scope = generations.scope(namespace, this.name, tenant, source.tags !== undefined)
    this.#memory = context.memory?.view(tenant, (id) => this.#keyOf(id as Id))
  }

  tenant(...given: [tenant?: TenantId]): CollectionView<Id, Value> {
    const [tenant] = given.length === 0 ? [this.#context.ambient.current] : given
    if (this.#context.tenancy === 'none') throw new TenantlessError(`Collection "${this.name}"`)
    if (tenant !== undefined) return this.#viewOf(tenant)
    if (given.length === 0) throw new TenantRequiredError(`Collection "${this.name}"`)
    // A header that was missing must not become "no tenant".
    throw new InvalidKeyError('The tenant', tenant, 'a string, a number or a bigint')
  }

  #viewOf(tenant: TenantId): CollectionView<Id, Value> {
    this.#views ??= new Map()
    const known = this.#views.get(tenant)
    if (known !== undefined) return known
    const view = new CollectionView<Id, Value>(this.#context, tenant)
    if (this.#views.size === MOST_VIEWS) this.#views.clear()
    this.#views.set(tenant, view)
    return view
  }

  // Not an async function: a hit in memory hands out a promise that is there already, and each promise that waits for
  // another is a measurable part of what other hits, and stampedes, cost.
  get(id: Id, options?: ReadOptions): Promise<Value | undefined> {
    try {
      const hit = options === undefined ? this.#hit(id) : undefined
      if (hit !== undefined) return hit.promise as Promise<Value | undefined>
      const signal = signalOf(options)
      return abortable(this.#context.reader.read(this.#request(id)), signal).then(valueOf<Value>)
    } catch (error) {
      // An id that cannot be one, a signal that has fired: as rejections, like all else.
      return Promise.reject(error as Error)
    }
  }

  async lookup(id: Id, options?: ReadOptions): Promise<Lookup<Value>> {
    const signal = signalOf(options)
    const hit = this.#hit(id)
    if (hit !== undefined) return hit.lookup(this.#context.clock.now()) as Lookup<Value>
    const lookup = await abortable(this.#context.reader.read(this.#request(id)), signal)
    return lookup as Lookup<Value>
  }

  async getMany(ids: Iterable<Id>, options?: ReadOptions): Promise<Map<Id, Value>> {
    const signal = signalOf(options)
    const given = idsOf(ids)
    const requests = this.#requestsOf(given)
    const { memory, reader } = this.#context
    const hits = memory === undefined ? NO_HITS : requests.map(({ id }) => this.#hit(id as Id))
    const unknown = hits === NO_HITS ? requests : requests.filter((_, index) => hits[index] === undefined)
    const found = unknown.length === 0 ? [] : await abortable(reader.readMany(unknown), signal)
    const values = new Map<Id, Value>()
    let at = 0
    for (let index = 0; index < requests.length; index++) {
      const hit = hits[index]
      const value = hit === undefined ? found[at++] : hit.value
      if (value !== undefined) values.set(given[index]!, value as Value)
    }
    return values
  }

  peekMemory(id: Id): Value | undefined {
    return this.#hit(id)?.value as Value | undefined
  }

  /** What is in memory and may be served, of the tenant that the calling code runs for. */
  #hit(id: Id): MemoryEntry | undefined {
    const memory = this.#memory
    if (memory === undefined) return undefined
    if (this.#tenant === undefined) {
      const ambient = this.#ambientTenant()
      if (ambient !== undefined) return this.#viewOf(ambient).#hit(id)
    }
    return memory.hit(id)
  }

  async refresh(id: Id, options?: ReadOptions): Promise<Value | undefined> {
    const signal = signalOf(options)
    const lookup = await abortable(this.#context.reader.refresh(this.#request(id)), signal)
    return lookup.value as Value | undefined
  }

  async peek(id: Id): Promise<Value | undefined> {
    const hit = this.#hit(id)
    if (hit !== undefined) return hit.value as Value | undefined
    return (await this.#context.reader.peek(this.#request(id)))?.value as Value | undefined
  }

  async set(id: Id, value: Value): Promise<boolean> {
    return this.#context.writer.set(this.#request(id), value)
  }

  async invalidate(id: Id, options?: InvalidateOptions): Promise<InvalidationOutcome> {
    return this.#invalidate([this.#request(id)], options)
  }

  async invalidateMany(ids: Iterable<Id>, options?: InvalidateOptions): Promise<InvalidationOutcome> {
    return this.#invalidate(this.#requestsOf(idsOf(ids)), options)
  }

  async invalidateWhere(isWrong: (id: Id) => boolean, options?: InvalidateOptions): Promise<number> {
    if (typeof isWrong !== 'function')
      throw new InvalidOptionError('isWrong', isWrong, 'a function (id) => boolean')
    checkInvalidateOptions(options)
    const { clearing, source } = this.#context
    const area = this.#area()
    if (area.tenant === undefined) this.#assertTenantless()
    const dropped = await clearing.invalidateWhere(area, (id) => isWrong(id as Id), options?.soft === true)
    source.stats.invalidations += dropped
    return dropped
  }

  async clear(options?: ClearOptions): Promise<Cleaning> {
    checkClearOptions(options)
    return this.#context.clearing.clear(this.#area(), options)
  }

  key(id: Id): EntryRef<Value> {
    return new EntryRef<Value>(this.#request(id), this.#context.generations)
  }

  async put(id: Id, value: Value): Promise<Written<Value>> {
    const request = this.#request(id)
    const { source, tenant } = request
    const { write } = source
    const { entries } = this.#context
    if (entries !== undefined)
      return { value: (await entries.put(request, value)) as Value, cache: 'accepted' }
    if (write === undefined) throw new NotWritableError(this.name, 'write')
    const { copies, result, outcome } = await this.#change(request, async (signal) => {
      const saved = await write(request.id, value, { signal, tenant })
      return { result: saved, rows: rowsOf(request, saved) }
    })
    return { value: (copies.get(request.key) ?? result) as Value, cache: outcome }
  }

  async putMany(entries: Iterable<readonly [Id, Value]>): Promise<Map<Id, Written<Value>>> {
    checkIterable(entries, 'entries', 'pairs of an id and a value, such as a Map')
    return putEach(
      Array.from(entries, checkedPair),
      (id) => this.#keyOf(id),
      (id, value) => this.put(id, value)
    )
  }

  async delete(id: Id): Promise<Written<undefined>> {
    const request = this.#request(id)
    const { source, tenant } = request
    const { remove } = source
    const { entries } = this.#context
    if (entries !== undefined) {
      await entries.delete(request)
      return { value: undefined, cache: 'accepted' }
    }
    if (remove === undefined) throw new NotWritableError(this.name, 'remove')
    const { outcome } = await this.#change(request, async (signal) => {
      await remove(request.id, { signal, tenant })
      return { result: undefined, rows: new Map([[request.key, GONE]]) }
    })
    return { value: undefined, cache: outcome }
  }

  async increment(id: Id, by = 1): Promise<number> {
    const { entries } = this.#context
    if (entries === undefined) throw new NotWritableError(this.name, 'writeBehind')
    return entries.increment(this.#request(id), by)
  }

  #change<Result>(request: ReadRequest, work: Change<Result>['work']): Promise<Changed<Result>> {
    const { writeTimeoutMs, whenRedisAway } = request.source.writing
    return this.#context.writer.change({
      requests: [request],
      work,
      timeoutMs: writeTimeoutMs,
      whenRedisAway
    })
  }

  #invalidate(
    requests: readonly ReadRequest[],
    options: InvalidateOptions | undefined
  ): Promise<InvalidationOutcome> {
    checkInvalidateOptions(options)
    const { writer, source } = this.#context
    return writer.invalidate(requests, source.writing.whenRedisAway, options?.soft === true)
  }

  #request(id: Id): ReadRequest {
    return this.#here().#requestHere(id)
  }

  /** The view of the tenant that the calling code runs for, when this one is of none. */
  #here(): CollectionView<Id, Value> {
    if (this.#tenant !== undefined) return this
    const ambient = this.#ambientTenant()
    if (ambient !== undefined) return this.#viewOf(ambient)
    this.#assertTenantless()
    return this
  }

  #requestHere(id: Id): ReadRequest {
    const { source, memory } = this.#context
    const key = this.#keyOf(id)
    return { source, key, id: ownId(id), tenant: this.#tenant, scope: this.#scope, memory }
  }

  #keyOf(id: Id): string {
    const { entries } = this.#context
    const part = idPart(id)
    if (entries === undefined) return this.#prefix + part
    return behindKey(this.#prefix, this.name, part, entries.queue.policy.shards)
  }

  #area(): Area {
    const { namespace } = this.#context
    return { namespace, collection: this.name, tenant: this.#tenant ?? this.#ambientTenant() }
  }

  #ambientTenant(): TenantId | undefined {
    const { ambient, tenancy } = this.#context
    return tenancy === 'none' ? undefined : ambient.current
  }

  #assertTenantless(): void {
    if (this.#context.tenancy === 'required') throw new TenantRequiredError(`Collection "${this.name}"`)
  }

  #requestsOf(ids: readonly Id[]): ReadRequest[] {
    const view = this.#here()
    return ids.map((id) => view.#requestHere(id))
  }
}

function idsOf<Id>(ids: Iterable<Id>): Id[] {
  checkIterable(ids, 'ids', 'an array, a set or another iterable of ids')
  return [...ids]
}

function valueOf<Value>(lookup: Lookup): Value | undefined {
  return lookup.value as Value | undefined
}
