import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import {
  createCache,
  InvalidOptionError,
  NotWritableError,
  RedisUnavailableError,
  writeThrough,
  WritesFailedError,
  WriteTimeoutError,
  type Cache,
  type CacheOptions,
  type Collection
} from '../../src/index.js'
import { usePrivateRedis } from '../support/private-redis.js'
import { startRedisServer } from '../support/redis-server.js'
import { until } from '../support/until.js'

interface Row {
  readonly id: number
  readonly price: number
  readonly version: number
}

/** The source of record: rows with a version, which can be held still between the change and its reply. */
class Table {
  readonly rows = new Map<number, Row>()
  reads = 0
  failing: Error | undefined
  #gate: Promise<void> | undefined
  #open: (() => void) | undefined
  waiting = 0

  hold(): void {
    this.#gate = new Promise((resolve) => (this.#open = resolve))
  }
  letGo(): void {
    this.#open?.()
    this.#gate = undefined
  }
  readonly find = async (id: number): Promise<Row | undefined> => {
    this.reads++
    return this.rows.get(id)
  }
  readonly save = async (id: number, { price }: { price: number }): Promise<Row> => {
    if (this.failing) throw this.failing
    const row = { id, price, version: (this.rows.get(id)?.version ?? 0) + 1 }
    this.rows.set(id, row)
    await this.#wait()
    return row
  }
  readonly remove = async (id: number): Promise<void> => {
    if (this.failing) throw this.failing
    this.rows.delete(id)
    await this.#wait()
  }
  async #wait(): Promise<void> {
    this.waiting++
    await this.#gate
    this.waiting--
  }
}

const redis = usePrivateRedis()
const { open } = redis
const row = (id: number, price: number): Row => ({ id, price, version: 0 })

