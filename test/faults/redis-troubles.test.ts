import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import {
  ClosedError,
  createCache,
  OverloadedError,
  RedisUnavailableError,
  type Cache,
  type CacheEvents,
  type CacheOptions,
  type EventName,
  type RedisInput
} from '../../src/index.js'
import { CountingLoader } from '../doubles/loaders.js'
import { freePort } from '../support/free-port.js'
import { lateAfter } from '../support/late-after.js'
import { startProxy } from '../support/proxy.js'
import { startRedisServer, type RedisServer } from '../support/redis-server.js'
import { until } from '../support/until.js'

let server: RedisServer
let admin: Redis
let cache: Cache
const facts: [EventName, unknown][] = []

/** Where silence is what is looked at, and not what a busy machine makes of an answer. */
const DEADLINE_MS = 250

const open = (options: Partial<CacheOptions<'optional'>> = {}): Cache => {
  cache = createCache({ redis: server.url, namespace: 'shop', commandTimeout: '20s', ...options })
  facts.length = 0
  for (const event of ['redisState', 'redisBreaker', 'redisMisconfigured'] as const)
    cache.on(event, (fact) => void facts.push([event, fact]))
  return cache
}

const told = <Name extends EventName>(event: Name): CacheEvents[Name][] =>
  facts.filter(([name]) => name === event).map(([, fact]) => fact as CacheEvents[Name])

beforeEach(async () => {
  server = await startRedisServer()
  admin = new Redis(server.url)
  admin.on('error', () => undefined)
})
afterEach(async () => {
  await cache.close({ timeout: '1s' })
  admin.disconnect()
  await server.stop()
})

const values = () => cache.collection('values', { ttl: '1h', load: (id: number) => `v${id}` })

describe('a server that', () => {
  it('became a replica is left for whoever takes writes now; its old values are not served (#96)', async () => {
    open()
    const products = values()
    await cache.ready()
    await products.get(1)
    const before = await idsOf(admin)
    await admin.replicaof('127.0.0.1', await freePort())
    // The first call that has to write finds out.
    expect(await products.get(2)).toBe('v2')
    expect(cache.health()).toMatchObject({
      status: 'away',
      redis: { state: 'away', breaker: expect.stringMatching(/open/) as string }
    })
    expect(cache.health().redis.errors.elsewhere?.code).toBe('READONLY')
    expect(cache.health().redis.reason).toMatch(/READONLY/)
    expect((await products.lookup(1)).source).toBe('loader')
    await until('the connection is a new one', async () =>
      (await idsOf(admin)).every((id) => !before.includes(id))
    )
    await admin.replicaof('NO', 'ONE')
    await until('it is used again', () => cache.health().status === 'ok')
    expect((await products.lookup(1)).source).toBe('redis')
    expect(told('redisBreaker').map(({ state }) => state)).toEqual(['open', 'closed'])
  })

  it('stays a replica is asked again at the pace of probes, and not as fast as it can be connected to', async () => {
    await admin.replicaof('127.0.0.1', await freePort())
    const connections = async (): Promise<number> =>
      Number(/total_connections_received:(\d+)/.exec(await admin.info('stats'))![1])
    open()
    await until('it is told so', () => cache.health().redis.errors.elsewhere !== undefined)
    const [before, since] = [await connections(), performance.now()]
    await sleep(1_000)
    const made = (await connections()) - before
    // Of the first probes the pauses are shorter.
    expect(made).toBeLessThanOrEqual(5 + (performance.now() - since) / 200)
    await admin.replicaof('NO', 'ONE')
    await until('it is used', () => cache.health().status === 'ok')
  })

  it('loads its data is left alone until it is done, and used within a second after (#95)', async () => {
    await server.stop()
    server = await startRedisServer({
      args: ['--loading-process-events-interval-bytes', '1024', '--enable-debug-command', 'yes']
    })
    admin.disconnect()
    admin = new Redis(server.url)
    open()
    const products = values()
    await cache.ready()
    const pipeline = admin.pipeline()
    for (let key = 0; key < 3_000; key++) pipeline.set(`filler:${key}`, 'x'.repeat(50))
    await pipeline.exec()
    // By itself it would take half a minute.
    await admin.config('SET', 'key-load-delay', '10000')
    const loading = new Redis(server.url, { enableReadyCheck: false })
    const reloading = admin.call('DEBUG', 'RELOAD')
    await until('it loads', async () => /^loading:1/m.test(await loading.info('persistence')))
    expect(await products.get(1)).toBe('v1')
    expect(cache.health().redis.errors.down?.code).toMatch(/LOADING|TIMEOUT/)
    expect(await loading.info('persistence')).toMatch(/^loading:1/m)
    await loading.config('SET', 'key-load-delay', '0')
    loading.disconnect()
    await reloading
    await until('it is used again', async () => (await products.lookup(1)).source === 'redis', 1_500)
  })

  it('asks for a password it did not ask for before is named, and used when that is over (#104)', async () => {
    open()
    const products = values()
    await cache.ready()
    await products.get(1)
    await admin.config('SET', 'requirepass', 'new password')
    await admin.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')
    await until('it is away', () => cache.health().redis.state === 'away')
    expect(await products.get(1)).toBe('v1')
    await until('it is named', () => told('redisMisconfigured').length > 0)
    expect(told('redisMisconfigured')[0]).toMatchObject({
      code: 'NOAUTH',
      advice: expect.stringMatching(/password/) as string
    })
    expect(cache.health().problems.join()).toMatch(/NOAUTH.*password/)
    await admin.config('SET', 'requirepass', '')
    await until('it is used again', async () => (await products.lookup(1)).source === 'redis')
    expect(cache.health().redis.reason).toBeUndefined()
  })

  it('refuses for want of memory or disk is used for what it still does, and named (#95)', async () => {
    open()
    const products = values()
    await cache.ready()
    await products.get(1)
    await admin.config('SET', 'maxmemory', '1')
    expect((await products.lookup(2)).source).toBe('loader')
    expect((await products.lookup(1)).source).toBe('redis')
    expect(cache.health()).toMatchObject({ status: 'degraded', redis: { state: 'ready', breaker: 'closed' } })
    expect(cache.health().problems).toEqual([expect.stringMatching(/OOM.*maxmemory-policy/)])
    expect(told('redisMisconfigured')).toHaveLength(1)
    await products.get(3)
    expect(told('redisMisconfigured')).toHaveLength(1)
    await admin.config('SET', 'maxmemory', '0')
    await products.get(3)
    expect((await products.lookup(3)).source).toBe('redis')
  })

  it('says what it lacks rights for, and the rest goes on (#106)', async () => {
    await admin.call('ACL', 'SETUSER', 'few', 'on', '>pw', '~*', '&*', '+@all', '-evalsha', '-eval')
    open({ redis: { host: server.host, port: server.port, username: 'few', password: 'pw' } })
    const products = values()
    await cache.ready()
    expect((await products.lookup(1)).source).toBe('loader')
    expect(cache.health().redis.state).toBe('ready')
    expect(cache.health().problems.join()).toMatch(/NOPERM.*'eval'/)
  })
})

