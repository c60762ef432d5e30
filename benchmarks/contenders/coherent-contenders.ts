import { createKeyv } from '@keyv/redis'
import { BentoCache, bentostore } from 'bentocache'
import { memoryDriver } from 'bentocache/drivers/memory'
import { redisBusDriver, redisDriver } from 'bentocache/drivers/redis'
import { createCache as createManagedCache } from 'cache-manager'
import { createCache } from 'corral'
import { Redis } from 'ioredis'
import { Keyv } from 'keyv'
import { Loader } from 'layered-loader/core'
import { createNotificationPair, RedisCache } from 'layered-loader/redis'
import { CORRAL } from './contender.js'

export interface Versioned {
  readonly id: number
  readonly version: number
}

/** A cache with a tier in this process, which tells the others of changes in the way that its own documentation has for it. */
export interface CoherentContender {
  get(id: number): Promise<Versioned | undefined>
  /** Declares wrong what is cached, here and everywhere. */
  invalidate(id: number): Promise<unknown>
}

export interface CoherentSetting {
  readonly url: string
  readonly namespace: string
  readonly keys: number
  readonly load: (id: number) => Promise<Versioned>
}

export interface CoherentDefinition {
  readonly name: string
  readonly packages: readonly string[]
  /** How other processes hear of a change. */
  readonly news: string
  open(setting: CoherentSetting): Promise<CoherentContender>
}

const AN_HOUR_MS = 3_600_000

/** Values live for an hour in both tiers: no expiry hides what nobody was told of. */
export const COHERENT_CONTENDERS: readonly CoherentDefinition[] = [
  {
    name: CORRAL,
    packages: ['corral', 'ioredis'],
    news: 'client tracking of Redis',
    async open({ url, namespace, keys, load }) {
      const cache = createCache({
        redis: url,
        namespace,
        memory: { maxBytes: 2 ** 26, maxEntries: 2 * keys, ttl: '1h' }
      })
      await cache.ready()
      const rows = cache.collection('rows', { ttl: AN_HOUR_MS, load })
      return { get: (id) => rows.get(id), invalidate: (id) => rows.invalidate(id) }
    }
  },
  {
    name: 'bentocache',
    packages: ['bentocache', 'ioredis'],
    news: 'a bus over Redis',
    async open({ url, namespace, keys, load }) {
      const connection = connect(url)
      const { hostname: host, port } = new URL(url)
      const bento = new BentoCache({
        default: 'rows',
        prefix: namespace,
        ttl: AN_HOUR_MS,
        stores: {
          rows: bentostore()
            .useL1Layer(memoryDriver({ maxItems: 2 * keys }))
            .useL2Layer(redisDriver({ connection }))
            .useBus(redisBusDriver({ connection: { host, port: Number(port) } }))
        }
      })
      return {
        get: (id) => bento.getOrSet({ key: String(id), factory: () => load(id) }),
        invalidate: (id) => bento.delete({ key: String(id) })
      }
    }
  },
  {
    name: 'layered-loader',
    packages: ['layered-loader', 'ioredis'],
    news: 'notifications over Redis',
    async open({ url, namespace, keys, load }) {
      const { publisher, consumer } = createNotificationPair<Versioned>({
        channel: `${namespace}-notifications`,
        consumerRedis: connect(url),
        publisherRedis: connect(url)
      })
      const loader = new Loader<Versioned>({
        inMemoryCache: { cacheType: 'lru-map', ttlInMsecs: AN_HOUR_MS, maxItems: 2 * keys },
        asyncCache: new RedisCache<Versioned>(connect(url), {
          prefix: namespace,
          json: true,
          ttlInMsecs: AN_HOUR_MS
        }),
        notificationConsumer: consumer,
        notificationPublisher: publisher,
        dataSourceGetOneFn: (key: string) => load(Number(key))
      })
      await loader.init()
      return {
        get: (id) => loader.get(String(id)) as Promise<Versioned | undefined>,
        invalidate: (id) => loader.invalidateCacheFor(String(id))
      }
    }
  },
  {
    name: 'cache-manager',
    packages: ['cache-manager', 'keyv', '@keyv/redis'],
    news: 'none',
    async open({ url, namespace, load }) {
      const redis = createKeyv(url, { namespace })
      redis.on('error', () => undefined)
      const cache = createManagedCache({ stores: [new Keyv(), redis], ttl: AN_HOUR_MS })
      return {
        get: (id) => cache.wrap(String(id), () => load(id)),
        invalidate: (id) => cache.del(String(id))
      }
    }
  }
]

function connect(url: string): Redis {
  const redis = new Redis(url)
  redis.on('error', () => undefined)
  return redis
}
