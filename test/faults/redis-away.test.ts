import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createCache, RedisUnavailableError, type Cache, type CacheOptions } from '../../src/index.js'
import { CountingLoader } from '../doubles/loaders.js'
import { freePort } from '../support/free-port.js'
import { lateAfter } from '../support/late-after.js'
import { startProxy } from '../support/proxy.js'
import { startRedisServer, type RedisServer } from '../support/redis-server.js'
import { until } from '../support/until.js'

const DEADLINE_MS = 150
/** Where nothing is to wait for a deadline. */
const PATIENCE_MS = 20_000

let server: RedisServer
let cache: Cache

const open = (options: Partial<CacheOptions<'optional'>> = {}): Cache => {
  cache = createCache({ redis: server.url, namespace: 'shop', commandTimeout: PATIENCE_MS, ...options })
  return cache
}

beforeEach(async () => {
  server = await startRedisServer()
})
afterEach(async () => {
  await cache.close({ timeout: '1s' })
  await server.stop()
})

describe('without Redis at the start', () => {
  it('reads go to the source, once for all who ask at the same time, and the cache heals when Redis appears (#91)', async () => {
    const port = await freePort()
    const loader = new CountingLoader(async (run) => (await sleep(20), `v${run}`))
    const products = open({ redis: `redis://127.0.0.1:${port}` }).collection('products', {
      ttl: '1h',
      load: loader.load
    })
    const values = await Promise.all(Array.from({ length: 1_000 }, () => products.get(1)))
    expect(new Set(values)).toEqual(new Set(['v1']))
    expect(loader.runs).toBe(1)
    expect(cache.stats().redis.state).not.toBe('ready')
    const late = await startRedisServer({ port })
    try {
      await until('Redis is used', () => cache.stats().redis.state === 'ready')
      await products.get(1)
      expect((await products.lookup(1)).source).toBe('redis')
    } finally {
      await late.stop()
    }
  })
})

