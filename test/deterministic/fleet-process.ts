import type { Clock } from '../../src/clock.js'
import type { Token } from '../../src/entry.js'
import { Events, type LoadReason } from '../../src/events.js'
import type { EntryOptions } from '../../src/options.js'
import { resolveEntryPolicy } from '../../src/resolve-options.js'
import { ConcurrencyLimit } from '../../src/policy/concurrency-limit.js'
import { Failures } from '../../src/read/failures.js'
import { Judge } from '../../src/read/judge.js'
import { LoadRunner } from '../../src/read/load-runner.js'
import { Loading } from '../../src/read/loading.js'
import { Reader } from '../../src/read/reader.js'
import { newCollectionStats } from '../../src/stats.js'
import { Clearing } from '../../src/invalidation/clearing.js'
import type { EntryStore, LeaseAnswer, LeaseRequest } from '../../src/tiers/entry-store.js'
import { ADMIT_ALL } from '../../src/tiers/fill-gate.js'
import { MemoryShelf, type MemoryView } from '../../src/tiers/memory-shelf.js'
import { MemoryTier } from '../../src/tiers/memory-tier.js'
import { RedisStore } from '../../src/tiers/redis-store.js'
import type { Lookup, ReadRequest } from '../../src/tiers/request.js'
import { PendingInvalidations } from '../../src/write/pending-invalidations.js'
import { Writer, type Changed } from '../../src/write/writer.js'
import type { Ledger, Row } from './ledger.js'
import { plainCodec, type ModelRedis } from './model-redis.js'
import { COLLECTION, keyOf, NAMESPACE, rowOf, tagOf } from './names.js'
import { ModelLink, type Wire } from './model-link.js'
import { LOAD_TIMEOUT_MS, WRITE_TIMEOUT_MS, type Source } from './source.js'
import { Process, type World } from './world.js'

export const LEASE_MS = 1_000
export const GUARD_MS = 1_000
export const WAIT_TIMEOUT_MS = 1_500
/** Longer than any bound that the ledger holds memory to, and shorter than the rest at the end. */
const MEMORY_TTL_MS = 5_000
/** So far apart two looks at a clock are never taken for one: what is one turn of a real event loop is many steps here. */
const APART_MS = 0.021
const MEMORY = { maxBytes: 1_000_000, maxEntries: undefined, ttlMs: MEMORY_TTL_MS }

export interface ProcessOptions {
  readonly entries: Pick<EntryOptions, 'ttl' | 'stale' | 'staleIfError' | 'failedTtl' | 'earlyRefresh'>
  /** Whether rows tell their version to the cache. */
  readonly versioned: boolean
  readonly whenRedisAway: 'refuse' | 'remember'
  /** Whether values are kept in the process, in front of Redis. */
  readonly memory?: boolean
}

/** One process of the modelled fleet: the engine as `createCache` joins it, on the modelled Redis and source. */
export class FleetProcess extends Process {
  readonly link: ModelLink
  readonly onDeath: (() => void)[] = []
  wasStopped = false
  readonly #reader: Reader
  /** Each change has one of its own, so that its guard is known by its token. */
  readonly #writerOf: (onGuard: (key: string, token: Token) => void) => Writer
  readonly #request: (key: string) => ReadRequest
  readonly #clearing: Clearing
  readonly #memory: MemoryView | undefined
  readonly #loads: LoadRunner
  readonly #world: World
  readonly #source: Source
  readonly #ledger: Ledger
  readonly #options: ProcessOptions
  /** Leases that were granted and whose load has not begun, by key. */
  readonly #grants = new Map<string, number>()

