import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createCache, type Cache } from '../../src/index.js'
import { until } from '../support/until.js'
import { installShipped, startShipped, type Shipped } from './shipped.js'

const ENTRIES = 20_000
const CHUNK = 500

let shipped: Shipped
beforeAll(async () => {
  shipped = await installShipped()
})
afterAll(() => shipped.remove())

const ids = Array.from({ length: ENTRIES }, (_, id) => id)

async function inChunks(work: (chunk: number[]) => Promise<unknown>): Promise<void> {
  for (let at = 0; at < ids.length; at += CHUNK) await work(ids.slice(at, at + CHUNK))
}

describe('Redis is killed with SIGKILL and started again with the shipped redis.conf', () => {
  it('and is warm at once: every entry is a hit, none that was invalidated is back, and running processes go on by themselves', async () => {
    const first = await startShipped(shipped, 'redis.conf')
    let loads = 0
    const open = (): Cache =>
      createCache({ redis: first.options('cache'), namespace: 'shop', commandTimeout: '5s' })
    const collectionOf = (cache: Cache) =>
      cache.collection('products', {
        ttl: '1h',
        load: async (id: number) => {
          loads++
          return { id, name: `Product ${id}` }
        },
        loadMany: async (missing) => {
          loads += missing.length
          return new Map(missing.map((id) => [id, { id, name: `Product ${id}` }]))
        }
      })
    const before = open()
    const products = collectionOf(before)
    await inChunks((chunk) => products.getMany(chunk))
    expect(loads).toBe(ENTRIES)
    // A fill may be refused on a machine that is busy; what is asked here begins when everything is cached.
    await until('every entry is cached', async () => {
      loads = 0
      await inChunks((chunk) => products.getMany(chunk))
      return loads === 0
    })
    await products.invalidate(7)
    // With `everysec` it answers before it has written while the disk syncs, and a kill just then loses that, as the docs say.
    const operator = first.connect()
    await until('it is written', async () =>
      /^aof_buffer_length:0\b/m.test(await operator.info('persistence'))
    )
    operator.disconnect()

    await first.crash()
    await until('the running process notices', () => before.stats().redis.state === 'away')
    // Served all the same: from the source.
    expect((await products.get(1))?.id).toBe(1)

    const startedAt = performance.now()
    const again = await startShipped(shipped, 'redis.conf', { port: first.port, folder: first.folder })
    try {
      const servesAfterMs = performance.now() - startedAt
      const after = open()
      const reread = collectionOf(after)
      const one = await reread.lookup(8)
      const firstHitAfterMs = performance.now() - startedAt
      expect(one.source).toBe('redis')
      loads = 0
      await inChunks((chunk) => reread.getMany(chunk))
      const warmAfterMs = performance.now() - startedAt
      // What was invalidated before the crash was not brought back by it.
      expect(loads).toBe(1)
      await until('the running process has Redis back', () => before.stats().redis.state === 'ready')
      await until('it serves from Redis again', async () => (await products.lookup(9)).source === 'redis')
      const hitShare = (ENTRIES - loads) / ENTRIES
      console.log(
        `${ENTRIES} entries: serves after ${servesAfterMs.toFixed(0)} ms, first hit after ${firstHitAfterMs.toFixed(0)} ms, ` +
          `all read after ${warmAfterMs.toFixed(0)} ms, hit share ${(hitShare * 100).toFixed(2)} %`
      )
      await Promise.all([before.close(), after.close()])
    } finally {
      await again.stop()
      await first.stop()
    }
  })
})

const FULL = ['--maxmemory', '6mb', '--appendonly', 'no', '--save', '']
const VALUE = 'x'.repeat(2_000)

describe('a full Redis, with', () => {
  /** Reads far more than fits, and says what became of it. */
  async function overfill(policy: string): Promise<{
    wrong: number
    hitsAgain: number
    streams: number
    evicted: number
    storeFailures: number
    written: string
    invalidated: string
  }> {
    const server = await startShipped(shipped, 'redis.conf', {
      args: [...FULL, '--maxmemory-policy', policy]
    })
    const redis = server.connect('cache')
    const operator = server.connect()
    const cache = createCache({ redis: server.options('cache'), namespace: 'shop', commandTimeout: '5s' })
    try {
      for (let stream = 0; stream < 20; stream++)
        await redis.xadd(`shop:#behind:orders:${stream}`, '*', 'row', VALUE)
      let storeFailures = 0
      cache.on('redisFailed', () => storeFailures++)
      const products = cache.collection('products', {
        ttl: '1h',
        load: async (id: number) => ({ id, text: VALUE }),
        write: async (_id, row) => row
      })
      let wrong = 0
      for (let id = 0; id < 6_000; id += 100) {
        const chunk = Array.from({ length: 100 }, (_, index) => id + index)
        const rows = await products.getMany(chunk)
        for (const one of chunk) if (rows.get(one)?.id !== one) wrong++
      }
      const hitsBefore = cache.stats().total.hits
      await products.getMany(Array.from({ length: 100 }, (_, index) => 5_900 + index))
      const hitsAgain = cache.stats().total.hits - hitsBefore
      const written = (await products.put(1, { id: 1, text: 'new' })).cache
      const invalidated = await products.invalidate(5_999)
      const reread = await products.get(1)
      if (reread === undefined) wrong++
      const info = await operator.info('stats')
      const streams = (
        await Promise.all(
          Array.from({ length: 20 }, (_, stream) => redis.exists(`shop:#behind:orders:${stream}`))
        )
      ).filter(Boolean).length
      return {
        wrong,
        hitsAgain,
        streams,
        storeFailures,
        written,
        invalidated,
        evicted: Number(/evicted_keys:(\d+)/.exec(info)![1])
      }
    } finally {
      redis.disconnect()
      operator.disconnect()
      await cache.close()
      await sleep(0)
      await server.stop()
    }
  }

  it('volatile-lfu, which is shipped: old entries make room, streams of unwritten changes stay', async () => {
    const seen = await overfill('volatile-lfu')
    expect(seen).toMatchObject({
      wrong: 0,
      streams: 20,
      storeFailures: 0,
      written: 'published',
      invalidated: 'confirmed'
    })
    expect(seen.evicted).toBeGreaterThan(1_000)
    expect(seen.hitsAgain).toBeGreaterThan(0)
  })

  it('volatile-ttl: the same', async () => {
    const seen = await overfill('volatile-ttl')
    expect(seen).toMatchObject({ wrong: 0, streams: 20, written: 'published', invalidated: 'confirmed' })
    expect(seen.evicted).toBeGreaterThan(1_000)
  })

  it('allkeys-lru: room is made, by streams of unwritten changes too, without a word; so the doctor fails it', async () => {
    const seen = await overfill('allkeys-lru')
    expect(seen).toMatchObject({ wrong: 0, written: 'published', invalidated: 'confirmed' })
    expect(seen.streams).toBeLessThan(20)
  })

  it('noeviction: nothing new is stored, reads are right all the same, and invalidating works', async () => {
    const seen = await overfill('noeviction')
    expect(seen).toMatchObject({ wrong: 0, streams: 20, evicted: 0, hitsAgain: 0, invalidated: 'confirmed' })
    expect(seen.storeFailures).toBeGreaterThan(0)
    // Its row cannot be stored, and the old one is not left behind.
    expect(['dropped', 'published']).toContain(seen.written)
  })
})
