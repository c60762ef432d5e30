import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { ValueTooLargeError, writeThrough, type Cache, type CacheOptions } from '../../src/index.js'
import { usePrivateRedis } from '../support/private-redis.js'
import { until } from '../support/until.js'

const redis = usePrivateRedis()
const { open } = redis

const error = new Error('not today')

type Rows = ReturnType<typeof rowsOf>

const rowsOf = (cache: Cache) =>
  cache.collection('rows', { ttl: '1h', load: async (id: number) => `row ${id}`, tags: () => ['all'] })

for (const kind of ['Redis', 'one process'] as const) {
  const where = (): Partial<CacheOptions<'optional'>> => (kind === 'Redis' ? { redis: redis.server.url } : {})

  describe(`what a caller or a loader changes behind the cache's back, over ${kind}`, () => {
    it('gives each id its own value when loadMany sorts the ids, or takes them out part by part', async () => {
      const cache = open(where())
      const sorting = cache.collection('sorting', {
        ttl: '1h',
        load: async (id: number) => `row ${id}`,
        loadMany: async (ids) =>
          new Map((ids as number[]).sort((a, b) => a - b).map((id) => [id, `row ${id}`]))
      })
      const splicing = cache.collection('splicing', {
        ttl: '1h',
        load: async (id: number) => `row ${id}`,
        loadMany: async (ids) => {
          const rows = new Map<number, string>()
          while (ids.length > 0) for (const id of (ids as number[]).splice(0, 2)) rows.set(id, `row ${id}`)
          return rows
        }
      })
      const rows = new Map([3, 1, 2].map((id) => [id, `row ${id}`]))
      for (const collection of [sorting, splicing]) {
        expect(await collection.getMany([3, 1, 2])).toEqual(rows)
        expect(await collection.getMany([3, 1, 2])).toEqual(rows)
      }
    })

    it('loads, writes and removes what an id said when it was given, though the caller goes on using the object', async () => {
      const asked: string[] = []
      const cache = open(where())
      const pages = cache.collection('pages', {
        ttl: '1h',
        load: async ({ page }: { page: number }) => `page ${page}`,
        write: writeThrough(async ({ page }: { page: number }, text: string) => {
          asked.push(`write ${page}`)
          return text
        }),
        remove: async ({ page }) => void asked.push(`remove ${page}`)
      })
      const id = { page: 0 }
      const reads: Promise<string | undefined>[] = []
      for (id.page = 1; id.page <= 3; id.page++) reads.push(pages.get(id))
      expect(await Promise.all(reads)).toEqual(['page 1', 'page 2', 'page 3'])
      for (const page of [1, 2, 3]) expect(await pages.get({ page })).toBe(`page ${page}`)

      const ids = [{ page: 4 }, { page: 5 }]
      const many = pages.getMany(ids)
      for (const given of ids) given.page += 10
      const found = await many
      // By the caller's own objects, as they were given.
      expect(ids.map((given) => found.get(given))).toEqual(['page 4', 'page 5'])

      id.page = 6
      const put = pages.put(id, 'six')
      id.page = 7
      const removed = pages.delete(id)
      id.page = 8
      await Promise.all([put, removed])
      expect(asked.sort()).toEqual(['remove 7', 'write 6'])
    })

    it('stores what a value was when it was given to `set`, and under its tags of then', async () => {
      const cache = open(where())
      const rows = cache.collection('rows', {
        ttl: '1h',
        load: (_id: number) => ({ state: 'loaded' }),
        tags: ({ state }) => [state]
      })
      const row = { state: 'new' }
      const stored = rows.set(1, row)
      row.state = 'changed later'
      expect(await stored).toBe(true)
      expect(await rows.peek(1)).toEqual({ state: 'new' })
      await cache.invalidateTags(['changed later'])
      expect(await rows.peek(1)).toEqual({ state: 'new' })
      await cache.invalidateTags(['new'])
      expect(await rows.peek(1)).toBeUndefined()
    })
  })

  it(`stores what is loaded without a collection under the tags that it was asked for with, over ${kind}`, async () => {
    const cache = open({ ...where(), lease: '1m' })
    const tags = ['first']
    const options = { ttl: '1h', tags } as const
    let runs = 0
    const loading = cache.getOrLoad('page', () => ++runs, options)
    tags[0] = 'second'
    await loading
    await cache.invalidateTags(['first'])
    expect(await cache.getOrLoad('page', () => ++runs, options)).toBe(2)
  })

  describe(`what users' functions do wrong after a change, over ${kind}`, () => {
    it('lets the entry be filled again when `tags` throws for the saved row', async () => {
      let failing = true
      const cache = open({ ...where(), writeLease: 100 })
      const products = cache.collection('products', {
        ttl: '1h',
        load: async (id: number) => ({ id }),
        tags: () => {
          if (failing) throw error
          return []
        },
        write: writeThrough(async (id: number) => ({ id }))
      })
      await expect(products.put(1, { id: 1 })).rejects.toBe(error)
      failing = false
      await until('a read is answered from the cache', async () => {
        return (await products.lookup(1)).source === (kind === 'Redis' ? 'redis' : 'memory')
      })
    })

    it('lets the entry be filled again when the budget of its tenant throws', async () => {
      let failing = true
      const maxBytes = (): number => {
        if (failing) throw error
        return 1_000_000
      }
      const cache = open({ ...where(), writeLease: 100, tenantBudget: { maxBytes } })
      const products = cache
        .collection('products', {
          ttl: '1h',
          load: async (id: number) => ({ id }),
          write: writeThrough(async (id: number) => ({ id }))
        })
        .tenant('acme')
      await expect(products.put(1, { id: 1 })).rejects.toBe(error)
      failing = false
      await until('a read is answered from the cache', async () => {
        return (await products.lookup(1)).source === (kind === 'Redis' ? 'redis' : 'memory')
      })
    })

    it('hands out and leaves uncached what carries more tags than an entry has room for', async () => {
      const cache = open(where())
      const tags = Array.from({ length: 10_000 }, (_, index) => `tag-${index}`)
      const products = cache.collection('products', {
        ttl: '1h',
        load: async (id: number) => `row ${id}`,
        tags: () => tags,
        write: writeThrough(async (_id: number, row: string) => row)
      })
      for (let read = 0; read < 2; read++)
        expect(await products.lookup(1)).toMatchObject({ value: 'row 1', source: 'loader' })
      expect(await products.put(1, 'saved')).toEqual({ value: 'saved', cache: 'dropped' })
      await expect(products.set(1, 'primed')).rejects.toThrow(ValueTooLargeError)
      await expect(products.set(1, 'primed')).rejects.toThrow(/^The tags of the value take \d+ bytes/)
    })

    it('leaves the last value of several that one putMany brings for an entry', async () => {
      const saved: string[] = []
      let letGo = (): void => undefined
      const second = new Promise<void>((resolve) => (letGo = resolve))
      const cache = open(where())
      const products = cache.collection('products', {
        ttl: '1h',
        load: () => saved.at(-1),
        write: async (_id: { a: number; b: number }, row: string) => {
          // Whoever is let in beside the first is done before it.
          if (row === 'first') await Promise.race([second, sleep(50)])
          saved.push(row)
          if (row === 'second') letGo()
          return row
        }
      })
      const pairs = [
        [{ a: 1, b: 2 }, 'first'],
        [{ b: 2, a: 1 }, 'second']
      ] as const
      const written = await products.putMany(pairs)
      expect(saved).toEqual(['first', 'second'])
      expect([...written.values()].map(({ cache: outcome }) => outcome)).toEqual(['published', 'published'])
      expect(await products.get({ a: 1, b: 2 })).toBe('second')
    })

    it('publishes the last row of several that a change names for an entry, also when that is none', async () => {
      const cache = open(where())
      const products = cache.collection('products', {
        ttl: '1h',
        load: async (): Promise<string | undefined> => undefined
      })
      const written = await cache.write([products.key('a')], async ({ publish }) => {
        publish(products.key('a'), 'made')
        // Deleted again in the same transaction.
        publish(products.key('a'), undefined)
      })
      expect(written.cache).toBe('dropped')
      expect(await products.get('a')).toBeUndefined()
    })
  })

  it(`waits, when it is closed, for all that makes entries wrong or stores one, over ${kind}`, async () => {
    const calls: Record<string, (cache: Cache, rows: Rows) => Promise<unknown>> = {
      set: (_, rows) => rows.set(1, 'primed'),
      invalidate: (_, rows) => rows.invalidate(1),
      'invalidate softly': (_, rows) => rows.invalidate(1, { soft: true }),
      // More than are sent at once.
      invalidateMany: (_, rows) => rows.invalidateMany(Array.from({ length: 12_000 }, (_unused, id) => id)),
      invalidateWhere: (_, rows) => rows.invalidateWhere(() => true),
      clear: (_, rows) => rows.clear(),
      invalidateTags: (cache) => cache.invalidateTags(['all'])
    }
    for (const [name, call] of Object.entries(calls)) {
      const cache = open(where())
      const rows = rowsOf(cache)
      await rows.get(1)
      const called = call(cache, rows)
      const [closed, outcome] = await Promise.allSettled([cache.close({ timeout: '20s' }), called])
      expect([name, closed.status, outcome.status]).toEqual([name, 'fulfilled', 'fulfilled'])
      if (kind === 'one process') continue
      const later = await rowsOf(open(where())).peek(1)
      expect([name, later]).toEqual([name, name === 'set' ? 'primed' : undefined])
    }
  })
}

