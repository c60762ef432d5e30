import { BehindWrites } from './behind/write-behind.js'
import type { Cache } from './cache.js'
import { CorralCache } from './corral-cache.js'
import { LONGEST_TIMER_MS, systemClock, type Clock } from './clock.js'
import { PayloadCodec } from './codec/codec.js'
import { Events } from './events.js'
import { usageKey } from './keys/key-schema.js'
import type { CacheLimits, CachePolicy, Tenancy } from './options.js'
import { resolveCachePolicy, resolveCollectionMemory } from './resolve-cache-options.js'
import { ConcurrencyLimit } from './policy/concurrency-limit.js'
import { Clearing } from './invalidation/clearing.js'
import { Failures } from './read/failures.js'
import { Judge } from './read/judge.js'
import { LoadRunner } from './read/load-runner.js'
import { Loading } from './read/loading.js'
import { Reader } from './read/reader.js'
import { openClient, type RedisInput } from './redis/client.js'
import { RedisLink } from './redis/link.js'
import { healthOf, readyWithin } from './vitals.js'
import { channelKeys, internalKey } from './keys/key-schema.js'
import { PendingInvalidations } from './write/pending-invalidations.js'
import { Writer } from './write/writer.js'
import type { CacheStats } from './stats.js'
import type { EntryStore } from './tiers/entry-store.js'
import { ADMIT_ALL, type FillGate } from './tiers/fill-gate.js'
import { LocalStore } from './tiers/local-store.js'
import { RedisLedger } from './tiers/redis-ledger.js'
import { MemoryShelf } from './tiers/memory-shelf.js'
import { MemoryTier } from './tiers/memory-tier.js'
import { RedisStore } from './tiers/redis-store.js'
import type { ReadRequest } from './tiers/request.js'
import { LocalLedger, type UsageLedger } from './tiers/usage-ledger.js'
import { TenantBudget } from './tenants/budget.js'
import { measure } from './tenants/usage.js'

/** What `createCache` takes; `namespace` alone is required. Where it is written as a type, `tenancy` is told by it: `CacheOptions<'required'>`. */
export interface CacheOptions<T extends Tenancy = 'optional'> extends CacheLimits {
  /** A URL, ioredis options, or an ioredis instance of your own. Omitted: the same guarantees within this process. */
  readonly redis?: RedisInput | undefined
  /** First part of every key; whoever shares it shares the entries. 1 to 64 letters, digits, '_', '.' or '-'. */
  readonly namespace: string
  /** `'required'` makes calls without a tenant an error, for the compiler too. Default 'optional'. */
  readonly tenancy?: T | undefined
}

/**
 * Makes a cache. Nothing is awaited: calls made before Redis is connected wait for it, for a second at
 * most. Throws `InvalidOptionError`.
 */