  constructor(
    label: string,
    parts: { world: World; redis: ModelRedis; source: Source; ledger: Ledger },
    wire: Wire,
    options: ProcessOptions
  ) {
    super(label)
    const { world, redis, source, ledger } = parts
    this.#ledger = ledger
    const { clock } = world
    this.#world = world
    this.#source = source
    this.#options = options
    this.link = new ModelLink(world, redis, this, wire)
    const tier = options.memory === true ? new MemoryTier(MEMORY, apart(clock)) : undefined
    const redisStore = world.as(
      this,
      () =>
        new RedisStore({
          link: this.link.asLink,
          clock,
          maxRecentBytes: 0,
          names: { counterKey: `${NAMESPACE}:#changes`, listenersKey: `${NAMESPACE}:#listeners` },
          memory: tier,
          reporter: { modeChanged: () => undefined, failed: () => undefined }
        })
    )
    const store = noting(redisStore, (key) => {
      this.#grants.set(key, (this.#grants.get(key) ?? 0) + 1)
    })
    const events = new Events()
    const failures = new Failures(clock)
    const judge = new Judge(store, plainCodec, events, clock, failures)
    const loads = (this.#loads = new LoadRunner(new ConcurrencyLimit(50, 50), events, clock))
    const loading = new Loading({
      store,
      codec: plainCodec,
      events,
      clock,
      loads,
      failures,
      judge,
      gate: ADMIT_ALL,
      leaseMs: LEASE_MS
    })
    const pending = new PendingInvalidations(100)
    store.beforeUse((delivery) => pending.deliver(delivery))
    const isInvalidationPending = ({ key, scope }: ReadRequest): boolean =>
      pending.has(key) || (pending.hasCells && scope.isUndelivered)
    this.#reader = new Reader({ store, events, failures, judge, loading, loads, isInvalidationPending })
    const forget = (keys: readonly string[]): void => this.#reader.forget(keys)
    const shared = { codec: plainCodec, events, clock, pending, gate: ADMIT_ALL, guardMs: GUARD_MS, forget }
    this.#writerOf = (onGuard) =>
      new Writer({ ...shared, store: noting(redisStore, () => undefined, onGuard) })
    const forgetAll = (isIn: (key: string) => boolean): void => this.#reader.forgetAll(isIn)
    const dropKept = (isIn: (key: string) => boolean): void => tier?.dropWhere(isIn)
    this.#clearing = new Clearing({ store, events, clock, forgetAll, dropKept })
    // In the same turn as the loader's own run, and before it.
    const reasons = new Map<string, LoadReason>()
    events.on('load', ({ key, reason }) => void reasons.set(rowOf(key), reason))
    const shelf =
      tier &&
      new MemoryShelf({
        name: COLLECTION,
        tier,
        room: tier.roomFor(undefined),
        codec: plainCodec,
        generations: redisStore.generations,
        events,
        clock,
        stats: newCollectionStats(),
        ttlMs: MEMORY_TTL_MS,
        isPending: (key) => pending.has(key)
      })
    this.#memory = shelf?.view(undefined, (id) => keyOf(id as string))
    this.#request = requestsOf(store, options, shelf, async (keys) => {
      // A `loadMany` says "miss" for all that it was asked for, by flights with a lease and by flights without Redis.
      const isUnheard = (key: string): boolean => {
        const hasLease = this.#takeGrant(key)
        return reasons.get(key) === 'redis-away' || (reasons.get(key) === 'miss' && !hasLease)
      }
      return source.load(this, keys, isUnheard)
    })
  }

  async read(key: string): Promise<Lookup> {
    const hit = this.#memory?.hit(key)
    if (hit !== undefined) return hit.lookup(this.#world.clock.now())
    return this.#reader.read(this.#request(key))
  }
  readMany(keys: readonly string[]): Promise<readonly unknown[]> {
    return this.#reader.readMany(keys.map(this.#request))
  }
  refresh(key: string): Promise<Lookup> {
    return this.#reader.refresh(this.#request(key))
  }
  peek(key: string): Promise<Lookup | undefined> {
    return this.#reader.peek(this.#request(key))
  }
  invalidate(key: string): Promise<'confirmed' | 'pending'> {
    return this.#writerOf(() => undefined).invalidate([this.#request(key)], this.#options.whenRedisAway)
  }

  /** Everything of the collection, or everything under a row's tag, is declared wrong. */
  async clear(how: 'clear' | 'tag', row: string): Promise<void> {
    if (how === 'tag') await this.#clearing.invalidateTags(NAMESPACE, undefined, [tagOf(row)], false)
    else await this.#clearing.clear({ namespace: NAMESPACE, collection: COLLECTION }, { clean: false })
  }

  write(
    keys: readonly string[],
    onCommit: (key: string, version: number) => void
  ): Promise<Changed<ReadonlyMap<string, number>>> {
    let guard: string | undefined
    const writer = this.#writerOf((key, token) => {
      guard = this.#world.nameOf(token)
      this.#ledger.guardSent(key, guard)
    })
    return writer.change({
      requests: keys.map(this.#request),
      work: () => this.#source.write(this, keys, this.#options.versioned, () => guard, onCommit),
      timeoutMs: WRITE_TIMEOUT_MS,
      whenRedisAway: this.#options.whenRedisAway
    })
  }

  override stop(): void {
    this.wasStopped = true
    super.stop()
  }

  die(): void {
    this.isDead = true
    this.link.break()
    for (const tell of this.onDeath) tell()
    this.#world.note(`${this.name}: dies`)
  }

  /** The run is over: a load that never ends would go on costing every later run, by its asynchronous context. */
  abandon(): void {
    this.isDead = true
    this.#loads.abortAll()
  }

  #takeGrant(key: string): boolean {
    const grants = this.#grants.get(key) ?? 0
    if (grants > 0) this.#grants.set(key, grants - 1)
    return grants > 0
  }
}

