import type { AmbientTenant } from './ambient-tenant.js'
import type { CollectionContext } from './collection-view.js'
import type { InvalidateOptions, ReadOptions } from './collection.js'
import { InvalidOptionError, TenantRequiredError } from './errors.js'
import { AD_HOC, collectionPrefix, idPart, tagPart, tagPrefix } from './keys/key-schema.js'
import { checkIterable } from './option-values.js'
import type { EntryOptions, EntryPolicy } from './options.js'
import {
  checkEntryOptions,
  checkInvalidateOptions,
  resolveEntryPolicy,
  resolveWritePolicy
} from './resolve-options.js'
import { abortable, signalOf } from './policy/abort.js'
import type { Awaitable, CacheId, LoadContext, TenantId } from './ports.js'
import type { CollectionStats } from './stats.js'
import type { Scope } from './tiers/generation.js'
import type { MemoryView } from './tiers/memory-shelf.js'
import type { ReadRequest, Source } from './tiers/request.js'
import type { TagTarget } from './write/guards.js'

/** How an entry without a collection lives, and its tags. */
export interface TaggedOptions extends EntryOptions {
  /** What the entry is about, for `invalidateTags`. */
  readonly tags?: readonly string[] | undefined
}

/** What `getOrLoad` takes: how the entry lives, its tags, and a signal that ends this caller's wait. */
export interface GetOrLoadOptions extends TaggedOptions, ReadOptions {}

/** What can be asked without naming a collection: of no tenant, or of one. */
export interface AdHocReads {
  /**
   * The value under `key`, loaded and stored when it is not cached; with all the guarantees of a collection. Calls with
   * one key share one load, so they should bring equivalent loaders. Rejects as a collection's `get` does.
   */
  getOrLoad<Value>(
    key: CacheId,
    load: (context: LoadContext) => Awaitable<Value | undefined>,
    options: GetOrLoadOptions
  ): Promise<Value | undefined>
  /** What is cached under `key` by `getOrLoad` or `set`; undefined when there is nothing. Never loads. */
  get(key: CacheId): Promise<unknown>
  /**
   * Into the cache, for `getOrLoad` and `get` to find; false and rejections as of a collection's `set`.
   */
  set(key: CacheId, value: unknown, options: TaggedOptions): Promise<boolean>
  /** Declares wrong what is cached under `key`. Rejects with `RedisUnavailableError` when Redis did not confirm it. */
  delete(key: CacheId): Promise<void>
  /**
   * Declares wrong whatever carries one of the tags, in every collection: what was loaded before it is served to nobody who
   * starts to read after this resolved. It takes a few milliseconds however many entries there are. A tenant's tags are
   * its own. Rejects with `RedisUnavailableError` when Redis did not confirm it.
   */
  invalidateTags(tags: Iterable<string> & object, options?: InvalidateOptions): Promise<void>
  /** All that carries the tag, for `cache.write`. */
  tag(tag: string): TagRef
}

/** A tag, named for `cache.write`. */
export class TagRef {
  readonly tag: string
  readonly #target: TagTarget
  readonly #home: object

  /** @param home stands for the cache that it is of */
  constructor(tag: string, target: TagTarget, home: object) {
    this.tag = tag
    this.#target = target
    this.#home = home
  }

  /** What the engine moves it by. */
  static targetOf(ref: TagRef): TagTarget {
    return ref.#target
  }

  static isOf(home: object, ref: TagRef): boolean {
    return ref.#home === home
  }
}

/** For calls that load nothing: how long an entry lives was said when it was stored. */
const PEEKING: EntryPolicy = resolveEntryPolicy({ ttl: 1 })
const nothing = (): undefined => undefined
const WRITING = resolveWritePolicy({})

export interface AdHocContext extends Omit<CollectionContext, 'source'> {
  readonly stats: CollectionStats
  readonly ambient: AmbientTenant
}

/** One object per tenant. */
export class AdHocView implements AdHocReads {
  readonly #context: AdHocContext
  readonly #tenant: TenantId | undefined
  readonly #prefix: string
  readonly #scope: Scope
  readonly #memory: MemoryView | undefined
  readonly #viewOf: (tenant: TenantId) => AdHocView