describe('when Redis', () => {
  const warm = async (
    commandTimeout = PATIENCE_MS
  ): Promise<{ loader: CountingLoader; products: ReturnType<typeof collect> }> => {
    const loader = new CountingLoader(async (run) => (await sleep(5), `v${run}`))
    const products = collect(loader, commandTimeout)
    await until('waiters are told by Redis', () => cache.stats().redis.pushes)
    await products.get(1)
    expect((await products.lookup(1)).source).toBe('redis')
    return { loader, products }
  }
  const collect = (loader: CountingLoader, commandTimeout = PATIENCE_MS) =>
    open({ commandTimeout }).collection('products', { ttl: '1h', load: loader.load })

  it('is killed, reads end promptly and go to the source; it is used again when it is back (#92)', async () => {
    const { loader, products } = await warm()
    await server.kill('SIGKILL')
    const reading = Promise.all(Array.from({ length: 1_000 }, (_, id) => products.get(id % 10)))
    const values = await Promise.race([reading, lateAfter(DEADLINE_MS + 500)])
    if (values === 'late') throw new Error('They waited for something.')
    expect(values.every((value) => value?.startsWith('v'))).toBe(true)
    expect(loader.mostAtOnce).toBeLessThanOrEqual(10)
    await server.restart()
    await until('Redis is used', () => cache.stats().redis.state === 'ready')
    await products.get(1)
    expect((await products.lookup(1)).source).toBe('redis')
  })

  it('starts anew, empty, while somebody loads: what was loaded under a lease that is forgotten is not stored (#101)', async () => {
    const { loader, products } = await warm()
    loader.hold()
    const early = products.get(2)
    await until('it loads', () => loader.running === 1)
    await server.kill('SIGKILL')
    await server.restart()
    await until('Redis is used', () => cache.stats().redis.state === 'ready')
    loader.letGo()
    expect(await early).toBe('v2')
    expect(cache.stats().total).toMatchObject({ fills: 1, rejectedFills: 1 })
    expect(await products.peek(2)).toBeUndefined()
    expect(await products.peek(1)).toBeUndefined()
    expect(await products.get(2)).toBe('v3')
    await until('it is stored again', async () => (await products.lookup(2)).source === 'redis')
  })

  const readOnUntilPlain = async (redis: string | Redis): Promise<void> => {
    const commandTimeout = 1_000
    const order: number[] = []
    const products = open({ redis, commandTimeout, maxConcurrentLoads: 1 }).collection('products', {
      ttl: '1h',
      load: async (id: number) => (order.push(id), id)
    })
    try {
      await cache.ready()
      server.pause()
      const reads: Promise<unknown>[] = []
      for (const id of [1, 2, 3]) {
        reads.push(products.get(id))
        await sleep(10)
      }
      await sleep(commandTimeout - 100)
      for (const id of [4, 5, 6]) {
        const inTime = Promise.race([products.get(id), lateAfter(commandTimeout)])
        reads.push(inTime.then((read) => expect(read).toBe(id)))
        await sleep(10)
      }
      await Promise.all(reads)
      // Who has waited longest is first in line for a load.
      expect(order).toEqual([1, 2, 3, 4, 5, 6])
    } finally {
      server.resume()
      if (redis instanceof Redis) redis.disconnect()
    }
  }
  it('is frozen, reads wait no longer than until that is plain', () => readOnUntilPlain(server.url))
  it('is frozen behind a driver of the user’s, reads wait no longer than until that is plain', () =>
    readOnUntilPlain(new Redis(server.url)))

  it('is frozen, each read ends within its deadline; nothing is lost when it goes on (#93)', async () => {
    const { products } = await warm(DEADLINE_MS)
    server.pause()
    const startedAt = performance.now()
    expect(await Promise.race([products.get(1), lateAfter(2 * DEADLINE_MS + 500)])).toMatch(/^v/)
    expect(performance.now() - startedAt).toBeGreaterThanOrEqual(DEADLINE_MS - 20)
    expect((await products.getMany([1, 2, 3])).size).toBe(3)
    server.resume()
    await until('Redis answers again', async () => (await products.lookup(1)).source === 'redis')
  })

  it('is behind connections that died without a word, new ones take their place', async () => {
    const proxy = await startProxy(server.port)
    const redis = `redis://127.0.0.1:${proxy.port}`
    const products = open({ redis, commandTimeout: 500 }).collection('products', {
      ttl: '1h',
      load: (id: number) => `v${id}`
    })
    await until('waiters are told by Redis', () => cache.stats().redis.pushes)
    expect((await products.lookup(1)).source).toBe('loader')
    proxy.swallow()
    await until('it is used again', async () => (await products.lookup(1)).source === 'redis', 30_000)
    await until('waiters are told by Redis again', () => cache.stats().redis.pushes)
    await until('it stores again', async () => {
      await products.get(2)
      return (await products.lookup(2)).source === 'redis'
    })
    await proxy.stop()
  })

  it('is frozen while the cache is closed, nothing is loaded any more once that is over', async () => {
    const { loader, products } = await warm(2_000)
    server.pause()
    const reads = Promise.allSettled([products.get(1), products.get(2), products.getMany([3, 4])])
    await cache.close({ timeout: 1 })
    const refused = { status: 'rejected', reason: { code: 'CLOSED' } }
    expect(await reads).toMatchObject([refused, refused, refused])
    expect(loader.runs).toBe(1)
    server.resume()
  })

  it('is away, an invalidation says that it was not confirmed', async () => {
    const { products } = await warm()
    await server.kill('SIGKILL')
    const error: unknown = await products.invalidate(1).catch((caught: unknown) => caught)
    expect(error).toBeInstanceOf(RedisUnavailableError)
    expect((error as Error).cause).toBeInstanceOf(Error)
  })

  it('is away and the source fails too, callers get the source’s error, and one load per failure’s life', async () => {
    const boom = new Error('the database is down as well')
    const loader = new CountingLoader<string>(() => {
      throw boom
    })
    const options = { ttl: '1h', load: loader.load } as const
    const products = open().collection('products', { ...options, failedTtl: '1m' })
    const brief = cache.collection('brief', { ...options, failedTtl: 500 })
    await server.kill('SIGKILL')
    for (let round = 0; round < 10; round++) await expect(products.get(1)).rejects.toBe(boom)
    expect(loader.runs).toBe(1)
    await expect(brief.get(1)).rejects.toBe(boom)
    expect(loader.runs).toBe(2)
    await sleep(700)
    await expect(brief.get(1)).rejects.toBe(boom)
    expect(loader.runs).toBe(3)
  })

  it('forgets its scripts at any moment, nothing is noticed (#97)', async () => {
    const { loader, products } = await warm()
    const admin = new Redis(server.url)
    for (let round = 0; round < 50; round++) {
      const flushed = admin.script('FLUSH')
      await products.invalidate(1)
      await products.getMany([1, 2, 3])
      await flushed
      await admin.flushall()
    }
    admin.disconnect()
    expect(cache.stats().redis.failures).toBe(0)
    expect(cache.stats().total.rejectedFills).toBe(0)
    expect(loader.runs).toBeGreaterThanOrEqual(150)
  })

  it('loses our connections, waiters fall back to looking, and are told again later (#43)', async () => {
    const { products } = await warm()
    const other = createCache({ redis: server.url, namespace: 'shop', commandTimeout: PATIENCE_MS })
    const admin = new Redis(server.url)
    try {
      const slow = new CountingLoader(() => 'from the other process')
      const elsewhere = other.collection('products', { ttl: '1h', load: slow.load })
      for (let round = 0; round < 10; round++) {
        await products.invalidate(2)
        slow.hold()
        const loading = elsewhere.get(2)
        await until('the other loads', () => slow.running === 1)
        const waiting = products.get(2)
        await until('we wait', () => cache.stats().total.waits === round + 1)
        await admin.client('KILL', 'TYPE', 'PUBSUB')
        slow.letGo()
        expect(await Promise.race([waiting, lateAfter(1_500)])).toBe('from the other process')
        await loading
        await until('we are told by Redis', () => cache.stats().redis.pushes)
      }
    } finally {
      admin.disconnect()
      await other.close()
    }
  })

  it('is full, reads go to the source and invalidations still work (#30)', async () => {
    const { products } = await warm()
    const admin = new Redis(server.url)
    try {
      await admin.config('SET', 'maxmemory-policy', 'noeviction')
      await admin.config('SET', 'maxmemory', '1')
      expect((await products.lookup(2)).source).toBe('loader')
      expect(await admin.exists('shop:products:1')).toBe(1)
      await products.invalidate(1)
      expect(await admin.exists('shop:products:1')).toBe(0)
    } finally {
      await admin.config('SET', 'maxmemory', '0')
      admin.disconnect()
    }
  })

  it('is full, what is softly invalidated is stale at once, and kept for no longer (#30)', async () => {
    const loader = new CountingLoader((run) => `v${run}`)
    const products = open({ commandTimeout: '5s', lease: '1m' }).collection('products', {
      ttl: '1h',
      stale: '1h',
      load: loader.load
    })
    const admin = new Redis(server.url)
    const key = 'shop:products:1'
    try {
      await products.get(1)
      const endsAt = await admin.call('PEXPIRETIME', key)
      await admin.config('SET', 'maxmemory-policy', 'noeviction')
      await admin.config('SET', 'maxmemory', '1')
      expect(await products.invalidate(1, { soft: true })).toBe('confirmed')
      expect(await admin.call('PEXPIRETIME', key)).toBe(endsAt)
      expect(await products.lookup(1)).toMatchObject({ value: 'v1', source: 'stale' })
    } finally {
      await admin.config('SET', 'maxmemory', '0')
      admin.disconnect()
    }
  })

  it('is full, nobody who comes after an invalidation gets what was loaded before it (#3, #30)', async () => {
    const loader = new CountingLoader((run) => `v${run}`)
    const mine = open({ commandTimeout: '5s' })
    const products = mine.collection('products', { ttl: '1h', load: loader.load })
    await mine.ready()
    const other = createCache({ redis: server.url, namespace: 'shop', commandTimeout: '5s' })
    const admin = new Redis(server.url)
    try {
      const others = other.collection('products', { ttl: '1h', load: () => 'never asked' })
      await admin.config('SET', 'maxmemory-policy', 'noeviction')
      await admin.config('SET', 'maxmemory', '1')
      loader.hold()
      const early = products.get(2)
      await until('a load runs, without a lease', () => loader.runs === 1)
      await others.invalidate(2)
      const late = products.get(2)
      await until('it waits as well', () => mine.stats().total.misses === 2)
      loader.letGo()
      expect(await early).toBe('v1')
      expect(await late).toBe('v2')
    } finally {
      await admin.config('SET', 'maxmemory', '0')
      admin.disconnect()
      await other.close()
    }
  })
})

