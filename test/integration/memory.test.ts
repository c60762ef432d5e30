import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { createCache, writeThrough, type Cache, type CacheOptions } from '../../src/index.js'
import { CountingLoader } from '../doubles/loaders.js'
import { startRedisServer, type RedisServer } from '../support/redis-server.js'
import { until } from '../support/until.js'

let server: RedisServer
let admin: Redis
const caches: Cache[] = []
let namespaces = 0
let namespace = ''

beforeAll(async () => {
  server = await startRedisServer()
  admin = new Redis(server.url)
})
afterAll(async () => {
  admin.disconnect()
  await server.stop()
})
beforeEach(() => {
  namespace = `m${++namespaces}`
})
afterEach(async () => {
  await Promise.all(caches.splice(0).map((cache) => cache.close()))
})

const open = async (options: Partial<CacheOptions<'optional'>> = {}): Promise<Cache> => {
  const cache = createCache({
    redis: server.url,
    namespace,
    commandTimeout: '1s',
    memory: { maxBytes: 1_000_000 },
    ...options
  })
  caches.push(cache)
  await cache.ready()
  return cache
}

const commands = async (): Promise<number> =>
  Number(/total_commands_processed:(\d+)/.exec(await admin.info('stats'))![1])

describe('a value that is in memory', () => {
  it('is served without a command to Redis, frozen, and the same for everybody', async () => {
    const cache = await open()
    const loader = new CountingLoader(() => ({ name: 'one', tags: ['a'] }))
    const products = cache.collection('products', { ttl: '1h', load: loader.load })
    await until('it is in memory', async () => (await products.lookup(1)).source === 'memory')
    const first = await products.get(1)
    const before = cache.stats().redis
    const commandsBefore = await commands()
    for (let round = 0; round < 1_000; round++) expect(await products.get(1)).toBe(first)
    // INFO itself and heartbeats.
    expect((await commands()) - commandsBefore).toBeLessThan(12)
    expect(cache.stats().redis).toEqual(before)
    expect(await products.lookup(1)).toMatchObject({ value: { name: 'one' }, source: 'memory' })
    expect(products.peekMemory(1)).toBe(first)
    expect((await products.getMany([1])).get(1)).toBe(first)
    expect(await products.peek(1)).toBe(first)
    expect(() => (first as { tags: string[] }).tags.push('b')).toThrow(TypeError)
    expect(cache.stats().total.memoryHits).toBeGreaterThan(1_000)
    expect(loader.runs).toBe(1)
  })

  it('may be that there is no such thing', async () => {
    const cache = await open()
    const loader = new CountingLoader(() => undefined)
    const products = cache.collection('products', { ttl: '1h', notFoundTtl: '1m', load: loader.load })
    await until('it is in memory', async () => (await products.lookup(1)).source === 'memory')
    expect(await products.get(1)).toBeUndefined()
    expect(loader.runs).toBe(1)
  })

  it('is found by ids of every kind, and of the tenant that asks', async () => {
    const cache = await open()
    const things = cache.collection('things', {
      ttl: '1h',
      load: (id: unknown) => ({
        id: JSON.stringify(id, (_, v) => (typeof v === 'bigint' ? `${v}n` : v) as unknown)
      })
    })
    const ids = [1, '1', 1n, true, 'true', 0, -0, [1, 2], { a: 1, b: 'x' }, { b: 'x', a: 1 }] as const
    for (let round = 0; round < 3; round++) for (const id of ids) await things.get(id as never)
    const values = ids.map((id) => things.peekMemory(id as never)?.id)
    expect(values).toEqual([
      '1',
      '"1"',
      '"1n"',
      'true',
      '"true"',
      '0',
      '0',
      '[1,2]',
      '{"a":1,"b":"x"}',
      '{"a":1,"b":"x"}'
    ])
    const prices = cache.collection('prices', {
      ttl: '1h',
      load: (id: number, { tenant }) => `${id} of ${tenant}`
    })
    for (let round = 0; round < 3; round++)
      for (const tenant of ['a', 'b', 1]) await prices.tenant(tenant).get(7)
    for (const tenant of ['a', 'b', 1]) expect(prices.tenant(tenant).peekMemory(7)).toBe(`7 of ${tenant}`)
    expect(prices.tenant('1').peekMemory(7)).toBeUndefined()
    expect(prices.peekMemory(7)).toBeUndefined()
    cache.runAs('a', () => expect(prices.peekMemory(7)).toBe('7 of a'))
  })

  it('that cannot be frozen is made anew for each, and so is every value with isolate: clone', async () => {
    const cache = await open()
    const times = cache.collection('times', {
      ttl: '1h',
      load: (_id: number) => ({ at: new Date(5), map: new Map([[1, { a: 1 }]]), bytes: Buffer.from('abc') })
    })
    const own = cache.collection('own', {
      ttl: '1h',
      isolate: 'clone',
      load: (_id: number) => ({ list: [3, 1, 2] })
    })
    for (let round = 0; round < 3; round++) {
      const time = (await times.get(1))!
      expect(time).toEqual({ at: new Date(5), map: new Map([[1, { a: 1 }]]), bytes: Buffer.from('abc') })
      time.at.setTime(0)
      time.map.clear()
      time.bytes.fill(0)
      const mine = (await own.get(1))!
      expect(mine).toEqual({ list: [3, 1, 2] })
      mine.list.sort((a, b) => a - b)
    }
    expect((await times.lookup(1)).source).toBe('memory')
    expect((await own.lookup(1)).source).toBe('memory')
  })

  it('and was compressed is as quick as any, also when it cannot be frozen', async () => {
    const cache = await open({ compressAbove: 100 })
    const rows = cache.collection('rows', {
      ttl: '1h',
      load: (_id: number) => ({ text: 'x'.repeat(5_000), at: new Date(3) })
    })
    await rows.get(1)
    await rows.get(1)
    await until('it is in memory', async () => (await rows.lookup(1)).source === 'memory')
    expect(rows.peekMemory(1)).toEqual({ text: 'x'.repeat(5_000), at: new Date(3) })
  })

  it('stays no longer than its own ttl, or the tier’s (#51)', async () => {
    const cache = await open()
    const load = (id: number): string => `v${id}`
    const short = cache.collection('short', { ttl: 300, jitter: 0, earlyRefresh: 0, load })
    const long = cache.collection('long', { ttl: '1h', memory: { ttl: 100 }, load })
    for (const one of [short, long])
      await until('it is in memory', async () => (await one.lookup(1)).source === 'memory')
    const startedAt = performance.now()
    while (performance.now() - startedAt < 400) {
      const { source, ageMs } = await short.lookup(1)
      if (source === 'memory') expect(ageMs).toBeLessThanOrEqual(301)
      await sleep(5)
    }
    expect(long.peekMemory(1)).toBeUndefined()
    expect((await long.lookup(1)).source).toBe('redis')
  })

  it('is bounded by bytes and by entries, and its room may be its own', async () => {
    const cache = await open({ memory: { maxBytes: 200_000 } })
    const load = (id: number): string => `${id}`.padEnd(1_000)
    const many = cache.collection('many', { ttl: '1h', load })
    const few = cache.collection('few', { ttl: '1h', memory: { maxEntries: 10 }, load })
    const none = cache.collection('none', { ttl: '1h', memory: false, load })
    const ids = Array.from({ length: 500 }, (_, id) => id)
    const kept = (one: typeof many): number => ids.filter((id) => one.peekMemory(id) !== undefined).length
    // A fill's own news may come after the next read and drop what it kept, so one round more or less.
    await until('they are in memory', async () => {
      for (const one of [many, few, none]) await one.getMany(ids)
      return kept(many) > 80 && kept(few) === 10
    })
    expect(kept(none)).toBe(0)
    expect(kept(many)).toBeLessThan(200)
    const { memory } = cache.health()
    expect(memory).toMatchObject({ mode: 'tracking', entries: kept(many) + 10 })
    expect(memory.bytes).toBeLessThanOrEqual(memory.maxBytes)
  })
})

