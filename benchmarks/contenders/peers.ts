import { cachified, type Cache as CachifiedCache } from '@epic-web/cachified'
import { createKeyv } from '@keyv/redis'
import { createCache as createDedupeCache } from 'async-cache-dedupe'
import { BentoCache, bentostore } from 'bentocache'
import { redisDriver } from 'bentocache/drivers/redis'
import { createCache as createManagedCache } from 'cache-manager'
import { Cacheable } from 'cacheable'
import { redisCacheAdapter } from 'cachified-redis-adapter'
import { Loader } from 'layered-loader/core'
import { RedisCache } from 'layered-loader/redis'
import { createBlobStorage, defineCachedFunction } from 'ocache'
import { createClient } from 'redis'
import type { Row } from '../support/rows.js'
import { connect } from './connect.js'
import type { Definition, Setting } from './contender.js'

/** The libraries, each as its own documentation sets it up with Redis alone. */
export const PEERS: readonly Definition[] = [
  {
    name: 'async-cache-dedupe',
    packages: ['async-cache-dedupe', 'ioredis'],
    stampede: 'one load per process',
    servesStale: true,
    async open({ url, namespace, ttlMs, staleMs, load }) {
      const client = await connect(url)
      const cache = createDedupeCache({
        ttl: ttlMs / 1000,
        stale: staleMs / 1000,
        storage: { type: 'redis', options: { client } }
      }).define(namespace, {}, load)
      const get = cache[namespace]!
      return {
        get: (id) => get(id),
        invalidate: (id) => cache.clear(namespace, id),
        close: () => client.quit()
      }
    }
  },
  {
    name: 'bentocache',
    packages: ['bentocache', 'ioredis'],
    stampede: 'one load per process',
    servesStale: true,
    async open({ url, namespace, ttlMs, staleMs, load }) {
      const connection = await connect(url)
      const stores = { redis: bentostore().useL2Layer(redisDriver({ connection, prefix: namespace })) }
      const bento = new BentoCache({ default: 'redis', stores })
      // A timeout of 0 serves the old value at once and goes on with the factory in the background.
      const options = staleMs > 0 ? { ttl: ttlMs, grace: staleMs, timeout: 0 } : { ttl: ttlMs }
      return {
        get: (id) => bento.getOrSet<Row>({ key: String(id), factory: loaderOf(load, id), ...options }),
        invalidate: (id) => bento.delete({ key: String(id) }),
        set: (id, value) => bento.set({ key: String(id), value, ...options }),
        close: () => bento.disconnectAll().then(() => connection.quit())
      }
    }
  },
  {
    name: 'cacheable',
    packages: ['cacheable', '@keyv/redis', '@redis/client'],
    stampede: 'one load per process',
    servesStale: false,
    async open({ url, namespace, ttlMs, load }) {
      const primary = listenedTo(createKeyv(url, { namespace }))
      const cache = listenedTo(new Cacheable({ primary }))
      return {
        get: (id) => cache.getOrSet<Row>(String(id), loaderOf(load, id), { ttl: ttlMs }),
        getMany: (ids) => cache.getMany<Row>(ids.map(String)),
        invalidate: (id) => cache.delete(String(id)),
        set: (id, row) => cache.set(String(id), row, ttlMs),
        close: () => cache.disconnect()
      }
    }
  },
  {
    name: 'cache-manager',
    packages: ['cache-manager', '@keyv/redis', '@redis/client'],
    stampede: 'one load per process',
    servesStale: true,
    async open({ url, namespace, ttlMs, staleMs, load }) {
      const cache = createManagedCache({
        stores: [listenedTo(createKeyv(url, { namespace }))],
        ttl: ttlMs + staleMs,
        ...(staleMs > 0 ? { refreshThreshold: staleMs } : {})
      })
      return {
        get: (id) => cache.wrap<Row>(String(id), loaderOf(load, id)),
        getMany: (ids) => cache.mget<Row>(ids.map(String)),
        invalidate: (id) => cache.del(String(id)),
        set: (id, row) => cache.set(String(id), row),
        close: () => cache.disconnect()
      }
    }
  },
  {
    name: 'Keyv',
    packages: ['keyv', '@keyv/redis', '@redis/client'],
    stampede: 'nothing',
    servesStale: false,
    async open({ url, namespace, ttlMs, load }) {
      const keyv = listenedTo(createKeyv(url, { namespace }))
      return {
        async get(id) {
          const key = String(id)
          const cached = await keyv.get<Row>(key)
          if (cached !== undefined) return cached
          const row = await load(id)
          await keyv.set(key, row, ttlMs)
          return row
        },
        getMany: (ids) => keyv.getMany<Row>(ids.map(String)),
        invalidate: (id) => keyv.delete(String(id)),
        set: (id, row) => keyv.set(String(id), row, ttlMs),
        close: () => keyv.disconnect()
      }
    }
  },
  {
    name: 'layered-loader',
    packages: ['layered-loader', 'ioredis'],
    stampede: 'one load per process',
    servesStale: true,
    async open({ url, namespace, ttlMs, staleMs, load }) {
      const redis = await connect(url)
      const asyncCache = new RedisCache<Row>(redis, {
        json: true,
        prefix: namespace,
        ttlInMsecs: ttlMs + staleMs,
        ...(staleMs > 0 ? { ttlLeftBeforeRefreshInMsecs: staleMs } : {})
      })
      const loader = new Loader<Row>({
        asyncCache,
        dataSourceGetOneFn: (key: string) => load(Number(key)),
        cacheKeyFromValueResolver: (row: Row) => String(row.id)
      })
      return {
        get: (id) => loader.get(String(id)) as Promise<Row | undefined>,
        getMany: (ids) => loader.getMany(ids.map(String)),
        invalidate: (id) => loader.invalidateCacheFor(String(id)),
        set: (id, row) => loader.forceSetValue(String(id), row),
        close: () => redis.quit()
      }
    }
  },
  {
    name: 'cachified',
    packages: ['@epic-web/cachified', 'cachified-redis-adapter', 'redis'],
    stampede: 'one load per process',
    servesStale: true,
    async open({ url, namespace, ttlMs, staleMs, load }) {
      const client = listenedTo(createClient({ url }))
      await client.connect()
      const cache: CachifiedCache = redisCacheAdapter({
        get: (key) => client.get(key),
        // The adapter gives the time of expiry in the form that node-redis had before version 5.
        set: (key, text, options) =>
          client.set(key, text, options && { expiration: { type: 'EXAT', value: options.EXAT } }),
        del: (key) => client.del(key)
      })
      return {
        get: (id) =>
          cachified<Row>({
            cache,
            key: `${namespace}:${id}`,
            ttl: ttlMs,
            staleWhileRevalidate: staleMs,
            getFreshValue: loaderOf(load, id)
          }),
        invalidate: async (id) => cache.delete(`${namespace}:${id}`),
        close: () => client.close()
      }
    }
  },
  {
    name: 'ocache',
    packages: ['ocache', 'ioredis'],
    stampede: 'one load per process',
    servesStale: true,
    async open({ url, namespace, ttlMs, staleMs, load }) {
      const redis = await connect(url)
      const storage = createBlobStorage({
        get: (key) => redis.getBuffer(key),
        async set(key, bytes, options) {
          if (bytes === null) await redis.del(key)
          else if (options?.ttl === undefined) await redis.set(key, Buffer.from(bytes))
          else await redis.set(key, Buffer.from(bytes), 'EX', Math.ceil(options.ttl))
        }
      })
      const get = defineCachedFunction(load, {
        name: namespace,
        getKey: String,
        maxAge: ttlMs / 1000,
        ...(staleMs > 0 ? { swr: true, staleMaxAge: staleMs / 1000 } : {}),
        storage
      })
      return { get: (id) => get(id), invalidate: (id) => get.invalidate(id), close: () => redis.quit() }
    }
  }
]

/** As the documentation of each asks for: without a listener a lost connection ends the process. */
function listenedTo<T extends { on(event: 'error', listener: () => void): unknown }>(emitter: T): T {
  emitter.on('error', () => undefined)
  return emitter
}

/** Made here and not where it is used: the TypeScript loader spends time on giving each named function its name. */
function loaderOf(load: Setting['load'], id: number): () => Promise<Row> {
  return () => load(id)
}