for (const kind of ['Redis', 'one process'] as const) {
  const where = (): Partial<CacheOptions<'optional'>> => (kind === 'Redis' ? { redis: redis.server.url } : {})
  const collectionOf = (cache: Cache, table: Table) =>
    cache.collection('products', {
      ttl: '1h',
      load: table.find,
      write: writeThrough((id: number, product: Row) => table.save(id, product)),
      remove: (id) => table.remove(id)
    })

  it.each([{ count: 0 }, { count: 1.5 }, {}, { count: 1, timeout: '2m' }, { count: 1, wait: 5 }, true])(
    'refuses %j replicas to wait for',
    (waitForReplicas) => {
      expect(() => createCache({ namespace: 'shop', waitForReplicas: waitForReplicas as never })).toThrow(
        InvalidOptionError
      )
    }
  )

  describe(`writing through, with ${kind}`, () => {
    it('changes the source and caches the row as it was saved', async () => {
      const table = new Table()
      const products = collectionOf(open(where()), table)
      expect(await products.get(1)).toBeUndefined()
      expect(await products.put(1, row(1, 10))).toEqual({
        value: { id: 1, price: 10, version: 1 },
        cache: 'published'
      })
      expect(await products.lookup(1)).toMatchObject({
        value: { id: 1, price: 10, version: 1 },
        source: kind === 'Redis' ? 'redis' : 'memory'
      })
      expect(table.reads).toBe(1)
    })

    it('removes from the source and remembers that it is gone', async () => {
      const table = new Table()
      const products = collectionOf(open(where()), table)
      await products.put(1, row(1, 10))
      expect(await products.delete(1)).toEqual({ value: undefined, cache: 'published' })
      expect(table.rows.size).toBe(0)
      expect(await products.get(1)).toBeUndefined()
      expect(table.reads).toBe(0)
    })

    it('leaves nothing cached when the write throws, and hands on the error (#31)', async () => {
      const table = new Table()
      const products = collectionOf(open(where()), table)
      await products.put(1, row(1, 10))
      table.failing = new Error('duplicate key')
      await expect(products.put(1, row(1, 20))).rejects.toBe(table.failing)
      await expect(products.delete(1)).rejects.toBe(table.failing)
      expect(await products.lookup(1)).toMatchObject({ value: { price: 10 }, source: 'loader' })
    })

    it('makes a load in progress void: nobody who comes after the write gets what it read (#26)', async () => {
      const table = new Table()
      const cache = open(where())
      let release: () => void = () => undefined
      let loading = 0
      const products = cache.collection('products', {
        ttl: '1h',
        load: async (id: number) => {
          const found = table.rows.get(id)
          if (++loading === 1) await new Promise<void>((resolve) => (release = resolve))
          return found
        },
        write: writeThrough((id: number, product: Row) => table.save(id, product))
      })
      const early = products.get(1)
      await until('the load has read', () => loading === 1)
      await products.put(1, row(1, 10))
      const late = await products.get(1)
      release()
      expect(await early).toBeUndefined()
      expect(late).toMatchObject({ price: 10 })
      expect(await products.get(1)).toMatchObject({ price: 10 })
    })

    it('keeps readers off while the write runs, and hands them the new row (#27)', async () => {
      const table = new Table()
      const cache = open(where())
      const products = collectionOf(cache, table)
      await products.put(1, row(1, 10))
      table.hold()
      const writing = products.put(1, row(1, 20))
      await until('the row is changed', () => table.waiting === 1)
      const reads = Promise.all(Array.from({ length: 50 }, () => products.get(1)))
      await until('somebody waits for the writer', () => cache.stats().total.waits > 0)
      table.letGo()
      await writing
      expect(new Set((await reads).map((one) => one?.price))).toEqual(new Set([20]))
      expect(table.reads).toBe(0)
    })

    it('lets a refresh wait for the writer, and then ask the source, without asking Redis again and again', async () => {
      const table = new Table()
      const cache = open(where())
      let waits = 0
      cache.on('wait', () => waits++)
      const products = collectionOf(cache, table)
      table.hold()
      const writing = products.put(1, row(1, 20))
      await until('the row is changed', () => table.waiting === 1)
      expect(await products.refresh(1)).toMatchObject({ price: 20 })
      expect(waits).toBe(1)
      table.letGo()
      await writing
    })

    it('lets a reader go to the source when a write takes long, and stores nothing', async () => {
      const table = new Table()
      const products = collectionOf(open(where()), table)
      await products.put(1, row(1, 10))
      table.hold()
      const writing = products.put(1, row(1, 20))
      await until('the row is changed', () => table.waiting === 1)
      expect((await products.lookup(1)).ttlMs).toBe(0)
      expect(table.reads).toBe(1)
      table.letGo()
      expect((await writing).cache).toBe('published')
    })

    it('that reads its own entry meets its own guard, and gets what the source has', async () => {
      const table = new Table()
      await table.save(1, row(1, 10))
      const products: Collection<number, Row> = open(where()).collection('products', {
        ttl: '1h',
        load: table.find,
        write: async (id: number, product: Row): Promise<Row> => {
          const before = await products.get(id)
          return table.save(id, { ...product, price: (before?.price ?? 0) + product.price })
        }
      })
      expect(await products.get(1)).toMatchObject({ price: 10 })
      expect(await products.put(1, row(1, 5))).toMatchObject({ value: { price: 15 }, cache: 'published' })
      expect(await products.lookup(1)).toMatchObject({ value: { price: 15 } })
    })

    it('is not followed by "no such thing", which a reader was told before the row was committed (#17)', async () => {
      const table = new Table()
      const products = open(where()).collection('products', {
        ttl: '1h',
        notFoundTtl: '1h',
        load: table.find,
        write: writeThrough(async (id: number, product: Row) => {
          await committed
          return table.save(id, product)
        })
      })
      let commit = (): void => undefined
      const committed = new Promise<void>((resolve) => (commit = resolve))
      expect(await products.get(1)).toBeUndefined()
      const writing = products.put(1, row(1, 10))
      // It waits for the writer for a while, asks the source, and is told that there is nothing yet.
      expect(await products.get(1)).toBeUndefined()
      commit()
      await writing
      expect(await products.get(1)).toMatchObject({ price: 10 })
    })

    it('of a row that was read from the cache is refused when it changed since, if write compares versions (#40)', async () => {
      const table = new Table()
      table.rows.set(1, { id: 1, price: 10, version: 1 })
      const products = open(where()).collection('products', {
        ttl: '1h',
        load: table.find,
        write: writeThrough(async (id: number, product: Row) => {
          if (table.rows.get(id)?.version !== product.version) throw new Error('it was changed since')
          return table.save(id, product)
        })
      })
      const [one, two] = await Promise.all([products.get(1), products.get(1)])
      await products.put(1, { ...one!, price: 20 })
      await expect(products.put(1, { ...two!, price: 30 })).rejects.toThrow('it was changed since')
      expect(await products.get(1)).toEqual({ id: 1, price: 20, version: 2 })
    })

    it('drops what overlapping writers leave, unless a version tells which was last', async () => {
      const table = new Table()
      const products = collectionOf(open(where()), table)
      table.hold()
      const writes = [products.put(1, row(1, 10)), products.put(1, row(1, 20))]
      await until('both have written', () => table.waiting === 2)
      table.letGo()
      expect((await Promise.all(writes)).map(({ cache }) => cache)).toEqual(['dropped', 'dropped'])
      expect(await products.lookup(1)).toMatchObject({ value: { price: 20 }, source: 'loader' })

      const versioned = open({ ...where(), namespace: 'versioned' }).collection('products', {
        ttl: '1h',
        load: table.find,
        write: (id, product) => table.save(id, product),
        version: ({ version }) => version
      })
      table.hold()
      const more = [versioned.put(1, row(1, 30)), versioned.put(1, row(1, 40))]
      await until('both have written', () => table.waiting === 2)
      table.letGo()
      await Promise.all(more)
      expect((await versioned.get(1))?.price).toBe(40)
    })

    it('writes many, and tells which failed', async () => {
      const table = new Table()
      const cache = open(where())
      const products = cache.collection('products', {
        ttl: '1h',
        load: table.find,
        write: writeThrough(async (id: number, product: Row) => {
          if (id === 2) throw new Error('no such product')
          return table.save(id, product)
        })
      })
      expect(
        (
          await products.putMany([
            [1, row(1, 10)],
            [3, row(3, 30)]
          ])
        ).get(3)
      ).toMatchObject({ value: { price: 30 } })
      const error: unknown = await products
        .putMany([
          [1, row(1, 11)],
          [2, row(2, 20)]
        ])
        .catch((caught: unknown) => caught)
      expect(error).toBeInstanceOf(WritesFailedError)
      expect([...(error as WritesFailedError).failures.keys()]).toEqual([2])
      expect(await products.getMany([1, 2, 3])).toEqual(
        new Map([
          [1, { id: 1, price: 11, version: 2 }],
          [3, { id: 3, price: 30, version: 1 }]
        ])
      )
    })

    it('writes thousands without asking the source for all of them at once', async () => {
      let running = 0
      let most = 0
      const things = open(where()).collection('things', {
        ttl: '1h',
        load: (id: number) => id,
        write: async (_id, value) => {
          most = Math.max(most, ++running)
          await sleep(1)
          running--
          return value
        }
      })
      const entries = Array.from({ length: 1_000 }, (_, id) => [id, id] as const)
      expect((await things.putMany(entries)).size).toBe(1_000)
      expect(most).toBeLessThanOrEqual(20)
    })

    it('takes a version as a driver gives it, and one that is none for no version', async () => {
      const cache = open(where())
      const versions: unknown[] = ['9007199254740993', 7n, 'x', undefined]
      const things = cache.collection('things', {
        ttl: '1h',
        load: (id: number) => id,
        write: (_id, value) => value,
        version: (id) => versions[id] as number
      })
      for (const id of versions.keys()) expect((await things.put(id, id)).cache).toBe('published')
    })

    it('covers a change of several entries, of several collections, in a transaction of the user’s own', async () => {
      const table = new Table()
      const cache = open(where())
      const products = collectionOf(cache, table)
      let total = 0
      const totals = cache.collection('totals', {
        ttl: '1h',
        load: async (name: string) => (name === 'all' ? total : undefined)
      })
      await products.getMany([1, 2])
      expect(await totals.get('all')).toBe(0)
      const refs = [products.key(1), products.key(2), totals.key('all')] as const
      const { value, cache: outcome } = await cache.write(refs, async ({ publish }) => {
        const saved = await table.save(1, { price: 10 })
        await table.save(2, { price: 20 })
        total = 30
        publish(refs[0], saved)
        return 'committed'
      })
      expect([value, outcome]).toEqual(['committed', 'published'])
      const before = table.reads
      expect((await products.get(1))?.price).toBe(10)
      expect(table.reads).toBe(before)
      expect((await products.get(2))?.price).toBe(20)
      expect(await totals.get('all')).toBe(30)

      const stranger = products.key(3)
      const publishing = cache.write(refs, async ({ publish }) =>
        publish(stranger, await table.save(3, { price: 1 }))
      )
      await expect(publishing).rejects.toMatchObject({ code: 'INVALID_OPTION' })

      const boom = new Error('rolled back')
      await expect(cache.write(refs, () => Promise.reject(boom))).rejects.toBe(boom)
      expect(await products.getMany([1, 2])).toHaveProperty('size', 2)
    })

    it('keeps the guard of a write that is over its deadline for as long as it goes on', async () => {
      const table = new Table()
      const cache = open({ ...where(), writeLease: '2s' })
      const products = cache.collection('products', {
        ttl: '1h',
        load: table.find,
        writeTimeout: 60,
        write: (id, product) => table.save(id, product)
      })
      table.hold()
      await expect(products.put(1, row(1, 10))).rejects.toThrow(WriteTimeoutError)
      await sleep(2_500)
      expect((await products.lookup(1)).ttlMs).toBe(0) // not stored: the write may still be undone, or not
      table.letGo()
      await until('readers may store again', async () => (await products.lookup(1)).ttlMs > 0)
      expect(await products.get(1)).toMatchObject({ price: 10 })
    })

    it('caches nothing of a row that fits no cache, and writes it all the same', async () => {
      const cache = open(where())
      const things = cache.collection('things', {
        ttl: '1h',
        load: (id: number): { id: number; big: string } => ({ id, big: '' }),
        write: async (id, input) => ({ ...input, id })
      })
      expect(await things.put(1, { id: 1, big: 'x'.repeat(10_000_000) })).toMatchObject({ cache: 'dropped' })
      expect(await things.get(1)).toEqual({ id: 1, big: '' })
    })

    it('says what a collection was not given', async () => {
      const things = open(where()).collection('things', { ttl: '1h', load: (id: number) => id })
      await expect(things.put(1, 2)).rejects.toThrow(NotWritableError)
      await expect(things.delete(1)).rejects.toThrow(/"remove"/)
    })

    it('reports writes as events and counts', async () => {
      const table = new Table()
      const cache = open(where())
      const seen: unknown[] = []
      cache.on('written', ({ key, outcome }) => seen.push([key, outcome]))
      cache.on('writeFailed', ({ key, error }) => seen.push([key, (error as Error).message]))
      const products = collectionOf(cache, table)
      await products.put(1, row(1, 10))
      table.failing = new Error('no')
      await products.put(1, row(1, 10)).catch(() => undefined)
      expect(seen).toEqual([
        ['shop:products:1', 'published'],
        ['shop:products:1', 'no']
      ])
      expect(cache.stats().total).toMatchObject({ writes: 2, writeFailures: 1 })
    })
  })
}

