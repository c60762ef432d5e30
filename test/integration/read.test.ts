import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import {
  createCache,
  ClosedError,
  InvalidKeyError,
  InvalidOptionError,
  LoadTimeoutError,
  OverloadedError,
  RecursiveLoadError,
  TenantRequiredError,
  UncacheableValueError,
  type Cache,
  type CacheEvents,
  type Collection,
  type CacheOptions,
  type StandardSchema
} from '../../src/index.js'
import { CountingLoader } from '../doubles/loaders.js'
import { usePrivateRedis } from '../support/private-redis.js'
import { until } from '../support/until.js'

const redis = usePrivateRedis()
const { open } = redis

const facts = (cache: Cache, ...names: (keyof CacheEvents)[]): string[] => {
  const seen: string[] = []
  for (const name of names) cache.on(name, () => void seen.push(name))
  return seen
}

for (const kind of ['Redis', 'one process'] as const) {
  const where = (): Partial<CacheOptions<'optional'>> => (kind === 'Redis' ? { redis: redis.server.url } : {})
  const source = kind === 'Redis' ? 'redis' : 'memory'

  describe(`reading, with ${kind}`, () => {
    it('loads once, then serves from the cache and says where a value came from', async () => {
      const loader = new CountingLoader((run, id) => ({ id, run }))
      const products = open(where()).collection('products', { ttl: '1h', jitter: 0, load: loader.load })
      expect(await products.lookup(1)).toEqual({
        value: { id: 1, run: 1 },
        source: 'loader',
        ageMs: 0,
        ttlMs: 3_600_000
      })
      await sleep(20)
      const hit = await products.lookup(1)
      expect(hit).toMatchObject({ value: { id: 1, run: 1 }, source })
      expect(hit.ageMs).toBeGreaterThanOrEqual(10)
      expect(hit.ageMs + hit.ttlMs).toBeCloseTo(3_600_000, -1)
      expect(await products.get(2)).toEqual({ id: 2, run: 2 })
      expect(loader.runs).toBe(2)
    })

    it('runs the loader once for 5,000 callers of one cold key (#2)', async () => {
      const loader = new CountingLoader(() => 'value')
      const cache = open(where())
      const products = cache.collection('products', { ttl: '1h', load: loader.load })
      const values = await Promise.all(Array.from({ length: 5_000 }, () => products.get(1)))
      expect(new Set(values)).toEqual(new Set(['value']))
      expect(loader.runs).toBe(1)
      expect(cache.stats().collections['products']).toMatchObject({ misses: 5_000, loads: 1, fills: 1 })
    })

    it('gives a hit the shape of the miss, and every caller something that no other can spoil (#20, #21)', async () => {
      const row = {
        at: new Date(5),
        tags: new Set(['a']),
        bytes: Buffer.from([1, 2]),
        price: 10n ** 30n,
        none: undefined,
        nan: Number.NaN,
        zero: -0
      }
      const cache = open(where())
      const rich = cache.collection('rich', { ttl: '1h', load: () => row })
      const [miss, joined] = await Promise.all([rich.get(1), rich.get(1)])
      const hit = await rich.get(1)
      for (const copy of [miss, joined, hit]) expect(copy).toStrictEqual(row)
      miss!.at.setTime(0)
      joined!.tags.add('b')
      expect(await rich.get(1)).toStrictEqual(row)
      expect(hit).toStrictEqual(row)

      const plain = cache.collection('plain', {
        ttl: '1h',
        load: () => ({ name: 'x', nested: { list: [1] } })
      })
      for (const copy of [await plain.get(1), await plain.get(1)]) {
        expect(() => (copy!.name = 'spoilt')).toThrow(TypeError)
        expect(() => copy!.nested.list.push(2)).toThrow(TypeError)
      }
    })

    it('remembers that there is nothing, for its own time (#16)', async () => {
      const loader = new CountingLoader<string>((run) => (run === 1 ? undefined : 'there now'))
      const cache = open(where())
      const options = { ttl: '1h', jitter: 0, load: loader.load } as const
      const products = cache.collection('products', { ...options, notFoundTtl: '10m' })
      expect(await products.get(1)).toBeUndefined()
      expect(await products.lookup(1)).toMatchObject({ value: undefined, source })
      expect(loader.runs).toBe(1)
      const brief = cache.collection('brief', { ...options, notFoundTtl: 80 })
      loader.runs = 0
      expect(await brief.get(1)).toBeUndefined()
      await until('its time is over', async () => (await brief.get(1)) === 'there now')
    })

    it('spreads the ends of what was stored together (#14)', async () => {
      const cache = open(where())
      const products = cache.collection('products', { ttl: '1000s', load: () => 'value' })
      const ids = Array.from({ length: 1_000 }, (_, id) => id)
      await products.getMany(ids)
      const ends = await Promise.all(ids.map(async (id) => (await products.lookup(id)).ttlMs / 1_000))
      // The last tenth of its life, in tenths of that: with 1,000 draws none is nearly empty, nor has it nearly all.
      const counts = Array.from({ length: 10 }, () => 0)
      for (const end of ends) counts[Math.min(9, Math.floor((end - 890) / 11))]!++
      expect(Math.max(...ends)).toBeLessThanOrEqual(1_000)
      expect(Math.min(...ends)).toBeGreaterThan(800)
      expect(Math.max(...counts)).toBeLessThan(250)
    })

    it('does not remember it when told not to', async () => {
      const loader = new CountingLoader<string>(() => undefined)
      const products = open(where()).collection('products', { ttl: '1h', notFoundTtl: 0, load: loader.load })
      await products.get(1)
      await products.get(1)
      expect(loader.runs).toBe(2)
    })

    it('keeps no older value in the place of what is gone when that is not to be remembered', async () => {
      const loader = new CountingLoader((run) => (run === 1 ? 'there' : undefined))
      const things = open({ ...where(), lease: '1m' }).collection('things', {
        ttl: '1h',
        stale: '1h',
        notFoundTtl: 0,
        load: loader.load
      })
      await things.get(1)
      expect(await things.refresh(1)).toBeUndefined()
      expect(await things.get(1)).toBeUndefined()

      loader.runs = 0
      await things.get(2)
      await things.invalidate(2, { soft: true })
      expect(await things.get(2)).toBe('there')
      await until('the refresh has found it gone', async () => (await things.get(2)) === undefined)
    })

    it('does not go back to the value before a refresh that found one under a tag just invalidated', async () => {
      const loader = new CountingLoader((run) => ({ brand: `brand ${run}` }))
      const cache = open(where())
      const products = cache.collection('products', {
        ttl: '1h',
        load: loader.load,
        tags: ({ brand }) => [brand]
      })
      await products.get(1)
      loader.hold()
      const refreshing = products.refresh(1)
      await until('it loads', () => loader.running === 1)
      await cache.invalidateTags(['brand 2'])
      loader.letGo()
      expect(await refreshing).toEqual({ brand: 'brand 2' })
      expect(await products.get(1)).toEqual({ brand: 'brand 3' })
    })

    it('keeps null, false, 0 and the empty string as values', async () => {
      const values = [null, false, 0, '', Number.NaN]
      const loader = new CountingLoader<unknown>((_run, id) => values[id as number])
      const things = open(where()).collection('things', { ttl: '1h', load: loader.load })
      for (const index of values.keys()) {
        await things.get(index)
        expect(await things.get(index)).toBe(values[index])
      }
      expect(loader.runs).toBe(values.length)
    })

    it('hands the tenant and a signal to the loader, and keeps tenants apart', async () => {
      const seen: unknown[] = []
      const products = open(where()).collection('products', {
        ttl: '1h',
        load: (id: number, { tenant, signal }) => {
          seen.push([id, tenant, signal.aborted])
          return `${String(tenant)}:${id}`
        }
      })
      const tenants = [undefined, '1', '10', 1, 'a:b', 'a*', '{x}', 'a\0']
      const read = (tenant: string | number | undefined): Promise<string | undefined> =>
        (tenant === undefined ? products : products.tenant(tenant)).get(7)
      for (const tenant of tenants) expect(await read(tenant)).toBe(`${String(tenant)}:7`)
      for (const tenant of tenants) expect(await read(tenant)).toBe(`${String(tenant)}:7`)
      expect(seen).toEqual(tenants.map((tenant) => [7, tenant, false]))
    })

    it('drops exactly the entry that is declared wrong', async () => {
      const loader = new CountingLoader((run) => run)
      const products = open(where()).collection('products', { ttl: '1h', load: loader.load })
      await products.getMany([1, 10, 11])
      await products.tenant('t').get(1)
      await products.invalidate(1)
      expect(await products.get(1)).toBe(5)
      expect([await products.get(10), await products.get(11), await products.tenant('t').get(1)]).toEqual([
        2, 3, 4
      ])
      await products.invalidateMany([10, 11])
      expect(await products.getMany([10, 11])).toEqual(
        new Map([
          [10, 6],
          [11, 7]
        ])
      )
    })

    describe('a value past its ttl', () => {
      it('is served at once while one refresh runs, then the new one (SWR)', async () => {
        const loader = new CountingLoader((run) => `v${run}`)
        const cache = open(where())
        const products = cache.collection('products', {
          ttl: 60,
          stale: '10s',
          jitter: 0,
          earlyRefresh: 0,
          load: loader.load
        })
        await products.get(1)
        await sleep(90)
        loader.hold()
        const lookups = await Promise.all(Array.from({ length: 500 }, () => products.lookup(1)))
        expect(lookups.every(({ value, source: from }) => value === 'v1' && from === 'stale')).toBe(true)
        for (let round = 0; round < 20; round++) expect(await products.get(1)).toBe('v1')
        await until('the refresh has begun', () => loader.runs === 2)
        const stored = new Promise((resolve) => cache.on('fill', resolve))
        loader.letGo()
        await stored
        expect(loader.runs).toBe(2)
        expect(await products.get(1)).toBe('v2')
      })

      it('is refreshed before it goes stale, by one, when its load is dear (#25)', async () => {
        const loader = new CountingLoader(async (run) => {
          await sleep(40)
          return `v${run}`
        })
        const products = open(where()).collection('products', {
          ttl: '10s',
          jitter: 0,
          earlyRefresh: 100,
          load: loader.load
        })
        await products.get(1)
        loader.hold()
        await until('a reader refreshes early', async () => {
          expect(await products.lookup(1)).toMatchObject({ value: 'v1', source })
          return loader.runs === 2
        })
        for (let round = 0; round < 100; round++) {
          expect(await products.lookup(1)).toMatchObject({ value: 'v1', source })
        }
        expect(loader.runs).toBe(2)
        loader.letGo()
        await until('the refresh is stored', async () => (await products.get(1)) !== 'v1')
      })

      it('is served when the source fails, and the source is left in peace for a while (#15)', async () => {
        const loader = new CountingLoader((run) => {
          if (run > 1) throw new Error('the database is down')
          return 'v1'
        })
        const cache = open(where())
        const products = cache.collection('products', {
          ttl: 60,
          stale: 0,
          staleIfError: '10s',
          failedTtl: '5s',
          jitter: 0,
          earlyRefresh: 0,
          load: loader.load
        })
        await products.get(1)
        await sleep(90)
        const lookups = await Promise.all(Array.from({ length: 100 }, () => products.lookup(1)))
        expect(lookups.every(({ value, source: from }) => value === 'v1' && from === 'stale')).toBe(true)
        for (let round = 0; round < 20; round++) expect(await products.get(1)).toBe('v1')
        expect(loader.runs).toBe(2)
      })

      it('is not served beyond what was allowed', async () => {
        const loader = new CountingLoader((run) => {
          if (run > 1) throw new Error('the database is down')
          return 'v1'
        })
        const products = open(where()).collection('products', {
          ttl: 40,
          stale: 40,
          failedTtl: 0,
          jitter: 0,
          load: loader.load
        })
        await products.get(1)
        await sleep(150)
        await expect(products.get(1)).rejects.toThrow('the database is down')
      })

      it('is not served beyond that either when it was fresh as the load began that failed', async () => {
        const boom = new Error('the database is down')
        let fail!: () => void
        const failing = new Promise<void>((resolve) => (fail = resolve))
        const loader = new CountingLoader(async (run) => {
          if (run > 1) return failing.then(() => Promise.reject(boom))
          await sleep(20)
          return 'v1'
        })
        const products = open(where()).collection('products', {
          ttl: 400,
          jitter: 0,
          earlyRefresh: 100,
          load: loader.load
        })
        await products.get(1)
        await until('a reader refreshes early', () => {
          products.get(1).catch(() => undefined)
          return loader.runs === 2
        })
        await sleep(450)
        const late = products.get(1)
        late.catch(() => undefined)
        await sleep(50)
        fail()
        await expect(late).rejects.toBe(boom)
      })
    })

    describe('a failing loader', () => {
      it('runs once for 5,000 callers, who all get its own error; then not before the failure’s life is over (#9)', async () => {
        const boom = Object.assign(new Error('no such table'), { code: '42P01' })
        const loader = new CountingLoader((run) => {
          if (run === 1) throw boom
          return 'well again'
        })
        const cache = open(where())
        const options = { ttl: '1h', load: loader.load } as const
        const products = cache.collection('products', { ...options, failedTtl: '1m' })
        const results = await Promise.allSettled(Array.from({ length: 5_000 }, () => products.get(1)))
        expect(results.every((result) => result.status === 'rejected' && result.reason === boom)).toBe(true)
        for (let round = 0; round < 20; round++) await expect(products.get(1)).rejects.toBe(boom)
        expect(loader.runs).toBe(1)
        const brief = cache.collection('brief', { ...options, failedTtl: 400 })
        loader.runs = 0
        const failedAt = performance.now()
        await expect(brief.get(1)).rejects.toBe(boom)
        await until('its life is over', () => brief.get(1).then(Boolean, () => false))
        // Failures' lives are spread by a fifth.
        expect(performance.now() - failedAt).toBeGreaterThan(400 * 0.8 - 5)
        expect(await brief.get(1)).toBe('well again')
        expect(loader.runs).toBe(2)
      })

      it('is over its deadline: its signal fires and callers get a typed error (#10)', async () => {
        let fired: unknown
        const products = open(where()).collection('products', {
          ttl: '1h',
          loadTimeout: 60,
          load: async (_id: number, { signal }): Promise<string> => {
            signal.addEventListener('abort', () => (fired = signal.reason))
            await new Promise(() => undefined)
            return 'never'
          }
        })
        const results = await Promise.allSettled([products.get(1), products.get(1)])
        for (const result of results)
          expect(result).toMatchObject({ status: 'rejected', reason: { code: 'LOAD_TIMEOUT' } })
        expect(fired).toBeInstanceOf(LoadTimeoutError)
      })

      it('that asks for its own key is told so, instead of waiting for itself', async () => {
        const cache = open(where())
        const products = cache.collection('products', {
          ttl: '1h',
          load: async (id: number): Promise<number | undefined> => others.get(id)
        })
        const others: Collection<number, number> = cache.collection('others', {
          ttl: '1h',
          load: async (id: number): Promise<number | undefined> => products.get(id)
        })
        await expect(products.get(1)).rejects.toThrow(RecursiveLoadError)
      })

      it('that refreshes its own key is told so, and does not run again and again', async () => {
        const loader = new CountingLoader<number>(async (_run, id) => products.refresh(id as number))
        const cache = open(where())
        const products: Collection<number, number> = cache.collection('products', {
          ttl: '1h',
          failedTtl: 0,
          load: (id: number) => loader.load(id)
        })
        await expect(products.get(1)).rejects.toThrow(RecursiveLoadError)
        await cache.close()
        expect(loader.runs).toBe(1)
      })

      it('that invalidates its own key and asks for it is told so, and does not run again and again', async () => {
        const loader = new CountingLoader<number>(async (_run, id) => {
          await products.invalidate(id as number)
          return products.get(id as number)
        })
        const cache = open(where())
        const products: Collection<number, number> = cache.collection('products', {
          ttl: '1h',
          failedTtl: 0,
          load: (id: number) => loader.load(id)
        })
        await expect(products.get(1)).rejects.toThrow(RecursiveLoadError)
        await expect(products.getMany([2, 3])).rejects.toThrow(RecursiveLoadError)
        await cache.close()
        expect(loader.runs).toBe(3)
      })

      it('that returns what no cache could give back gets a clear error, with the path', async () => {
        const things = open(where()).collection('things', {
          ttl: '1h',
          load: () => ({ list: [{ run: () => 1 }] })
        })
        const error: unknown = await things.get(1).catch((caught: unknown) => caught)
        expect(error).toBeInstanceOf(UncacheableValueError)
        expect((error as UncacheableValueError).path).toBe('$.list[0].run')
      })
    })

    it('returns a value that is too large, and stores nothing (#24)', async () => {
      const loader = new CountingLoader(() => 'x'.repeat(10_000_000))
      const cache = open({ ...where(), maxValueBytes: 1_000_000 })
      const things = cache.collection('things', { ttl: '1h', load: loader.load })
      const values = await Promise.all([things.get(1), things.get(1), things.get(1)])
      expect(values.every((value) => value?.length === 10_000_000)).toBe(true)
      expect(loader.runs).toBeLessThanOrEqual(2)
      expect((await things.get(1))?.length).toBe(10_000_000)
      expect(cache.stats().collections['things']!.fills).toBe(0)
    })

    it('keeps no older value in the place of one that is too large (#24)', async () => {
      const grown = 'x'.repeat(2_000)
      const loader = new CountingLoader(async (run) => {
        await sleep(20)
        return run === 1 ? 'small' : grown
      })
      const cache = open({ ...where(), maxValueBytes: 1_000 })
      const things = cache.collection('things', { ttl: '1h', stale: '1h', load: loader.load })
      await things.get(1)
      expect(await things.refresh(1)).toBe(grown)
      expect(await things.get(1)).toBe(grown)

      const soft = cache.collection('soft', { ttl: '1h', stale: '1h', load: loader.load })
      loader.runs = 0
      await soft.get(1)
      await soft.invalidate(1, { soft: true })
      expect(await soft.get(1)).toBe('small')
      await until('the refresh has found it', async () => (await soft.get(1)) === grown)
      expect(cache.stats().collections['soft']!.fills).toBe(1)
    })

    it('compresses what is large, and gives it back', async () => {
      const cache = open({ ...where(), compressAbove: 1_000 })
      const rows = Array.from({ length: 500 }, (_, id) => ({ id, name: `product ${id}` }))
      const things = cache.collection('things', { ttl: '1h', load: () => rows })
      let bytes = 0
      cache.on('fill', (fact) => (bytes = fact.bytes))
      await things.get(1)
      expect(await things.get(1)).toEqual(rows)
      expect(await Promise.all([things.get(1), things.get(1)])).toEqual([rows, rows])
      expect(bytes).toBeLessThan(JSON.stringify(rows).length / 2)
    })

    describe('many at once', () => {
      it('asks the source once for what is missing, by loadMany, and keeps the order', async () => {
        const asked: (readonly number[])[] = []
        const products = open(where()).collection('products', {
          ttl: '1h',
          load: (id: number) => `one ${id}`,
          loadMany: (ids: readonly number[]) => {
            asked.push(ids)
            return new Map(ids.filter((id) => id !== 4).map((id) => [id, `many ${id}`]))
          }
        })
        await products.get(2)
        expect(await products.getMany([3, 2, 1, 4, 3])).toEqual(
          new Map([
            [3, 'many 3'],
            [2, 'one 2'],
            [1, 'many 1']
          ])
        )
        expect(asked).toEqual([[3, 1, 4]])
        expect([...(await products.getMany([1, 2, 3, 4])).keys()]).toEqual([1, 2, 3])
        expect(asked).toHaveLength(1)
        expect(await products.getMany([])).toEqual(new Map())
      })

      it('shares loads with single reads, in both directions', async () => {
        const loader = new CountingLoader((_run, id) => `one ${String(id)}`)
        const many: (readonly number[])[] = []
        const products = open(where()).collection('products', {
          ttl: '1h',
          load: loader.load as (id: number) => Promise<string | undefined>,
          loadMany: async (ids: readonly number[]) => {
            many.push(ids)
            await sleep(30)
            return ids.map((id) => `many ${id}`)
          }
        })
        loader.hold()
        const single = products.get(1)
        await until('the single load runs', () => loader.running === 1)
        const all = products.getMany([1, 2, 3])
        await until('the load of many runs', () => many.length === 1)
        const alsoSingle = products.get(3)
        loader.letGo()
        expect(await single).toBe('one 1')
        expect(await all).toEqual(
          new Map([
            [1, 'one 1'],
            [2, 'many 2'],
            [3, 'many 3']
          ])
        )
        expect(await alsoSingle).toBe('many 3')
        expect([loader.runs, many]).toEqual([1, [[2, 3]]])
      })

      it('uses load for each without loadMany, and takes an array in the order of the ids', async () => {
        const cache = open(where())
        const plain = cache.collection('plain', { ttl: '1h', load: (id: number) => id * 2 })
        expect(await plain.getMany(new Set([1, 2, 3]))).toEqual(
          new Map([
            [1, 2],
            [2, 4],
            [3, 6]
          ])
        )
        const listed = cache.collection('listed', {
          ttl: '1h',
          load: (id: { n: number }) => id.n,
          loadMany: (ids: readonly { n: number }[]) => ids.map(({ n }) => (n === 2 ? undefined : n * 10))
        })
        const [a, b, c] = [{ n: 1 }, { n: 2 }, { n: 3 }]
        expect(await listed.getMany([a, b, c])).toEqual(
          new Map([
            [a, 10],
            [c, 30]
          ])
        )
      })

      it('refuses an answer of loadMany that cannot be told apart', async () => {
        const products = open(where()).collection('products', {
          ttl: '1h',
          load: (id: number) => id,
          loadMany: () => [1]
        })
        await expect(products.getMany([1, 2])).rejects.toMatchObject({ code: 'INVALID_LOADER_RESULT' })
      })

      it('refuses a Map that is not about the ids that were asked for, instead of remembering that nothing is there', async () => {
        const products = open(where()).collection('products', {
          ttl: '1h',
          failedTtl: 0,
          load: (id: number) => `one ${id}`,
          loadMany: (ids) => new Map(ids.map((id) => [String(id) as unknown as number, `many ${id}`]))
        })
        await expect(products.getMany([1, 2])).rejects.toMatchObject({ code: 'INVALID_LOADER_RESULT' })
        expect(await products.get(1)).toBe('one 1')
      })

      it('rejects with the loader’s error, and leaves no rejection unhandled', async () => {
        const boom = new Error('boom')
        const products = open(where()).collection('products', {
          ttl: '1h',
          load: (id: number): number => {
            if (id > 1) throw boom
            return id
          }
        })
        await expect(products.getMany([1, 2, 3, 4])).rejects.toBe(boom)
        await expect(products.getMany([1, 2, 3, 4])).rejects.toBe(boom)
        expect(await products.getMany([1])).toEqual(new Map([[1, 1]]))
      })

      it('takes a thousand keys', async () => {
        const ids = Array.from({ length: 1_000 }, (_, id) => id)
        const products = open(where()).collection('products', { ttl: '1h', load: (id: number) => id })
        expect((await products.getMany(ids)).size).toBe(1_000)
        expect([...(await products.getMany(ids))]).toEqual(ids.map((id) => [id, id]))
      })
    })

    describe('refresh', () => {
      it('loads now, whatever is cached, and stores it', async () => {
        const loader = new CountingLoader((run) => `v${run}`)
        const products = open(where()).collection('products', { ttl: '1h', load: loader.load })
        await products.get(1)
        expect(await products.refresh(1)).toBe('v2')
        expect(await products.get(1)).toBe('v2')
        await Promise.all(Array.from({ length: 100 }, () => products.refresh(1)))
        expect(loader.runs).toBe(3)
      })

      it('is not satisfied with a load that began before it', async () => {
        const loader = new CountingLoader((run) => `v${run}`)
        const products = open(where()).collection('products', { ttl: '1h', load: loader.load })
        loader.hold()
        const read = products.get(1)
        await until('the load runs', () => loader.running === 1)
        const refreshed = products.refresh(1)
        await until('the second load runs', () => loader.running === 2)
        loader.letGo()
        expect(await refreshed).toBe('v2')
        expect(await read).toBe('v1')
        expect(await products.get(1)).toBe('v2')
      })

      it('rejects when the source fails, and leaves what is cached (#115)', async () => {
        const loader = new CountingLoader((run) => {
          if (run > 1) throw new Error('down')
          return 'v1'
        })
        const products = open(where()).collection('products', { ttl: '1h', load: loader.load })
        await products.get(1)
        await expect(products.refresh(1)).rejects.toThrow('down')
        expect(await products.get(1)).toBe('v1')
      })
    })

    describe('an invalidation while a load runs', () => {
      it('keeps the old value out of the cache and from everyone who comes after it: 0 of 200 stale (#3, #4)', async () => {
        const products = open(where())
        let row = 0
        const loader = new CountingLoader(() => row)
        const collection = products.collection('products', { ttl: '1h', load: loader.load })
        let stale = 0
        for (let round = 0; round < 200; round++) {
          await collection.invalidate(1)
          loader.hold()
          const early = collection.get(1)
          await until('the load runs', () => loader.running === 1)
          row++
          await collection.invalidate(1)
          const late = collection.get(1)
          await until('a second load runs', () => loader.running === 2)
          loader.letGo()
          if ((await late) !== row) stale++
          await early
          if ((await collection.get(1)) !== row) stale++
        }
        expect(stale).toBe(0)
      })
    })

    it('checks what comes back against a schema; a mismatch is a miss', async () => {
      const old = open({ ...where(), namespace: 'same' })
      const cache = kind === 'Redis' ? open({ ...where(), namespace: 'same' }) : old
      const before = old.collection('products', { ttl: '1h', load: () => ({ price: '12.50' }) })
      await before.get(1)
      const unreadable: string[] = []
      cache.on('unreadable', ({ reason }) => void unreadable.push(reason))
      const name = kind === 'Redis' ? 'products' : 'others'
      const loader = new CountingLoader<{ price: number | string }>((run) => ({
        price: run === 1 && kind !== 'Redis' ? 'x' : 12.5
      }))
      const after = cache.collection(name, {
        ttl: '1h',
        schema: z.object({ price: z.number() }),
        load: loader.load
      })
      if (kind !== 'Redis') await after.get(1)
      expect(await after.lookup(1)).toMatchObject({ value: { price: 12.5 }, source: 'loader' })
      expect(await after.lookup(1)).toMatchObject({ value: { price: 12.5 }, source })
      expect(unreadable).toHaveLength(1)
      expect(unreadable[0]).toMatch(/schema/)
    })

    it('lets a caller leave without disturbing the others', async () => {
      const loader = new CountingLoader(() => 'value')
      const products = open(where()).collection('products', { ttl: '1h', load: loader.load })
      loader.hold()
      const leaving = new AbortController()
      const left = products.get(1, { signal: leaving.signal })
      const stays = products.get(1)
      await until('the load runs', () => loader.running === 1)
      leaving.abort(new Error('client went away'))
      await expect(left).rejects.toThrow('client went away')
      loader.letGo()
      expect(await stays).toBe('value')
      expect(await products.get(1, { signal: AbortSignal.timeout(5_000) })).toBe('value')
      expect(loader.runs).toBe(1)
    })

    it('runs no more loads at once than allowed, and refuses what is beyond the queue', async () => {
      const loader = new CountingLoader(async (_run, id) => {
        await sleep(10)
        return id
      })
      const cache = open({ ...where(), maxConcurrentLoads: 4, maxQueuedLoads: 20 })
      const products = cache.collection('products', { ttl: '1h', failedTtl: 0, load: loader.load })
      loader.hold()
      let refused = 0
      const reads = Array.from({ length: 40 }, (_, id) => products.get(id))
      for (const read of reads) read.catch(() => refused++)
      await until('all the others have been refused', () => refused === 40 - 4 - 20)
      expect(cache.stats().loads).toEqual({ running: 4, queued: 20 })
      loader.letGo()
      const results = await Promise.allSettled(reads)
      expect(loader.mostAtOnce).toBe(4)
      expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(24)
      for (const result of results) {
        if (result.status === 'rejected') expect(result.reason).toBeInstanceOf(OverloadedError)
      }
    })

    it('says so when a load had no time because it waited for its turn, and blames the source for nothing', async () => {
      const crowded = open({ ...where(), maxConcurrentLoads: 1 })
      let letGo = (): void => undefined
      const held = new Promise<number>((resolve) => (letGo = () => resolve(1)))
      const slow = crowded.collection('slow', { ttl: '1h', load: (_id: number) => held })
      const rowsOf = (cache: Cache): Collection<number, number> =>
        cache.collection('rows', { ttl: '1h', failedTtl: '60s', loadTimeout: 200, load: (id: number) => id })
      const [mine, theirs] = [rowsOf(crowded), rowsOf(open(where()))]
      const holding = slow.get(1)
      await until('it is being loaded', () => crowded.stats().loads.running === 1)
      const late = await mine.get(7).catch((error: unknown) => error)
      expect(late).toMatchObject({ code: 'LOAD_TIMEOUT', timeoutMs: 200 })
      expect(String(late)).toContain('waited')
      expect(await theirs.get(7)).toBe(7)
      letGo()
      await holding
      expect(await mine.get(7)).toBe(7)
    })

    it('gives a loader’s place to the next when it is over its deadline and does not care', async () => {
      const cache = open({ ...where(), maxConcurrentLoads: 2 })
      const stuck = cache.collection('stuck', {
        ttl: '1h',
        loadTimeout: 40,
        load: (_id: number) => new Promise<string>(() => undefined)
      })
      await Promise.allSettled([stuck.get(1), stuck.get(2)])
      const well = cache.collection('well', { ttl: '1h', loadTimeout: '2s', load: (id: number) => id })
      expect(await well.get(1)).toBe(1)
    })

    it('takes code that outlives its load for what it is: inside of nothing', async () => {
      const cache = open(where())
      let later: Promise<unknown> | undefined
      const products = cache.collection('products', {
        ttl: 1,
        load: async (id: number): Promise<number> => {
          later ??= sleep(30).then(() => products.get(id))
          return id
        }
      }) as Collection<number, number>
      await products.get(1)
      expect(await later).toBe(1)
    })

    it('does not let loaders that ask for other keys starve each other', async () => {
      const cache = open({ ...where(), maxConcurrentLoads: 2 })
      const inner = cache.collection('inner', { ttl: '1h', load: async (id: number) => (await sleep(5), id) })
      const outer = cache.collection('outer', {
        ttl: '1h',
        loadTimeout: '5s',
        load: (id: number) => inner.get(id)
      })
      expect(await Promise.all(Array.from({ length: 20 }, (_, id) => outer.get(id)))).toHaveLength(20)
    })

    it.each(['one by one', 'by loadMany'])(
      'does not let loaders starve that ask for what waits for its turn behind them, %s',
      async (how) => {
        const cache = open({ ...where(), maxConcurrentLoads: 2 })
        const load = async (id: number): Promise<number> => id
        const inner = cache.collection('inner', {
          ttl: '1h',
          maxConcurrentLoads: 1,
          load,
          ...(how === 'by loadMany'
            ? { loadMany: (ids: readonly number[]) => Promise.all(ids.map(load)) }
            : {})
        })
        let goOn = (): void => undefined
        const gone = new Promise<void>((resolve) => (goOn = resolve))
        const outer = cache.collection('outer', {
          ttl: '1h',
          loadTimeout: '2s',
          load: async (id: number) => {
            await gone
            return inner.get(id)
          }
        })
        const asking = Promise.all([outer.get(1), outer.get(2)])
        await until('they have every place', () => cache.stats().loads.running === 2)
        const waiting = inner.getMany([1, 2, 3])
        await until('what they will ask for waits', () => cache.stats().loads.queued > 0)
        goOn()
        expect(await asking).toEqual([1, 2])
        expect((await waiting).size).toBe(3)
        expect(cache.stats().loads).toEqual({ running: 0, queued: 0 })
      }
    )

    it('runs no more loads at once than allowed of what a loader finds stale', async () => {
      const loader = new CountingLoader(async (_run, id) => {
        await sleep(5)
        return id
      })
      const cache = open({ ...where(), maxConcurrentLoads: 2 })
      const inner = cache.collection('inner', { ttl: 20, stale: '1h', load: loader.load })
      const ids = Array.from({ length: 20 }, (_, id) => id)
      await inner.getMany(ids)
      await sleep(30)
      const outer = cache.collection('outer', {
        ttl: '1h',
        load: async (_id: number) => {
          const { size } = await inner.getMany(ids)
          await until('all are refreshed', () => loader.runs === 40)
          return size
        }
      })
      expect(await outer.get(1)).toBe(20)
      expect(loader.mostAtOnce).toBe(2)
    })

    it('loads ad hoc, with the same guarantees', async () => {
      const cache = open(where())
      let loads = 0
      const load = async (): Promise<string> => {
        loads++
        await sleep(10)
        return `home ${loads}`
      }
      const get = (): Promise<string | undefined> => cache.getOrLoad('homepage', load, { ttl: '1h' })
      expect(new Set(await Promise.all(Array.from({ length: 100 }, get)))).toEqual(new Set(['home 1']))
      expect(await cache.tenant('acme').getOrLoad('homepage', () => 'acme home', { ttl: '1h' })).toBe(
        'acme home'
      )
      expect(await get()).toBe('home 1')
      expect(await cache.get('homepage')).toBe('home 1')
      await cache.delete('homepage')
      expect(await cache.get('homepage')).toBeUndefined()
      expect(await get()).toBe('home 2')
      expect(await cache.tenant('acme').getOrLoad('homepage', () => 'other', { ttl: '1h' })).toBe('acme home')
    })

    it('shows what is cached without loading, and takes what it is given', async () => {
      const loader = new CountingLoader((run) => `v${run}`)
      const cache = open(where())
      const products = cache.collection('products', { ttl: '1h', load: loader.load })
      expect(await products.peek(1)).toBeUndefined()
      expect(await products.set(1, 'primed')).toBe(true)
      expect([await products.peek(1), await products.get(1)]).toEqual(['primed', 'primed'])
      expect(await products.tenant('t').peek(1)).toBeUndefined()
      expect(loader.runs).toBe(0)

      loader.hold()
      const early = products.get(2)
      await until('the load runs', () => loader.running === 1)
      await products.set(2, 'newer than what the load read')
      loader.letGo()
      expect(await early).toBe('v1')
      expect(await products.get(2)).toBe('newer than what the load read')
      expect(loader.runs).toBe(1)

      expect(await cache.set('page', { n: 1 }, { ttl: '1h' })).toBe(true)
      expect(await cache.getOrLoad('page', () => ({ n: 2 }), { ttl: '1h' })).toEqual({ n: 1 })
      await expect(products.set(1, (() => 1) as never)).rejects.toThrow(UncacheableValueError)
      await expect(cache.set('big', 'x'.repeat(10_000_000), { ttl: 1 })).rejects.toMatchObject({
        code: 'VALUE_TOO_LARGE'
      })
    })

    it('loads nothing for a caller who has left already', async () => {
      const loader = new CountingLoader(() => 'value')
      const products = open(where()).collection('products', { ttl: '1h', load: loader.load })
      await expect(products.get(1, { signal: AbortSignal.abort(new Error('gone')) })).rejects.toThrow('gone')
      expect(loader.runs).toBe(0)
    })

    it('takes a schema that gives no answer for one that does not match, and waits for any kind of promise', async () => {
      const schemaOf = (validate: () => unknown): StandardSchema => ({
        '~standard': { version: 1, vendor: 'test', validate: validate as () => never }
      })
      const answers = [
        () => undefined,
        async () => undefined,
        // oxlint-disable-next-line unicorn/no-thenable -- a promise of a library's own
        () => ({ then: (done: (result: unknown) => void) => done({ issues: [{ message: 'no' }] }) })
      ]
      const cache = open(where())
      for (const [index, validate] of answers.entries()) {
        const loader = new CountingLoader((run) => run)
        const schema = schemaOf(validate)
        const rows = cache.collection(`rows${index}`, { ttl: '1h', schema, load: loader.load })
        expect([await rows.get(1), await rows.get(1)]).toEqual([1, 2])
      }
    })

    it('takes a schema that never answers for one that does not match', async () => {
      const validate = (): Promise<never> => new Promise(() => undefined)
      const schema = { '~standard': { version: 1 as const, vendor: 'test', validate } }
      const loader = new CountingLoader((run) => run)
      const cache = open(where())
      const rows = cache.collection('rows', { ttl: '1h', loadTimeout: 200, schema, load: loader.load })
      expect([await rows.get(1), await rows.get(1)]).toEqual([1, 2])
    })

    it('asks an asynchronous schema about all of a getMany at once', async () => {
      let [asked, goOn] = [0, (): void => undefined]
      const all = new Promise<void>((resolve) => (goOn = resolve))
      const schema: StandardSchema<string> = {
        '~standard': {
          version: 1,
          vendor: 'test',
          validate: async (value) => {
            if (++asked === 3) goOn()
            await all
            return { value: value as string }
          }
        }
      }
      const loader = new CountingLoader((_run, id) => `row ${String(id)}`)
      const rows = open({ ...where(), lease: '1m' }).collection('rows', {
        ttl: '1h',
        load: loader.load,
        schema
      })
      const found = await rows.getMany([1, 2, 3])
      expect(await rows.getMany([1, 2, 3])).toEqual(found)
      expect(loader.runs).toBe(3)
    })

    it('takes a schema that throws for one that does not match', async () => {
      const schema = {
        '~standard': {
          version: 1 as const,
          vendor: 'test',
          validate: () => {
            throw new Error('broken schema')
          }
        }
      }
      const loader = new CountingLoader((run) => run)
      const products = open(where()).collection('products', { ttl: '1h', schema, load: loader.load })
      expect([await products.get(1), await products.get(1)]).toEqual([1, 2])
    })

    it('does not ask again for a value that it cannot use while its load has just failed', async () => {
      const boom = new Error('the database is down')
      const loader = new CountingLoader((run) => {
        if (run > 1) throw boom
        return 'a'
      })
      const cache = open(where())
      const unusable: string[] = []
      cache.on('unreadable', ({ reason }) => void unusable.push(reason))
      const things = cache.collection('things', {
        ttl: '1h',
        failedTtl: '1m',
        schema: z.number(),
        load: loader.load
      })
      await things.get(1)
      for (let round = 0; round < 3; round++) await expect(things.get(1)).rejects.toBe(boom)
      await expect(things.getMany([1])).rejects.toBe(boom)
      expect(loader.runs).toBe(2)
      // Each look at it, and not one in some milliseconds until the pause is over.
      expect(unusable.length).toBeLessThanOrEqual(6)
    })

    it('survives a listener that is asynchronous and rejects', async () => {
      const cache = open(where())
      const seen = facts(cache, 'listenerFailed')
      cache.on('miss', (async () => {
        await Promise.reject(new Error('bad listener'))
      }) as () => void)
      await cache.collection('products', { ttl: '1h', load: () => 1 }).get(1)
      await until('it is reported', () => seen.length === 1)
    })

    describe('closing', () => {
      it('lets a read that is under way end, from the cache', async () => {
        const loader = new CountingLoader(() => 'value')
        const cache = open(where())
        const products = cache.collection('products', { ttl: '1h', load: loader.load })
        await products.get(1)
        const read = products.lookup(1)
        await cache.close()
        expect((await read).source).toBe(source)
        expect(loader.runs).toBe(1)
      })

      it('waits for what is under way, refuses what comes after, and may be repeated', async () => {
        const loader = new CountingLoader(() => 'value')
        const cache = open(where())
        const products = cache.collection('products', { ttl: '1h', load: loader.load })
        loader.hold()
        const read = products.get(1)
        await until('the load runs', () => loader.running === 1)
        const closed = Promise.all([cache.close(), cache.close()])
        await expect(products.get(1)).rejects.toThrow(ClosedError)
        loader.letGo()
        expect(await read).toBe('value')
        await closed
      })

      it('aborts what is not done by the deadline', async () => {
        const cache = open(where())
        let reason: unknown
        const products = cache.collection('products', {
          ttl: '1h',
          load: async (_id: number, { signal }): Promise<string> => {
            await new Promise((resolve) => signal.addEventListener('abort', resolve))
            reason = signal.reason
            return 'too late'
          }
        })
        const read = products.get(1).catch((error: unknown) => error)
        await until('it is being loaded', () => cache.stats().loads.running === 1)
        await cache.close({ timeout: 50 })
        expect(await read).toBeInstanceOf(ClosedError)
        expect(reason).toBeInstanceOf(ClosedError)
      })
    })

    it('reports facts to listeners, and a listener that throws disturbs nobody', async () => {
      const cache = open(where())
      const seen = facts(cache, 'miss', 'load', 'loaded', 'fill', 'hit', 'listenerFailed')
      cache.on('hit', () => {
        throw new Error('bad listener')
      })
      const products = cache.collection('products', { ttl: '1h', load: (id: number) => id })
      await products.get(1)
      expect(await products.get(1)).toBe(1)
      expect(seen).toEqual(['miss', 'load', 'loaded', 'fill', 'hit', 'listenerFailed'])
    })
  })
}