describe('what changes', () => {
  const pair = async () => {
    const [here, there] = [await open(), await open()]
    const rows = new Map<number, number>([
      [1, 1],
      [2, 1]
    ])
    const of = (cache: Cache) =>
      cache.collection('rows', {
        ttl: '1h',
        tags: (_row: { v: number }, id: number) => [`group:${id}`],
        load: async (id: number) => ({ v: rows.get(id)! }),
        write: writeThrough(async (id: number, row: { v: number }) => {
          rows.set(id, row.v)
          return row
        }),
        remove: async (id: number) => void rows.delete(id)
      })
    const [mine, theirs] = [of(here), of(there)]
    const warm = async (): Promise<void> => {
      for (const one of [mine, theirs])
        await until('it is in memory', async () => (await one.get(1), one.peekMemory(1) !== undefined))
    }
    await warm()
    return { here, there, mine, theirs, rows, warm }
  }

  it('is gone from this process when the call returns, and from the others within milliseconds (#56)', async () => {
    const { mine, theirs, rows, warm } = await pair()
    const changes: [string, () => Promise<unknown>, number | undefined][] = [
      ['invalidate', async () => (rows.set(1, 2), mine.invalidate(1)), 2],
      ['put', () => mine.put(1, { v: 3 }), 3],
      ['set', () => mine.set(1, { v: 4 }), 4],
      ['refresh', async () => (rows.set(1, 5), mine.refresh(1)), 5],
      ['invalidateMany', async () => (rows.set(1, 6), mine.invalidateMany([1, 2])), 6],
      ['soft invalidate', async () => (rows.set(1, 7), mine.invalidate(1, { soft: true })), 7]
    ]
    for (const [name, change, expected] of changes) {
      await warm()
      await change()
      // What is softened may be fresh for the millisecond by which our idea of Redis' clock is off.
      if (name === 'soft invalidate') await sleep(20)
      expect([name, (await mine.get(1))?.v]).toEqual([name, expected])
      await until(`${name} is heard of`, async () => (await theirs.get(1))?.v === expected, 500)
      for (let round = 0; round < 20; round++) expect((await theirs.get(1))?.v).toBe(expected)
    }
  })

  it('by clearing or by a tag is gone as well, and nothing old comes back', async () => {
    const { here, mine, theirs, rows, warm } = await pair()
    const changes: [string, () => Promise<unknown>][] = [
      ['clear of the collection', () => mine.clear()],
      ['clear of all', () => here.clear()],
      ['a tag', () => here.invalidateTags(['group:1'])]
    ]
    for (const [name, change] of changes) {
      for (let round = 0; round < 5; round++) {
        await warm()
        const next = rows.get(1)! + 1
        rows.set(1, next)
        await change()
        expect([name, (await mine.get(1))?.v]).toEqual([name, next])
        await until(`${name} is heard of`, async () => (await theirs.get(1))?.v === next, 500)
        for (let again = 0; again < 20; again++) expect((await theirs.get(1))?.v).toBe(next)
      }
    }
  })

  it('is gone from every process at once where memory is left out, as for a permission that is taken away (#114)', async () => {
    const [here, there] = [await open(), await open()]
    const allowed = new Map<string, boolean>()
    const of = (cache: Cache) =>
      cache.collection('permissions', {
        ttl: '1h',
        memory: false,
        load: async (user: string) => allowed.get(user) ?? false,
        write: writeThrough(async (user: string, may: boolean) => {
          allowed.set(user, may)
          return may
        })
      })
    const [mine, theirs] = [of(here), of(there)]
    for (let round = 0; round < 100; round++) {
      const may = round % 2 === 0
      if (round % 3 === 0) await mine.put('ada', may)
      else {
        allowed.set('ada', may)
        await mine.invalidate('ada')
      }
      expect(await theirs.get('ada')).toBe(may)
      expect(await mine.get('ada')).toBe(may)
    }
  })

  it('by other hands is heard of too: DEL, expiry, FLUSHALL (#52)', async () => {
    const { theirs, rows, warm } = await pair()
    const key = `${namespace}:rows:1`
    const changes: [string, () => Promise<unknown>][] = [
      ['DEL', () => admin.del(key)],
      ['PEXPIRE', async () => (await admin.pexpire(key, 20), sleep(60))],
      ['FLUSHALL', () => admin.flushall()]
    ]
    for (const [name, change] of changes) {
      await warm()
      rows.set(1, rows.get(1)! + 1)
      await change()
      await until(`${name} is heard of`, async () => (await theirs.get(1))?.v === rows.get(1), 1_000)
    }
  })
})