function requestsOf(
  store: EntryStore,
  { entries }: ProcessOptions,
  memory: MemoryShelf | undefined,
  load: (keys: readonly string[]) => Promise<Row[]>
): (key: string) => ReadRequest {
  const policy = resolveEntryPolicy({
    jitter: 0,
    ...entries,
    loadTimeout: LOAD_TIMEOUT_MS,
    waitTimeout: WAIT_TIMEOUT_MS
  })
  const source: ReadRequest['source'] = {
    name: COLLECTION,
    policy,
    stats: newCollectionStats(),
    schema: undefined,
    writing: { writeTimeoutMs: WRITE_TIMEOUT_MS, whenRedisAway: 'refuse' },
    write: undefined,
    remove: undefined,
    version: undefined,
    loadLimit: undefined,
    tags: (_row, id) => [tagOf(id as string)],
    load: async (id) => (await load([id as string]))[0],
    loadMany: (ids) => load(ids as readonly string[])
  }
  const scope = store.generations.scope(NAMESPACE, COLLECTION, undefined, true)
  return (key) => ({ source, key: keyOf(key), id: key, tenant: undefined, scope, memory })
}

function apart(clock: Clock): Clock {
  let looks = 0
  return { now: () => clock.now() + APART_MS * ++looks, random: () => clock.random() }
}

/** The store, with every grant of a lease and every guard that is asked of it noted, by row. */
function noting(
  store: EntryStore,
  onGrant: (row: string) => void,
  onGuard: (row: string, token: Token) => void = () => undefined
): EntryStore {
  const takeLease = async (request: LeaseRequest): Promise<LeaseAnswer> => {
    const answer = await store.takeLease(request)
    if (answer.kind === 'granted') onGrant(rowOf(request.key))
    return answer
  }
  const guard: EntryStore['guard'] = (key, token, ...rest) => {
    onGuard(rowOf(key), token)
    return store.guard(key, token, ...rest)
  }
  return new Proxy<EntryStore>(store, {
    get(target, member) {
      if (member === 'takeLease') return takeLease
      if (member === 'guard') return guard
      const value: unknown = Reflect.get(target, member, target)
      return typeof value === 'function' ? (value.bind(target) as unknown) : value
    }
  })
}