it('does not wait, when it is closed, for a count of what all tenants take', async () => {
  const cache = open({ redis: redis.server.url, tenantBudget: { maxBytes: 1_000_000 } })
  const [keys, page] = [100_000, 500]
  const setAll = "for i = 1, ARGV[1] do redis.call('SET', 'shop:tenant:acme:rows:' .. i, '') end"
  await redis.admin.eval(setAll, 0, keys)
  await redis.admin.config('RESETSTAT')
  const scans = async (): Promise<number> =>
    Number(/cmdstat_scan:calls=(\d+)/.exec(await redis.admin.info('commandstats'))?.[1] ?? 0)
  await rowsOf(cache).tenant('acme').get(0)
  await until('a count has begun', async () => (await scans()) > 0)
  await cache.close({ timeout: 0 })
  expect(await scans()).toBeLessThan(keys / page)
})

it('leaves the guards of a change that it did not wait for to run out when it is closed', async () => {
  const cache = open({ redis: redis.server.url, writeLease: 50 })
  let hasBegun = false
  let finish = (): void => undefined
  const rows = cache.collection('rows', {
    ttl: '1h',
    load: () => 'old',
    write: (_id: number, row: string) =>
      new Promise<string>((resolve) => {
        hasBegun = true
        finish = () => resolve(row)
      })
  })
  const put = rows.put(1, 'new')
  const refused = expect(put).rejects.toMatchObject({ code: 'CLOSED' })
  await until('the change has begun', () => hasBegun)
  await cache.close({ timeout: 0 })
  await refused
  const failed: string[] = []
  cache.on('redisFailed', ({ action }) => failed.push(action))
  // Ten renewals of a guard that nobody renews any more.
  await sleep(200)
  expect(failed).toEqual([])
  finish()
})

it.each(['refuse', 'remember'] as const)(
  'makes no change that it has still to guard when it is closed (%s)',
  async (whenRedisAway) => {
    const cache = open({ redis: redis.server.url, commandTimeout: '5s' })
    await cache.ready()
    let writes = 0
    const rows = cache.collection('rows', {
      ttl: '1h',
      whenRedisAway,
      load: () => 'old',
      write: (_id: number, row: string) => {
        writes++
        return row
      }
    })
    // The guard is neither set nor refused until the cache is closed.
    await redis.admin.call('CLIENT', 'PAUSE', 60_000, 'WRITE')
    const put = rows.put(1, 'new').then(
      () => 'written',
      () => 'refused'
    )
    const closed = cache.close({ timeout: 0 })
    await until('it is closed', () => cache.health().redis.state === 'closed')
    await redis.admin.call('CLIENT', 'UNPAUSE')
    expect(await put).toBe('refused')
    await closed
    expect(writes).toBe(0)
  }
)