describe('without Redis', () => {
  it('a value that maxLocalBytes has no room for is returned, and nobody is told that it was stored', async () => {
    const cache = createCache({ namespace, maxLocalBytes: 20_000, compressAbove: Number.POSITIVE_INFINITY })
    caches.push(cache)
    const told: string[] = []
    cache.on('fill', () => void told.push('stored'))
    cache.on('fillRejected', ({ reason }) => void told.push(reason))
    const long = 'x'.repeat(30_000)
    const texts = cache.collection('texts', {
      ttl: '1h',
      load: async (): Promise<string> => long,
      write: async (_id: number, text: string) => text
    })
    expect(await texts.lookup(1)).toMatchObject({ value: long, ttlMs: 0 })
    expect(told).toEqual(['too-large'])
    expect((await texts.put(2, long)).cache).toBe('dropped')
    await expect(texts.set(3, long)).rejects.toThrow(/"maxLocalBytes" has room for 19\d\d\d\b/)
    expect(await texts.set(4, 'short')).toBe(true)
    expect(await texts.lookup(4)).toMatchObject({ value: 'short', source: 'memory' })
  })

  it('what was pushed out of the cache, and is kept decoded, goes with what invalidateWhere picks', async () => {
    const cache = createCache({ namespace, memory: { maxBytes: 1_000_000 }, maxLocalBytes: 20_000 })
    caches.push(cache)
    let version = 1
    const rows = cache.collection('rows', {
      ttl: '1h',
      earlyRefresh: 0,
      load: async (_id: number) => version
    })
    const fillers = cache.collection('fillers', {
      ttl: '1h',
      memory: false,
      load: async () => 'x'.repeat(1_000)
    })
    await until('both are kept', async () => {
      await rows.getMany([1, 2])
      return rows.peekMemory(1) === 1 && rows.peekMemory(2) === 1
    })
    await fillers.getMany(Array.from({ length: 50 }, (_, id) => id))
    expect([rows.peekMemory(1), rows.peekMemory(2)]).toEqual([1, 1])
    version = 2
    expect(await rows.invalidateWhere((id) => id === 1)).toBe(0)
    expect([await rows.get(1), await rows.get(2)]).toEqual([2, 1])
  })

  it('decoded values are kept as well, and changes of every kind are seen at once', async () => {
    const cache = createCache({ namespace, memory: { maxBytes: 1_000_000 } })
    caches.push(cache)
    const values = new Map([[1, 1]])
    const rows = cache.collection('rows', {
      ttl: '1h',
      earlyRefresh: 0,
      tags: (_row: number, id: number) => [`row:${id}`],
      load: async (id: number) => values.get(id)!,
      write: async (id: number, value: number) => (values.set(id, value), value)
    })
    const next = (): number => values.get(1)! + 1
    const changes: [string, () => Promise<unknown>][] = [
      ['invalidate', async () => (values.set(1, next()), rows.invalidate(1))],
      ['put', () => rows.put(1, next())],
      ['clear', async () => (values.set(1, next()), rows.clear())],
      ['tag', async () => (values.set(1, next()), cache.invalidateTags(['row:1']))],
      ['set', async () => (values.set(1, next()), rows.set(1, values.get(1)!))],
      ['refresh', async () => (values.set(1, next()), rows.refresh(1))]
    ]
    for (const [name, change] of changes) {
      await rows.get(1)
      await until('it is kept', async () => (await rows.get(1), rows.peekMemory(1) !== undefined))
      await change()
      expect([name, await rows.get(1)]).toEqual([name, values.get(1)])
    }
  })
})