describe('a write while Redis is full', () => {
  it('is made, and leaves nothing stale (#30)', async () => {
    const table = new Table()
    const products = open({ redis: redis.server.url }).collection('products', {
      ttl: '1h',
      load: table.find,
      write: (id, product) => table.save(id, product)
    })
    await products.put(1, row(1, 10))
    await redis.admin.config('SET', 'maxmemory', '1')
    try {
      expect((await products.put(1, row(1, 20))).cache).not.toBe('published')
      expect((await products.get(1))?.price).toBe(20)
    } finally {
      await redis.admin.config('SET', 'maxmemory', '0')
    }
  })

  it('that overlaps another one still tells it, so that nothing waits to be delivered', async () => {
    const commits = new Map<string, () => void>()
    const cache = open({ redis: redis.server.url })
    const products = cache.collection('products', {
      ttl: '1h',
      load: () => 'old',
      write: (_id: number, product: string) =>
        new Promise<string>((resolve) => commits.set(product, () => resolve(product)))
    })
    await redis.admin.config('SET', 'maxmemory', '1')
    try {
      const puts = ['new', 'newer'].map((product) => [product, products.put(1, product)] as const)
      await until('both are at work', () => commits.size === 2)
      for (const [product, put] of puts) {
        commits.get(product)!()
        expect((await put).cache).toBe('dropped')
      }
      expect(cache.stats().pendingInvalidations).toBe(0)
    } finally {
      await redis.admin.config('SET', 'maxmemory', '0')
    }
  })
})