describe('a driver of the user’s', () => {
  it('is never disconnected; while it gets no answers, calls fail at once and probes find the end of it', async () => {
    const proxy = await startProxy(server.port)
    const driver = new Redis(`redis://127.0.0.1:${proxy.port}`, { protocol: 2 })
    try {
      let closes = 0
      driver.on('close', () => closes++)
      open({ redis: driver as unknown as RedisInput, commandTimeout: DEADLINE_MS })
      const products = values()
      await cache.ready()
      await products.get(1)
      server.pause()
      for (let round = 0; round < 4; round++) await products.get(1)
      const reading = (async () => {
        for (let round = 0; round < 50; round++) expect(await products.get(1)).toBe('v1')
      })()
      // Each with its own deadline it would be twelve seconds.
      expect(await Promise.race([reading, lateAfter(1_000)])).toBeUndefined()
      expect(cache.health().redis.breaker).toMatch(/open/)
      server.resume()
      await until('it is used again', async () => (await products.lookup(1)).source === 'redis')
      expect(closes).toBe(0)
    } finally {
      driver.disconnect()
      await proxy.stop()
    }
  })

  it('that gives up before Corral does counts as silent all the same', async () => {
    const driver = new Redis(server.url, { protocol: 2, commandTimeout: 200 })
    try {
      open({ redis: driver as unknown as RedisInput, commandTimeout: '5s' })
      const products = values()
      await cache.ready()
      await products.get(1)
      server.pause()
      await until('calls fail at once', async () => {
        expect(await products.get(1)).toBe('v1')
        return cache.health().redis.breaker !== 'closed'
      })
      server.resume()
      await until('it is used again', async () => (await products.lookup(1)).source === 'redis')
    } finally {
      driver.disconnect()
    }
  })
})

describe('a connection', () => {
  it('that is accepted and then says nothing is given up for a new one', async () => {
    const proxy = await startProxy(server.port)
    try {
      proxy.swallowNew(true)
      open({ redis: `redis://127.0.0.1:${proxy.port}`, commandTimeout: DEADLINE_MS })
      const products = values()
      expect(await products.get(1)).toBe('v1')
      expect(cache.health().status).toBe('away')
      await sleep(300)
      proxy.swallowNew(false)
      await until('it is used', () => cache.health().redis.state === 'ready')
    } finally {
      await proxy.stop()
    }
  })
})

