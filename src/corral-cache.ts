import {
  AdHocView,
  type AdHocReads,
  type GetOrLoadOptions,
  type TaggedOptions,
  type TagRef
} from './ad-hoc.js'
import { AmbientTenant } from './ambient-tenant.js'
import { collectionSource } from './collection-source.js'
import { CollectionView } from './collection-view.js'
import type { Collection, EntryRef, InvalidateOptions, Written } from './collection.js'
import type { CacheControl, Ingest, TenantCache, WriteOptions, WriteTransaction } from './cache.js'
import { toMilliseconds, type Duration } from './durations.js'
import { InvalidKeyError, InvalidOptionError, TenantlessError } from './errors.js'
import type { Clock } from './clock.js'
import { checkEventName, type EventName, type Events, type Listener } from './events.js'
import type { CacheHealth } from './health.js'
import type { Cleaning } from './invalidation/cleaning.js'
import type { ClearAllOptions, Clearing } from './invalidation/clearing.js'
import { ingestInto } from './ingest.js'
import { AD_HOC } from './keys/key-schema.js'
import { checkIterable, checkName } from './option-values.js'
import type { CollectionOptions, Tenancy } from './options.js'
import {
  checkClearAllOptions,
  checkCollectionOptions,
  checkTimeoutOptions,
  checkWriteOptions,
  resolveTenancy,
  resolveWritePolicy,
  writeBehindOf
} from './resolve-options.js'
import type { DeadLetters } from './behind/dead-letters.js'
import type { BehindWrites } from './behind/write-behind.js'
import type { Worker, WorkerOptions } from './behind/worker.js'
import type { BehindEntries } from './behind/entries.js'
import { resolveBehind, type BehindOptions, type BehindPolicy } from './behind-options.js'
import type { Awaitable, CacheId, LoadContext, TenantId } from './ports.js'
import type { QueueBound } from './policy/concurrency-limit.js'
import type { Reader } from './read/reader.js'
import type { Usage } from './tenants/usage.js'
import type { Generations } from './tiers/generations.js'
import type { MemoryShelf } from './tiers/memory-shelf.js'
import type { ReadRequest, Source } from './tiers/request.js'
import { rowsOf } from './write/new-rows.js'
import type { Writer } from './write/writer.js'
import { targetsOf, withPublish } from './write-transaction.js'
import { newCollectionStats, sumOf, type CacheStats, type CollectionStats } from './stats.js'

export interface CacheParts {
  readonly namespace: string
  readonly tenancy: Tenancy
  readonly reader: Reader
  readonly writer: Writer
  readonly clearing: Clearing
  readonly generations: Generations
  readonly usageOf: (tenant: TenantId) => Promise<Usage>
  /** Undefined without Redis. */
  readonly behind: BehindWrites | undefined
  readonly clock: Clock
  readonly events: Events
  /** The parts of a snapshot that only the composition root can see. */
  readonly vitals: () => Pick<CacheStats, 'redis' | 'loads' | 'pendingInvalidations' | 'behind'>
  readonly health: () => CacheHealth
  readonly ready: (timeoutMs: number | undefined) => Promise<void>
  /** Of loads that wait for their turn, over all limits. */
  readonly loadQueue: QueueBound
  /** Where a collection's values are kept in memory; undefined where they are not. */
  readonly shelfFor: (name: string, stats: CollectionStats, memory: unknown) => MemoryShelf | undefined
  readonly shutDown: (timeoutMs: number) => Promise<void>
}

/** Tenants whose views are kept for their next call. */
const MOST_TENANTS = 1_000

/** Every call of a cache, each handed to the part of the engine that does it. */
export class CorralCache implements CacheControl<Tenancy>, AdHocReads {
  readonly #parts: CacheParts
  readonly #stats = new Map<string, CollectionStats>()
  readonly #ambient = new AmbientTenant()
  readonly #adHoc: AdHocView
  readonly #adHocMemory: MemoryShelf | undefined
  readonly #tenants = new Map<TenantId, AdHocView>()
  #closing: Promise<void> | undefined

  constructor(parts: CacheParts) {
    this.#parts = parts
    this.#adHocMemory = parts.shelfFor(AD_HOC, this.#statsOf(AD_HOC), undefined)
    this.#adHoc = this.#adHocView(undefined)
  }