describe('required tenancy', () => {
  it('makes a call without a tenant an error at run time too', async () => {
    const cache = createCache({ namespace: 'shop', tenancy: 'required' })
    const products = cache.collection('products', {
      ttl: '1h',
      load: (id: number, { tenant }) => `${String(tenant)}:${id}`
    })
    expect(await products.tenant('acme').get(1)).toBe('acme:1')
    const untyped = products as unknown as {
      get(id: number): Promise<string>
      tenant(id: undefined): unknown
    }
    await expect(untyped.get(1)).rejects.toThrow(TenantRequiredError)
    expect(() => untyped.tenant(undefined)).toThrow(InvalidKeyError)
    expect(() => cache.tenant(undefined as never)).toThrow(InvalidKeyError)
    const adHoc = cache as unknown as Cache
    await expect(adHoc.getOrLoad('x', () => 1, { ttl: 1 })).rejects.toThrow(TenantRequiredError)
    expect(await cache.tenant('acme').getOrLoad('x', () => 1, { ttl: 1 })).toBe(1)
    const countries = cache.collection('countries', {
      tenancy: 'optional',
      ttl: '1h',
      load: (code: string) => code
    })
    expect(await countries.get('de')).toBe('de')
    await cache.close()
  })
})

describe('options', () => {
  it.each([
    [{}, 'namespace'],
    [{ namespace: 'a:b' }, 'namespace'],
    [{ namespace: 'shop', redis: 'localhost:6379' }, 'redis'],
    [{ namespace: 'shop', redis: null }, 'redis'],
    [{ namespace: 'shop', redis: 6379 }, 'redis'],
    [{ namespace: 'shop', nameSpace: 'x' }, 'nameSpace'],
    [{ namespace: 'shop', commandTimeout: Number.NaN }, 'commandTimeout'],
    [{ namespace: 'shop', lease: '2h' }, 'lease'],
    [{ namespace: 'shop', maxConcurrentLoads: 0 }, 'maxConcurrentLoads'],
    [{ namespace: 'shop', tenancy: 'yes' }, 'tenancy']
  ])('of the cache are checked: %j', (bad, option) => {
    expect(() => createCache(bad as unknown as CacheOptions)).toThrow(InvalidOptionError)
    expect(() => createCache(bad as unknown as CacheOptions)).toThrow(`"${option}"`)
  })

  it('never repeat a password in a message (#112)', () => {
    for (const redis of [
      'http://user:se/cr@t-secret@host',
      'user:se?cr@t-secret@host:6379',
      'redis:user:secret@host',
      'redis//host?db=1&password=secret'
    ]) {
      const create = (): unknown => createCache({ namespace: 'shop', redis })
      expect(create).toThrow(InvalidOptionError)
      expect(create).toThrow('host')
      expect(create).not.toThrow(/secret/)
    }
  })

  const badCollectionOptions: readonly [options: unknown, named: string][] = [
    [{ load: () => 1 }, 'ttl'],
    [{ ttl: Number.NaN, load: () => 1 }, 'ttl'],
    [{ ttl: '1h' }, 'load'],
    [{ ttl: '1h', load: () => 1, loadMany: [] }, 'loadMany'],
    [{ ttl: '1h', load: () => 1, jitter: 2 }, 'jitter'],
    [{ ttl: '1h', load: () => 1, failedTtl: '61s' }, 'failedTtl'],
    [{ ttl: '1h', load: () => 1, schema: {} }, 'schema'],
    [{ ttl: '1h', load: () => 1, tll: 1 }, 'tll']
  ]
  it.each(badCollectionOptions)('of a collection are checked: %j', async (bad, option) => {
    const cache = createCache({ namespace: 'shop' })
    expect(() => cache.collection('products', bad as never)).toThrow(`"${option}"`)
    expect(cache.stats().collections).not.toHaveProperty('products')
    cache.collection('products', { ttl: 1, load: () => 1 })
    expect(() => cache.collection('tenant', { ttl: 1, load: () => 1 })).toThrow(InvalidOptionError)
    cache.collection('once', { ttl: 1, load: () => 1 })
    expect(() => cache.collection('once', { ttl: 1, load: () => 1 })).toThrow(/not in use/)
    await cache.close()
  })
})
