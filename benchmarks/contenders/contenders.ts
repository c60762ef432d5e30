import { setTimeout as sleep } from 'node:timers/promises'
import { cachified, type Cache as CachifiedCache } from '@epic-web/cachified'
import { createKeyv } from '@keyv/redis'
import { createCache as createDedupeCache } from 'async-cache-dedupe'
import { BentoCache, bentostore } from 'bentocache'
import { redisDriver } from 'bentocache/drivers/redis'
import { createCache as createManagedCache } from 'cache-manager'
import { Cacheable } from 'cacheable'
import { redisCacheAdapter } from 'cachified-redis-adapter'
import { Redis } from 'ioredis'
import { Loader } from 'layered-loader/core'
import { RedisCache } from 'layered-loader/redis'
import { createBlobStorage, defineCachedFunction } from 'ocache'
import { createClient } from 'redis'
import type { Row } from '../support/rows.js'

/** A cache of rows by id, as its own documentation sets it up, with its tier in Redis alone. */
export interface Contender {
  /** The row, read through the cache. */
  get(id: number): Promise<Row | undefined>
  /** Many at once, where the library has that; the answer in whatever form it comes. */
  getMany?: ((ids: readonly number[]) => Promise<ManyRows>) | undefined
  close(): Promise<unknown>
}

export type ManyRows = readonly (Row | undefined | null)[] | ReadonlyMap<number, Row>

export interface Setting {
  readonly url: string
  /** Begins every key, so that contenders share a server and nothing else. */
  readonly namespace: string
  readonly ttlMs: number
  /** How long an old value may be served while it is refreshed; 0 never. */
  readonly staleMs: number
  readonly load: (id: number) => Promise<Row>
  /** Folder of another build of Corral to take. */
  readonly corralFolder?: string | undefined
  /** What Corral may keep of large values that it read lately; its own default when left out. */
  readonly maxRecentBytes?: number | undefined
}

export interface Definition {
  readonly name: string
  /** Whose versions decide. */
  readonly packages: readonly string[]
  /** What it does when many miss one key at once. */
  readonly stampede: 'nothing' | 'one load per process' | 'a lock in Redis' | 'one load in the fleet'
  /** Whether an old value can be served while it is refreshed. */
  readonly servesStale: boolean
  readonly open: (setting: Setting) => Promise<Contender>
}

export const CORRAL = 'Corral'
export const BASELINE = 'ioredis and JSON.parse'

export const CONTENDERS: readonly Definition[] = [
  {
    name: BASELINE,
    packages: ['ioredis'],
    stampede: 'nothing',
    servesStale: false,
    open: (setting) => openByHand(setting, (text) => JSON.parse(text) as Row)
  },
  {
    name: CORRAL,
    packages: ['corral', 'ioredis'],
    stampede: 'one load in the fleet',
    servesStale: true,
    open: openCorral
  },
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
      return { get: (id) => get(id), close: () => client.quit() }
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
      const primary = createKeyv(url, { namespace })
      const cache = new Cacheable({ primary })
      return {
        get: (id) => cache.getOrSet<Row>(String(id), loaderOf(load, id), { ttl: ttlMs }),
        getMany: (ids) => cache.getMany<Row>(ids.map(String)),
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
        stores: [createKeyv(url, { namespace })],
        ttl: ttlMs + staleMs,
        ...(staleMs > 0 ? { refreshThreshold: staleMs } : {})
      })
      return {
        get: (id) => cache.wrap<Row>(String(id), loaderOf(load, id)),
        getMany: (ids) => cache.mget<Row>(ids.map(String)),
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
      const keyv = createKeyv(url, { namespace })
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
      const client = createClient({ url })
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
      return { get: (id) => get(id), close: () => redis.quit() }
    }
  },
  {
    name: 'node-redis and JSON.parse',
    packages: ['redis'],
    stampede: 'nothing',
    servesStale: false,
    async open({ url, namespace, ttlMs, load }) {
      const client = createClient({ url })
      await client.connect()
      const keyOf = (id: number): string => `${namespace}:${id}`
      return {
        async get(id) {
          const text = await client.get(keyOf(id))
          if (text !== null) return JSON.parse(text) as Row
          const row = await load(id)
          await client.set(keyOf(id), JSON.stringify(row), { expiration: { type: 'PX', value: ttlMs } })
          return row
        },
        async getMany(ids) {
          const texts = await client.mGet(ids.map(keyOf))
          return texts.map((text) => (text === null ? undefined : (JSON.parse(text) as Row)))
        },
        close: () => client.close()
      }
    }
  }
]

