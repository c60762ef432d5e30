import { randomBytes } from 'node:crypto'
import { Redis } from 'ioredis'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { createCache, type Cache } from '../../src/index.js'
import { startRedisServer, type RedisServer } from '../support/redis-server.js'

const LARGE = 30_000
/** What compression makes no smaller, so that as many bytes are stored. */
const TEXT = randomBytes(LARGE / 2).toString('hex')

let server: RedisServer
let admin: Redis

beforeAll(async () => {
  server = await startRedisServer()
  admin = new Redis(server.url)
})
beforeEach(() => admin.flushall())
afterAll(async () => {
  admin.disconnect()
  await server.stop()
})

const sent = async (): Promise<number> =>
  Number(/total_net_output_bytes:(\d+)/.exec(await admin.info('stats'))?.[1])

async function withCaches(work: (here: Cache, there: Cache) => Promise<void>): Promise<void> {
  const open = (): Cache => createCache({ redis: server.url, namespace: 'shop', commandTimeout: '2s' })
  const [here, there] = [open(), open()]
  try {
    await work(here, there)
  } finally {
    await Promise.all([here.close(), there.close()])
  }
}

describe('a large value that was read lately', () => {
  it('is not sent again while it is the same, and each read asks for it all the same', async () => {
    await withCaches(async (here) => {
      const pages = here.collection('pages', {
        ttl: '1h',
        load: (id: number) => ({ id, text: TEXT })
      })
      await pages.get(1)
      await pages.get(1)
      const before = await sent()
      for (let round = 0; round < 100; round++) expect((await pages.get(1))?.text.length).toBe(LARGE)
      expect((await pages.getMany([1])).size).toBe(1)
      expect((await pages.getMany([1, 2])).size).toBe(2)
      expect((await sent()) - before).toBeLessThan(LARGE)
      expect(here.stats().collections['pages']!.hits).toBe(103)
      expect(here.stats().redis.failures).toBe(0)
    })
  })

  it('is never served once another process has declared it wrong, changed it, or let it go', async () => {
    await withCaches(async (here, there) => {
      let version = 0
      const load = (id: number): { id: number; version: number; text: string } => ({
        id,
        version,
        text: TEXT
      })
      const reads = here.collection('pages', { ttl: '1h', load })
      const writes = there.collection('pages', { ttl: '1h', load })
      for (version = 1; version <= 100; version++) {
        await reads.get(1)
        await reads.get(1)
        version++
        if (version % 3 === 0) await writes.refresh(1)
        else if (version % 3 === 1) await writes.invalidate(1)
        else await writes.set(1, load(1))
        const read = version % 2 === 0 ? await reads.get(1) : (await reads.getMany([1])).get(1)
        expect(read?.version).toBe(version)
      }
      await reads.get(1)
      await admin.del('shop:pages:1')
      version = 1_000
      expect((await reads.get(1))?.version).toBe(1_000)
      await reads.get(1)
      await admin.del('shop:pages:1')
      await admin.rpush('shop:pages:1', 'something', 'else')
      version = 2_000
      expect((await reads.get(1))?.version).toBe(2_000)
    })
  })

  it('keeps its place when many others are read once', async () => {
    const place = 3 * (LARGE + 1_000)
    const cache = createCache({ redis: server.url, namespace: 'shop', maxRecentBytes: 4 * place })
    try {
      const pages = cache.collection('pages', { ttl: '1h', load: (id: number) => ({ id, text: TEXT }) })
      for (let round = 0; round < 5; round++) for (const id of [1, 2]) await pages.get(id)
      for (let id = 100; id < 130; id++) await pages.get(id)
      for (let id = 100; id < 130; id++) await pages.get(id)
      const before = await sent()
      for (let round = 0; round < 20; round++) for (const id of [1, 2]) await pages.get(id)
      expect((await sent()) - before).toBeLessThan(LARGE / 2)
      // What becomes popular gets a place for all that.
      for (let round = 0; round < 20; round++) for (const id of [7, 8]) await pages.get(id)
      const between = await sent()
      for (let round = 0; round < 20; round++) for (const id of [7, 8]) await pages.get(id)
      expect((await sent()) - between).toBeLessThan(LARGE / 2)
    } finally {
      await cache.close()
    }
  })

  it('ages as it would have', async () => {
    await withCaches(async (here) => {
      let loads = 0
      const pages = here.collection('pages', {
        ttl: 150,
        stale: '1h',
        jitter: 0,
        earlyRefresh: 0,
        load: (_id: number) => ({ loads: ++loads, text: TEXT, at: new Date(5) })
      })
      await pages.get(1)
      const first = await pages.get(1)
      expect(first).toMatchObject({ loads: 1, at: new Date(5) })
      first!.at.setTime(0)
      expect(await pages.get(1)).toMatchObject({ at: new Date(5) })
      await new Promise((resolve) => setTimeout(resolve, 200))
      expect((await pages.lookup(1)).source).toBe('stale')
    })
  })
})