  /** @param viewOf the view of a tenant, for calls inside `runAs` */
  constructor(context: AdHocContext, tenant: TenantId | undefined, viewOf: (tenant: TenantId) => AdHocView) {
    const { namespace, generations } = context
    this.#context = context
    this.#tenant = tenant
    this.#viewOf = viewOf
    this.#prefix = collectionPrefix(namespace, AD_HOC, tenant)
    this.#scope = generations.scope(namespace, AD_HOC, tenant, true)
    this.#memory = context.memory?.view(tenant, (id) => this.#prefix + idPart(id))
  }

  async getOrLoad<Value>(
    key: CacheId,
    load: (context: LoadContext) => Awaitable<Value | undefined>,
    options: GetOrLoadOptions
  ): Promise<Value | undefined> {
    const policy = resolved(options, ['tags', 'signal'])
    const signal = signalOf(options)
    if (typeof load !== 'function')
      throw new InvalidOptionError('load', load, 'a function (context) => value')
    const hit = this.#here().#memory?.hit(key)
    if (hit !== undefined) return hit.value as Value | undefined
    const { ambient } = this.#context
    const loading: Source['load'] = (_id, context) => ambient.runFor(context.tenant, () => load(context))
    const request = this.#request(key, loading, policy, options.tags)
    const lookup = await abortable(this.#context.reader.read(request), signal)
    return lookup.value as Value | undefined
  }

  async get(key: CacheId): Promise<unknown> {
    const hit = this.#here().#memory?.hit(key)
    if (hit !== undefined) return hit.value
    return (await this.#context.reader.peek(this.#request(key, nothing, PEEKING)))?.value
  }

  async set(key: CacheId, value: unknown, options: TaggedOptions): Promise<boolean> {
    const policy = resolved(options, ['tags'])
    return this.#context.writer.set(this.#request(key, nothing, policy, options.tags), value)
  }

  async delete(key: CacheId): Promise<void> {
    await this.#context.writer.invalidate([this.#request(key, nothing, PEEKING)], 'refuse')
  }

  async invalidateTags(tags: Iterable<string> & object, options?: InvalidateOptions): Promise<void> {
    checkIterable(tags, 'tags', 'an array or a set of tags')
    checkInvalidateOptions(options)
    const { clearing, namespace } = this.#context
    await clearing.invalidateTags(namespace, this.#here().#tenant, [...tags], options?.soft === true)
  }

  tag(tag: string): TagRef {
    const { namespace, generations } = this.#context
    const prefix = tagPrefix(namespace, this.#here().#tenant)
    return new TagRef(tag, { prefix, part: tagPart(tag) }, generations)
  }

  #request(id: CacheId, load: Source['load'], policy: EntryPolicy, tags?: readonly string[]): ReadRequest {
    const view = this.#here()
    // A load ends a round trip later, when its caller may have changed them.
    const own = tags?.slice()
    const source: Source = {
      name: AD_HOC,
      policy,
      stats: this.#context.stats,
      loadLimit: undefined,
      schema: undefined,
      writing: WRITING,
      write: undefined,
      remove: undefined,
      version: undefined,
      tags: own && (() => own),
      load,
      loadMany: undefined
    }
    const { memory } = this.#context
    return { source, key: view.#prefix + idPart(id), id, tenant: view.#tenant, scope: view.#scope, memory }
  }

  /** The view of the tenant that the calling code runs for, when this one is of none. */
  #here(): AdHocView {
    if (this.#tenant !== undefined) return this
    const { ambient, tenancy } = this.#context
    if (tenancy === 'none') return this
    if (ambient.current !== undefined) return this.#viewOf(ambient.current)
    if (tenancy === 'required') throw new TenantRequiredError('The cache')
    return this
  }
}

function resolved(options: TaggedOptions, more: readonly string[]): EntryPolicy {
  checkEntryOptions(options, more)
  const { tags } = options
  if (tags !== undefined && !Array.isArray(tags))
    throw new InvalidOptionError('tags', tags, 'an array of strings')
  for (const tag of tags ?? []) tagPart(tag)
  return resolveEntryPolicy(options)
}