/** The least that JSON needs to give dates back: somebody who knows in which columns they are. */
export const REVIVING: Definition = {
  name: 'ioredis and JSON.parse, reviving the dates',
  packages: ['ioredis'],
  stampede: 'nothing',
  servesStale: false,
  open: (setting) => openByHand(setting, reviveDates)
}

/** Corral keeps large values for a while and asks Redis only whether they still stand; this one has each sent anew. */
export const WITHOUT_RECENT: Definition = {
  name: 'Corral, maxRecentBytes: 0',
  packages: ['corral', 'ioredis'],
  stampede: 'one load in the fleet',
  servesStale: true,
  open: (setting) => openCorral({ ...setting, maxRecentBytes: 0 })
}

/** What most posts about stampedes show: a lock in Redis, and looking again every 50 ms. */
export const LOCK_AND_POLL: Definition = {
  name: 'SET NX lock, polled',
  packages: ['ioredis'],
  stampede: 'a lock in Redis',
  servesStale: false,
  async open({ url, namespace, ttlMs, load }) {
    const redis = await connect(url)
    return {
      async get(id) {
        const key = `${namespace}:${id}`
        for (;;) {
          const text = await redis.get(key)
          if (text !== null) return JSON.parse(text) as Row
          if ((await redis.set(`${key}:lock`, '1', 'PX', 2000, 'NX')) === 'OK') {
            const row = await load(id)
            await redis.set(key, JSON.stringify(row), 'PX', ttlMs)
            await redis.del(`${key}:lock`)
            return row
          }
          await sleep(50)
        }
      },
      close: () => redis.quit()
    }
  }
}

/** Another build of Corral beside this one, to see what a change does. */
export function corralAt(folder: string): Definition {
  const corral = definitionOf(CORRAL)
  return {
    ...corral,
    name: `${CORRAL} at ${folder}`,
    open: (setting) => corral.open({ ...setting, corralFolder: folder })
  }
}

export function definitionOf(name: string): Definition {
  const known = [...CONTENDERS, REVIVING, WITHOUT_RECENT, LOCK_AND_POLL].find(
    (definition) => definition.name === name
  )
  if (known !== undefined) return known
  const folder = new RegExp(`^${CORRAL} at (.+)$`).exec(name)?.[1]
  if (folder !== undefined) return corralAt(folder)
  throw new Error(`There is no contender "${name}"`)
}

async function openCorral(setting: Setting): Promise<Contender> {
  const { url, namespace, ttlMs, staleMs, load, corralFolder, maxRecentBytes } = setting
  const entry = corralFolder === undefined ? 'corral' : `${corralFolder}/dist/index.js`
  const { createCache } = (await import(entry)) as typeof import('corral')
  const cache = createCache({
    redis: url,
    namespace,
    ...(maxRecentBytes === undefined ? {} : { maxRecentBytes })
  })
  const rows = cache.collection<number, Row>('rows', {
    ttl: ttlMs,
    stale: staleMs,
    load: (id) => load(id),
    loadMany: (ids) => Promise.all(ids.map(load))
  })
  return {
    get: (id) => rows.get(id),
    getMany: (ids) => rows.getMany(ids),
    close: () => cache.close()
  }
}

async function openByHand(
  { url, namespace, ttlMs, load }: Setting,
  parse: (text: string) => Row
): Promise<Contender> {
  const redis = await connect(url)
  const keyOf = (id: number): string => `${namespace}:${id}`
  return {
    async get(id) {
      const text = await redis.get(keyOf(id))
      if (text !== null) return parse(text)
      const row = await load(id)
      await redis.set(keyOf(id), JSON.stringify(row), 'PX', ttlMs)
      return row
    },
    async getMany(ids) {
      const texts = await redis.mget(ids.map(keyOf))
      return texts.map((text) => (text === null ? undefined : parse(text)))
    },
    close: () => redis.quit()
  }
}

/** Everybody who takes an ioredis gets this one: with automatic pipelining, which is the faster by far. */
async function connect(url: string): Promise<Redis> {
  const redis = new Redis(url, { enableAutoPipelining: true, lazyConnect: true })
  await redis.connect()
  return redis
}

/** Made here and not where it is used: the TypeScript loader spends time on giving each named function its name. */
function loaderOf(load: Setting['load'], id: number): () => Promise<Row> {
  return () => load(id)
}

function reviveDates(text: string): Row {
  const page = JSON.parse(text) as { id: number; rows: Record<'createdAt' | 'updatedAt', unknown>[] }
  for (const row of page.rows) {
    row.createdAt = new Date(row.createdAt as string)
    row.updatedAt = new Date(row.updatedAt as string)
  }
  return page
}