describe('a write while Redis is away', () => {
  const away = async (
    whenRedisAway?: 'refuse' | 'remember',
    limits: Partial<CacheOptions<'optional'>> = {}
  ) => {
    const private_ = await startRedisServer()
    const table = new Table()
    // As long as a busy machine may take to answer, since what is written and read before must be.
    const commandTimeout = '1s'
    const cache = open({ redis: private_.url, commandTimeout, ...limits })
    const products = cache.collection('products', {
      ttl: '1h',
      failedTtl: 0,
      load: table.find,
      write: (id, product) => table.save(id, product),
      whenRedisAway
    })
    await products.put(1, row(1, 10))
    const other = createCache({ redis: private_.url, namespace: 'shop', commandTimeout })
    const elsewhere = other.collection('products', { ttl: '1h', load: table.find })
    expect((await elsewhere.get(1))?.price).toBe(10)
    const end = async (): Promise<void> => {
      await Promise.all([cache.close({ timeout: 100 }), other.close({ timeout: 100 })])
      await private_.stop()
    }
    return { server: private_, table, cache, products, elsewhere, end }
  }

  it('is refused before the source is changed', async () => {
    const { server: redis, table, products, end } = await away()
    redis.pause()
    await expect(products.put(1, row(1, 20))).rejects.toThrow(RedisUnavailableError)
    expect(table.rows.get(1)?.price).toBe(10)
    redis.resume()
    await end()
  })

  it('is made and remembered, if so wished; Redis is told first thing when it is back (#29)', async () => {
    const { server: redis, table, cache, products, elsewhere, end } = await away('remember')
    redis.pause()
    expect(await products.put(1, row(1, 20))).toEqual({
      value: { id: 1, price: 20, version: 2 },
      cache: 'pending'
    })
    expect(table.rows.get(1)?.price).toBe(20)
    expect(cache.stats().pendingInvalidations).toBe(1)
    expect((await products.get(1))?.price).toBe(20)
    expect(await products.invalidate(2)).toBe('pending')
    redis.resume()
    await until('Redis has been told', () => cache.stats().pendingInvalidations === 0)
    expect((await elsewhere.get(1))?.price).toBe(20)
    expect((await products.get(1))?.price).toBe(20)
    await end()
  })

  it('is never followed by a read of the old value in its own process, not even at the moment Redis is back', async () => {
    const { server: redis, products, end } = await away('remember')
    for (let price = 11; price < 16; price++) {
      redis.pause()
      await products.put(1, row(1, price))
      redis.resume()
      for (let round = 0; round < 50; round++) expect((await products.get(1))?.price).toBe(price)
    }
    await end()
  })

  it('does not publish what it wrote under a guard that was not confirmed: it may be set over a newer row', async () => {
    const { server: redis, table, products, elsewhere, end } = await away('remember')
    redis.pause()
    table.hold()
    const writing = products.put(1, row(1, 20))
    await until('the row is changed', () => table.waiting === 1)
    redis.resume()
    table.rows.set(1, { id: 1, price: 30, version: 3 }) // by a writer of another process, who published already
    table.letGo()
    expect((await writing).cache).toBe('dropped')
    expect((await elsewhere.get(1))?.price).toBe(30)
    await end()
  })

  it('is refused all the same when no more can be remembered', async () => {
    const { server: redis, table, products, end } = await away('remember', { maxPendingInvalidations: 2 })
    redis.pause()
    await products.put(2, row(2, 1))
    await products.put(3, row(3, 1))
    await expect(products.put(4, row(4, 1))).rejects.toThrow(/2 wait for it already/)
    expect(table.rows.has(4)).toBe(false)
    redis.resume()
    await end()
  })

  it('that loses Redis after the commit is done, and says that the cache has still to be told', async () => {
    const { server: redis, table, cache, products, elsewhere, end } = await away()
    table.hold()
    const writing = products.put(1, row(1, 20))
    await until('the row is changed', () => table.waiting === 1)
    redis.pause()
    table.letGo()
    expect(await writing).toMatchObject({ cache: 'pending' })
    redis.resume()
    await until('Redis has been told', () => cache.stats().pendingInvalidations === 0)
    expect((await elsewhere.get(1))?.price).toBe(20)
    await end()
  })
})