  collection<Id extends CacheId, Value, C extends Tenancy>(
    name: string,
    options: CollectionOptions<Id, Value, C>
  ): Collection<Id, Value, C> {
    checkCollectionOptions(name, options)
    if (this.#stats.has(name) || this.#isQueue(name))
      throw new InvalidOptionError('collection name', name, 'a name that is not in use')
    const stats = newCollectionStats()
    const source = collectionSource(name, options, stats, this.#parts.loadQueue, this.#ambient)
    const tenancy = resolveTenancy(options.tenancy, this.#parts.tenancy)
    const memory = this.#parts.shelfFor(name, stats, options.memory)
    const behind = writeBehindOf(options.write)
    const entries =
      behind && this.#openEntries(source, resolveBehind(behind.options, source.writing.writeTimeoutMs))
    // Last: options that were refused leave the name free.
    this.#stats.set(name, stats)
    const context = { ...this.#parts, source, tenancy, ambient: this.#ambient, memory, entries }
    return new CollectionView<Id, Value>(context) as unknown as Collection<Id, Value, C>
  }

  getOrLoad<Value>(
    key: CacheId,
    load: (context: LoadContext) => Awaitable<Value | undefined>,
    options: GetOrLoadOptions
  ): Promise<Value | undefined> {
    return this.#adHoc.getOrLoad(key, load, options)
  }

  async write<Result>(
    refs: Iterable<EntryRef<unknown> | TagRef>,
    change: (transaction: WriteTransaction) => Promise<Result>,
    options: WriteOptions = {}
  ): Promise<Written<Result>> {
    checkIterable(refs, 'refs', 'an array of what key() and tag() give')
    if (typeof change !== 'function')
      throw new InvalidOptionError('change', change, 'a function (transaction) => result')
    checkWriteOptions(options)
    const { entries, tags } = targetsOf(refs, this.#parts.generations, (request) =>
      this.#assertWritable(request)
    )
    const { writeTimeoutMs, whenRedisAway } = resolveWritePolicy(
      { ...options, writeTimeout: options.timeout },
      'timeout'
    )
    const changed = await this.#parts.writer.change({
      requests: [...entries.values()],
      tags,
      work: withPublish(entries, change),
      timeoutMs: writeTimeoutMs,
      whenRedisAway
    })
    return { value: changed.result, cache: changed.outcome }
  }

  get(key: CacheId): Promise<unknown> {
    return this.#adHoc.get(key)
  }

  set(key: CacheId, value: unknown, options: TaggedOptions): Promise<boolean> {
    return this.#adHoc.set(key, value, options)
  }

  delete(key: CacheId): Promise<void> {
    return this.#adHoc.delete(key)
  }

  invalidateTags(tags: Iterable<string> & object, options?: InvalidateOptions): Promise<void> {
    return this.#adHoc.invalidateTags(tags, options)
  }

  tag(tag: string): TagRef {
    return this.#adHoc.tag(tag)
  }

  tenant(tenant: TenantId): TenantCache {
    if (tenant === undefined)
      throw new InvalidKeyError('The tenant', tenant, 'a string, a number or a bigint')
    if (this.#parts.tenancy === 'none') throw new TenantlessError('The cache')
    const view = this.#viewOf(tenant)
    const { clearing, namespace, usageOf } = this.#parts
    return {
      getOrLoad: (key, load, options) => view.getOrLoad(key, load, options),
      get: (key) => view.get(key),
      set: (key, value, options) => view.set(key, value, options),
      delete: (key) => view.delete(key),
      invalidateTags: (tags, options) => view.invalidateTags(tags, options),
      tag: (tag) => view.tag(tag),
      clear: async (options) => {
        checkClearAllOptions(options)
        return clearing.clear({ namespace, tenant, collection: collectionIn(options) }, options)
      },
      usage: () => usageOf(tenant)
    }
  }

  runAs<Result>(tenant: TenantId, work: () => Result): Result {
    // Refused here, where the mistake is, and not at the first call inside; a missing header must not become "no tenant".
    if (tenant === undefined)
      throw new InvalidKeyError('The tenant', tenant, 'a string, a number or a bigint')
    this.#viewOf(tenant)
    if (typeof work !== 'function') throw new InvalidOptionError('work', work, 'a function () => result')
    return this.#ambient.run(tenant, work)
  }

  async clear(options?: ClearAllOptions): Promise<Cleaning> {
    checkClearAllOptions(options)
    const { clearing, namespace, tenancy } = this.#parts
    const tenant = tenancy === 'none' ? undefined : this.#ambient.current
    return clearing.clear({ namespace, tenant, collection: collectionIn(options) }, options)
  }

  ingest<Value>(name: string, options: BehindOptions<never, Value>): Ingest<Value, Tenancy> {
    checkName(name, 'ingest name')
    if (this.#stats.has(name) || this.#isQueue(name))
      throw new InvalidOptionError('ingest name', name, 'a name that is not in use')
    const policy = resolveBehind(options)
    if (!policy.sink.kinds.includes('append'))
      throw new InvalidOptionError('sink', policy.sink, 'one that appends; a postgresSink without `key` does')
    const queue = this.#behind('ingest').open(name, policy, 0)
    return ingestInto<Value>(queue, this.#parts.tenancy, this.#ambient)
  }

  worker(options: WorkerOptions = {}): Worker {
    return this.#behind('worker').worker(options)
  }

  async flush(options?: { readonly timeout?: Duration | undefined }): Promise<void> {
    checkTimeoutOptions(options, 'flush')
    await this.#parts.behind?.flush(options)
  }

  get deadLetters(): DeadLetters {
    return this.#behind('deadLetters').deadLetters
  }

  #openEntries(source: Source, policy: BehindPolicy): BehindEntries {
    const behind = this.#behind('writeBehind')
    const { reader, writer } = this.#parts
    const queue = behind.open(source.name, policy, source.policy.staleIfErrorMs)
    return behind.entries(queue, {
      readThrough: (request, again) => (again ? reader.refresh(request) : reader.read(request)),
      writeThrough: (request, work, value) =>
        writer.change({
          requests: [request],
          work: async () => {
            const isWritten = await work()
            return { result: undefined, rows: isWritten ? rowsOf(request, value) : new Map() }
          },
          timeoutMs: policy.writeTimeoutMs,
          whenRedisAway: 'refuse'
        })
    })
  }

  /** A change around the queue of an entry that is written behind would be overwritten by what waits in it. */
  #assertWritable(request: ReadRequest): void {
    if (this.#isQueue(request.source.name))
      throw new InvalidOptionError('refs', request.key, 'entries of collections without writeBehind')
  }

  /** What is written behind waits in Redis; a process alone has nothing that would outlive it. */
  #behind(what: string): BehindWrites {
    const { behind } = this.#parts
    if (behind !== undefined) return behind
    throw new InvalidOptionError('redis', undefined, `a Redis, for \`${what}\` to keep what it writes behind`)
  }

  #isQueue(name: string): boolean {
    return this.#parts.behind?.queues.some((queue) => queue.name === name) === true
  }

  on<Name extends EventName>(event: Name, listener: Listener<Name>): () => void {
    checkEventName(event)
    if (typeof listener !== 'function')
      throw new InvalidOptionError('listener', listener, 'a function (fact)')
    return this.#parts.events.on(event, listener)
  }

  stats(): CacheStats {
    const collections = Object.fromEntries([...this.#stats].map(([name, stats]) => [name, { ...stats }]))
    return { collections, total: sumOf(this.#stats.values()), ...this.#parts.vitals() }
  }

  health(): CacheHealth {
    return this.#parts.health()
  }

  async ready(options?: { readonly timeout?: Duration | undefined }): Promise<void> {
    checkTimeoutOptions(options, 'ready')
    const timeout = options?.timeout
    await this.#parts.ready(timeout === undefined ? undefined : toMilliseconds(timeout, 'timeout'))
  }

  async close(options?: { readonly timeout?: Duration | undefined }): Promise<void> {
    checkTimeoutOptions(options, 'close')
    this.#closing ??= this.#parts.shutDown(toMilliseconds(options?.timeout ?? '5s', 'timeout'))
    return this.#closing
  }

  #viewOf(tenant: TenantId): AdHocView {
    const known = this.#tenants.get(tenant)
    if (known !== undefined) return known
    const view = this.#adHocView(tenant)
    if (this.#tenants.size === MOST_TENANTS) this.#tenants.clear()
    this.#tenants.set(tenant, view)
    return view
  }

  #adHocView(tenant: TenantId | undefined): AdHocView {
    const context = {
      ...this.#parts,
      ambient: this.#ambient,
      stats: this.#statsOf(AD_HOC),
      memory: this.#adHocMemory
    }
    return new AdHocView(context, tenant, (named) => this.#viewOf(named))
  }

  #statsOf(name: string): CollectionStats {
    const stats = this.#stats.get(name) ?? newCollectionStats()
    this.#stats.set(name, stats)
    return stats
  }
}

/** What a clear of more than a collection is about: everything, or what has none. */
function collectionIn(options: ClearAllOptions | undefined): string | undefined {
  return options?.collections === false ? AD_HOC : undefined
}
