import { createKeyv } from '@keyv/redis'
import { createCache as createDedupeCache } from 'async-cache-dedupe'
import { BentoCache, bentostore } from 'bentocache'
import { memoryDriver } from 'bentocache/drivers/memory'
import { redisDriver } from 'bentocache/drivers/redis'
import { createCache as createManagedCache } from 'cache-manager'
import { Cacheable } from 'cacheable'
import { createCache } from 'corral'
import { Redis } from 'ioredis'
import { Keyv } from 'keyv'
import { Loader } from 'layered-loader/core'
import { RedisCache } from 'layered-loader/redis'
import { LRUCache } from 'lru-cache'
import type { Row } from '../support/rows.js'

/** A cache with a tier in this process, as its own documentation sets it up. */
export interface MemoryContender {
  get(id: number): Promise<Row | undefined> | Row | undefined
  /** Without waiting, where the library has that. */
  getNow?: ((id: number) => Row | undefined) | undefined
  close(): Promise<unknown>
}

export interface MemorySetting {
  readonly url: string
  readonly namespace: string
  readonly keys: number
  readonly load: (id: number) => Promise<Row>
}

export interface MemoryDefinition {
  readonly name: string
  readonly packages: readonly string[]
  /** What a caller gets: one value that all share, frozen or not, or a copy of its own. */
  readonly gives: 'shared, frozen' | 'shared, mutable' | 'a copy'
  open(setting: MemorySetting): Promise<MemoryContender>
}

const AN_HOUR_MS = 3_600_000

export const BARE = 'lru-cache alone'
export const CORRAL = 'Corral'

export const MEMORY_CONTENDERS: readonly MemoryDefinition[] = [
  {
    name: BARE,
    packages: ['lru-cache'],
    gives: 'shared, mutable',
    async open({ keys, namespace, load }) {
      const cache = new LRUCache<string, Row>({ max: 2 * keys })
      const names = Array.from({ length: keys }, (_, id) => `${namespace}:${id}`)
      for (let id = 0; id < keys; id++) cache.set(names[id]!, await load(id))
      return {
        get: (id) => cache.get(names[id]!),
        getNow: (id) => cache.get(names[id]!),
        close: async () => cache.clear()
      }
    }
  },
  {
    name: CORRAL,
    packages: ['corral', 'ioredis'],
    gives: 'shared, frozen',
    async open({ url, namespace, keys, load }) {
      const cache = createCache({
        redis: url,
        namespace,
        memory: { maxBytes: 2 ** 31, maxEntries: 2 * keys, ttl: '1h' }
      })
      await cache.ready()
      const rows = cache.collection('rows', { ttl: AN_HOUR_MS, load })
      const isWarm = (): boolean => {
        for (let id = 0; id < keys; id++) if (rows.peekMemory(id) === undefined) return false
        return true
      }
      while (!isWarm()) for (let id = 0; id < keys; id++) await rows.get(id)
      return { get: (id) => rows.get(id), getNow: (id) => rows.peekMemory(id), close: () => cache.close() }
    }
  },
  {
    name: 'layered-loader',
    packages: ['layered-loader', 'ioredis'],
    gives: 'shared, mutable',
    async open({ url, namespace, keys, load }) {
      const redis = new Redis(url)
      const loader = new Loader<Row>({
        inMemoryCache: { cacheType: 'lru-object', ttlInMsecs: AN_HOUR_MS, maxItems: 2 * keys },
        asyncCache: new RedisCache<Row>(redis, { prefix: namespace, json: true, ttlInMsecs: AN_HOUR_MS }),
        dataSources: [
          {
            name: 'source',
            get: (key) => load(Number(key)),
            getMany: (ids) => Promise.all(ids.map((id) => load(Number(id))))
          }
        ]
      })
      const names = Array.from({ length: keys }, (_, id) => String(id))
      return {
        get: (id) => loader.get(names[id]!) as Promise<Row | undefined>,
        getNow: (id) => loader.getInMemoryOnly(names[id]!) as Row | undefined,
        close: () => redis.quit()
      }
    }
  },
  {
    name: 'async-cache-dedupe',
    packages: ['async-cache-dedupe'],
    gives: 'shared, mutable',
    async open({ keys, load }) {
      const cache = createDedupeCache({
        ttl: AN_HOUR_MS / 1_000,
        storage: { type: 'memory', options: { size: 2 * keys } }
      }).define('row', load)
      return { get: (id) => cache.row(id) as Promise<Row>, close: async () => undefined }
    }
  },
  {
    name: 'bentocache',
    packages: ['bentocache', 'ioredis'],
    gives: 'a copy',
    async open({ url, namespace, keys, load }) {
      const redis = new Redis(url)
      const bento = new BentoCache({
        default: 'rows',
        prefix: namespace,
        ttl: AN_HOUR_MS,
        stores: {
          rows: bentostore()
            .useL1Layer(memoryDriver({ maxItems: 2 * keys }))
            .useL2Layer(redisDriver({ connection: redis }))
        }
      })
      return {
        get: (id) => bento.getOrSet({ key: String(id), factory: () => load(id) }),
        close: async () => (await bento.disconnectAll(), redis.disconnect())
      }
    }
  },
  {
    name: 'cacheable',
    packages: ['cacheable', '@keyv/redis'],
    gives: 'a copy',
    async open({ url, namespace, load }) {
      const cache = new Cacheable({ secondary: createKeyv(url, { namespace }), ttl: AN_HOUR_MS })
      return {
        get: async (id) => (await cache.getOrSet(String(id), () => load(id))) as Row,
        close: () => cache.disconnect()
      }
    }
  },
  {
    name: 'cache-manager',
    packages: ['cache-manager', 'keyv', '@keyv/redis'],
    gives: 'a copy',
    async open({ url, namespace, load }) {
      const cache = createManagedCache({
        stores: [new Keyv(), createKeyv(url, { namespace })],
        ttl: AN_HOUR_MS
      })
      return { get: (id) => cache.wrap(String(id), () => load(id)), close: () => cache.disconnect() }
    }
  }
]