describe('ready', () => {
  it('resolves when Redis can be used, however late it comes (#91)', async () => {
    const port = await freePort()
    open({ redis: `redis://127.0.0.1:${port}` })
    await expect(cache.ready({ timeout: 100 })).rejects.toThrow(RedisUnavailableError)
    const ready = cache.ready()
    const late = await startRedisServer({ port })
    try {
      await ready
      expect(cache.health().redis.state).toBe('ready')
    } finally {
      await late.stop()
    }
  })

  it('rejects with what is wrong as it is by then, and at once when the password is', async () => {
    open({ redis: `redis://127.0.0.1:${await freePort()}` })
    await expect(cache.ready({ timeout: 100 })).rejects.toMatchObject({
      cause: { message: expect.stringContaining('ECONNREFUSED') }
    })
    await cache.close()
    await admin.call('CONFIG', 'SET', 'requirepass', 'right')
    open({ redis: `redis://default:wrong@127.0.0.1:${server.port}` })
    await expect(cache.ready()).rejects.toMatchObject({
      code: 'REDIS_UNAVAILABLE',
      cause: { message: expect.stringContaining('WRONGPASS') }
    })
    await admin.call('CONFIG', 'SET', 'requirepass', 'wrong')
    await until('it is used', () => cache.health().redis.state === 'ready')
    await cache.ready()
  })

  it('resolves when Redis can be used, also when nothing can be heard of it', async () => {
    const [proxy, other] = [await startProxy(server.port), await startRedisServer()]
    const driver = new Redis(proxy.port)
    try {
      await driver.ping()
      // Those that would hear lead to another one.
      proxy.leadTo(other.port)
      open({ redis: driver })
      await cache.ready()
      expect(cache.stats().redis).toMatchObject({ state: 'ready', pushes: false })
    } finally {
      driver.disconnect()
      await Promise.all([proxy.stop(), other.stop()])
    }
  })

  it('and every call have the month that they are given, which is longer than any timer of Node', async () => {
    open({ commandTimeout: '30d' })
    await cache.ready({ timeout: '30d' })
    expect(cache.stats().redis.pushes).toBe(true)
    await cache.close()
    open({ redis: { host: '127.0.0.1', port: await freePort() } })
    const ready = cache.ready({ timeout: '30d' })
    expect(await Promise.race([ready, sleep(100, 'it waits')])).toBe('it waits')
    await cache.close()
    await expect(ready).rejects.toBeInstanceOf(ClosedError)
  })

  it('rejects when the cache is closed first, and resolves at once without Redis', async () => {
    const alone = createCache({ namespace: 'alone' })
    await alone.ready()
    expect(alone.health()).toMatchObject({ status: 'ok', redis: { state: 'none' }, memory: { mode: 'only' } })
    await alone.close()
    open({ redis: `redis://127.0.0.1:${await freePort()}` })
    const ready = expect(cache.ready()).rejects.toThrow(ClosedError)
    await cache.close()
    await ready
    expect(cache.health().status).toBe('closed')
  })
})

describe('the loads of a collection', () => {
  it('stay within its own limit and leave the others their places; too many in all are refused', async () => {
    open({ maxConcurrentLoads: 5, maxQueuedLoads: 8 })
    await cache.ready()
    const slow = new CountingLoader(() => 'slow')
    slow.hold()
    const quick = new CountingLoader(() => 'quick')
    const reports = cache.collection('reports', { ttl: '1h', maxConcurrentLoads: 2, load: slow.load })
    const products = cache.collection('products', { ttl: '1h', load: quick.load })
    const loading = Array.from({ length: 10 }, (_, id) => reports.get(id))
    await until('two run and eight wait', () => cache.stats().loads.queued === 8)
    expect(cache.stats().loads.running).toBe(2)
    expect(await products.get(1)).toBe('quick')
    await expect(reports.get(10)).rejects.toThrow(OverloadedError)
    slow.letGo()
    await Promise.all(loading)
    expect(slow.mostAtOnce).toBe(2)
    expect(cache.stats().loads).toEqual({ running: 0, queued: 0 })
  })
})

/** Of the connections that are not this test's own. */
async function idsOf(redis: Redis): Promise<string[]> {
  const own = await redis.client('ID')
  const list = String(await redis.client('LIST'))
  return [...list.matchAll(/^id=(\d+)/gm)].map(([, id]) => id!).filter((id) => Number(id) !== own)
}