export function createCache<const T extends Tenancy = 'optional'>(options: CacheOptions<T>): Cache<T> {
  const policy = resolveCachePolicy(options)
  const clock = systemClock
  const events = new Events()
  const opened = openStore(options, policy, events, clock)
  const { store, link, ledger } = opened
  const codec = new PayloadCodec(policy)
  const failures = new Failures(clock)
  const judge = new Judge(store, codec, events, clock, failures)
  const limit = new ConcurrencyLimit(policy.maxConcurrentLoads, policy.maxQueuedLoads)
  const loads = new LoadRunner(limit, events, clock)
  const { namespace } = policy
  const budget =
    policy.tenantBudget && new TenantBudget(policy.tenantBudget, { store, ledger, clock, namespace })
  const gate: FillGate = budget ?? ADMIT_ALL
  const loading = new Loading({
    store,
    codec,
    events,
    clock,
    loads,
    failures,
    judge,
    gate,
    leaseMs: policy.leaseMs
  })
  const pending = new PendingInvalidations(policy.maxPendingInvalidations)
  store.beforeUse((delivery) => pending.deliver(delivery))
  const isInvalidationPending = ({ key, scope }: ReadRequest): boolean =>
    pending.has(key) || (pending.hasCells && scope.isUndelivered)
  const reader = new Reader({ store, events, failures, judge, loading, loads, isInvalidationPending })
  const forget = (keys: readonly string[]): void => reader.forget(keys)
  const writer = new Writer({
    store,
    codec,
    events,
    clock,
    pending,
    gate,
    guardMs: policy.writeLeaseMs,
    forget
  })
  const behind =
    link && new BehindWrites({ link, store, namespace: policy.namespace, codec, events, clock, forget })

  const forgetAll = (isIn: (key: string) => boolean): void => reader.forgetAll(isIn)
  const dropKept = (isIn: (key: string) => boolean): void => opened.memory?.dropWhere(isIn)
  const clearing = new Clearing({ store, events, clock, forgetAll, dropKept })

  const cache = new CorralCache({
    namespace,
    tenancy: policy.tenancy,
    reader,
    writer,
    clearing,
    generations: store.generations,
    usageOf: (tenant) => measure(store, { namespace, tenant }),
    clock,
    behind,
    events,
    vitals: () => ({
      redis: opened.stats(),
      loads: { running: loads.running, queued: loads.queued },
      pendingInvalidations: pending.size,
      behind: behind?.stats() ?? {}
    }),
    health: () => healthOf(opened, { loads, pending, behind }),
    ready: (timeoutMs) => readyWithin(opened, timeoutMs),
    loadQueue: limit.bound,
    shelfFor: (name, stats, given) => {
      const { memory: tier } = opened
      const own = resolveCollectionMemory(given, policy.memory)
      if (tier === undefined || own === undefined) return undefined
      const { ttlMs } = own
      const { generations } = store
      return new MemoryShelf({
        name,
        stats,
        tier,
        room: tier.roomFor(own.own),
        codec,
        generations,
        events,
        clock,
        ttlMs,
        isPending: (key) => pending.has(key)
      })
    },
    shutDown: async (timeoutMs) => {
      reader.close()
      writer.close()
      behind?.close()
      const cleaned = clearing.close()
      const drained = Promise.all([
        reader.drain(),
        loading.drain(),
        writer.drain(),
        clearing.drain(),
        behind?.drain(timeoutMs)
      ])
      if (!(await isDoneWithin(drained, Math.min(timeoutMs, LONGEST_TIMER_MS)))) loading.abort()
      writer.abort()
      await Promise.all([loading.drain(), cleaned])
      pending.close()
      await budget?.close()
      behind?.end()
      await store.close()
    }
  })
  return cache as unknown as Cache<T>
}

interface OpenedStore {
  readonly store: EntryStore
  readonly ledger: UsageLedger
  /** Undefined for a cache without Redis. */
  readonly link: RedisLink | undefined
  readonly memory: MemoryTier | undefined
  readonly stats: () => CacheStats['redis']
}

function openStore(
  options: CacheOptions<Tenancy>,
  policy: CachePolicy,
  events: Events,
  clock: Clock
): OpenedStore {
  const { redis } = options
  const memory = policy.memory && new MemoryTier(policy.memory, clock)
  const isNamed = 'redis' in options
  if (redis === undefined) {
    if (isNamed) {
      const warning = 'The option "redis" is undefined, so this cache lives in this process alone.'
      process.emitWarning(`${warning} Leave the option out if that is meant.`, 'CorralWarning')
    }
    const store = new LocalStore(policy.maxLocalBytes, clock, memory)
    const ledger = new LocalLedger(() => store.nowMs())
    return {
      store,
      ledger,
      link: undefined,
      memory,
      stats: () => ({ state: 'none', failures: 0, pushes: true })
    }
  }
  let failures = 0
  const probeKey = internalKey(policy.namespace, 'probe')
  const link = new RedisLink(
    openClient(redis, clock),
    { timeoutMs: policy.commandTimeoutMs, probeKey, clock },
    {
      stateChanged: (state, reason) => events.emit('redisState', { state, reason }),
      breakerChanged: (state) => events.emit('redisBreaker', { state }),
      connectionFailed: (error) => events.emit('redisConnectionFailed', { error }),
      misconfigured: (code, message, advice) => events.emit('redisMisconfigured', { code, message, advice }),
      callFailed: (action, error) => {
        failures++
        events.emit('redisFailed', { action, error })
      }
    }
  )
  const store = new RedisStore({
    link,
    clock,
    maxRecentBytes: policy.maxRecentBytes,
    names: channelKeys(policy.namespace),
    memory,
    waitForReplicas: policy.waitForReplicas,
    reporter: {
      modeChanged: (mode, reason) => events.emit('coherence', { mode, reason }),
      failed: (error) => events.emit('redisConnectionFailed', { error })
    }
  })
  const ledger = new RedisLedger(link, usageKey(policy.namespace))
  return { store, ledger, link, memory, stats: () => ({ state: link.state, failures, pushes: store.pushes }) }
}

async function isDoneWithin(work: Promise<unknown>, timeoutMs: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<false>((resolve) => {
    timer = setTimeout(resolve, timeoutMs, false)
  })
  return Promise.race([work.then(() => true), late]).finally(() => clearTimeout(timer))
}