describe('what stands under a key of ours', () => {
  it('may be anything: a list, text, bytes, another key’s entry; it is a miss, counted, and replaced', async () => {
    const loader = new CountingLoader(() => ({ name: 'right' }))
    const products = open().collection('products', { ttl: '1h', load: loader.load })
    const admin = new Redis(server.url)
    const key = 'shop:products:1'
    try {
      await products.get(2)
      const foreign = await admin.getBuffer('shop:products:2')
      const plants: (() => Promise<unknown>)[] = [
        () => admin.rpush(key, 'a', 'b'),
        () => admin.hset(key, 'a', 'b'),
        () => admin.set(key, '{"name":"wrong"}'),
        () => admin.set(key, ''),
        () => admin.set(key, Buffer.from([0xc0, 1, 3])),
        () => admin.set(key, Buffer.alloc(5_000, 0xc0)),
        () => admin.set(key, foreign!),
        () => admin.set(key, foreign!.subarray(0, 50)),
        () => admin.set(key, Buffer.concat([foreign!, Buffer.from('x')]))
      ]
      for (const plant of plants) {
        await admin.del(key)
        await plant()
        expect(await products.get(1)).toEqual({ name: 'right' })
        expect((await products.lookup(1)).source).toBe('redis')
        await admin.del(key)
        await plant()
        expect(await products.getMany([1])).toEqual(new Map([[1, { name: 'right' }]]))
      }
      expect(cache.stats().redis.failures).toBe(0)
      expect(cache.stats().total.unreadable).toBeGreaterThanOrEqual(10)
    } finally {
      admin.disconnect()
    }
  })

  it('may be an entry of a later version: readers load for themselves and leave it alone (#22, #59)', async () => {
    const loader = new CountingLoader(() => 'right')
    const products = open().collection('products', { ttl: '1h', load: loader.load })
    const admin = new Redis(server.url)
    try {
      const later = Buffer.from('\xc0\x02\x03 who knows what this means in the future', 'latin1')
      await admin.set('shop:products:1', later)
      expect(await Promise.all([products.get(1), products.get(1)])).toEqual(['right', 'right'])
      expect(loader.runs).toBe(1)
      expect(await products.refresh(1)).toBe('right')
      expect(await admin.getBuffer('shop:products:1')).toEqual(later)
      await products.invalidate(1)
      expect(await admin.exists('shop:products:1')).toBe(0)
    } finally {
      admin.disconnect()
    }
  })
})
