import type { Socket } from 'node:net'
import { Redis } from 'ioredis'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import {
  postgresSink,
  RedisUnavailableError,
  writeBehind,
  type BehindOptions,
  type Cache,
  type Collection,
  type DeadLetter,
  type PostgresSink,
  type RedisInput,
  type Sink
} from '../../src/index.js'
import { startProxy } from '../support/proxy.js'
import { until } from '../support/until.js'
import { startWorld, type World } from './support.js'

let world: World

beforeAll(async () => {
  world = await startWorld()
})
afterAll(() => world?.[Symbol.asyncDispose]())

const TABLES = `
  DROP TABLE IF EXISTS product_views, notes;
  CREATE TABLE product_views (product_id int PRIMARY KEY, views bigint NOT NULL);
  CREATE TABLE notes (shop text NOT NULL DEFAULT '', id text NOT NULL, body text, stars int, PRIMARY KEY (shop, id))`

let sink: PostgresSink
let loads = 0

beforeEach(async () => {
  await world.reset(TABLES)
  sink = postgresSink(world.pool, { table: 'product_views', key: 'product_id', value: 'views' })
  await sink.migrate()
  loads = 0
})

async function rowOf(id: number): Promise<number | undefined> {
  const { rows } = await world.pool.query('SELECT views FROM product_views WHERE product_id = $1', [id])
  return rows[0] && Number(rows[0].views)
}

function views(cache: Cache, options: Partial<BehindOptions> = {}): Collection<number, number> {
  return cache.collection('views', {
    ttl: '1h',
    load: async (id: number) => {
      loads++
      return rowOf(id)
    },
    write: writeBehind({ sink, flushEvery: '50ms', shards: 4, ...options })
  })
}

const keyOf = (id: number): Promise<string> =>
  world.redis.keys(`shop:views:{views.*}:${id}`).then(([key]) => key!)

describe('what is written behind', () => {
  it('is read back at once, by every process, and is in the table after a flush', async () => {
    const [one, other] = [world.open(), world.open()]
    const [mine, theirs] = [views(one), views(other)]
    expect(await mine.put(42, 10)).toEqual({ value: 10, cache: 'accepted' })
    expect(await mine.get(42)).toBe(10)
    expect(await theirs.get(42)).toBe(10)
    expect(await theirs.increment(42, 5)).toBe(15)
    expect(await mine.get(42)).toBe(15)
    expect(await rowOf(42)).toBeUndefined()
    expect(loads).toBe(0)

    other.worker()
    await one.flush()
    expect(await rowOf(42)).toBe(15)
    expect(await mine.get(42)).toBe(15)
    expect(loads).toBe(0)
    expect(await world.redis.pttl(await keyOf(42))).toBeGreaterThan(0)
  })

  it('is read back at once by a process that keeps values in memory, and a moment later by the others', async () => {
    const memory = { maxBytes: 10 * 1024 * 1024 }
    const [one, other] = [world.open({ memory }), world.open({ memory })]
    const [mine, theirs] = [views(one), views(other)]
    await mine.put(42, 0)
    one.worker()
    for (let n = 1; n <= 200; n++) {
      expect(await mine.increment(42)).toBe(n)
      expect(await mine.get(42)).toBe(n)
      if (n % 50 === 0) await one.flush()
      else await theirs.get(42)
    }
    await until('the last is heard of', async () => (await theirs.get(42)) === 200)
    for (let n = 0; n < 5; n++) expect(await theirs.get(42)).toBe(200)
    await mine.delete(42)
    expect(await mine.get(42)).toBeUndefined()
    await until('it is heard of', async () => (await theirs.get(42)) === undefined)
    expect(one.stats().total.memoryHits + other.stats().total.memoryHits).toBeGreaterThan(0)
  })

  it('adds to what the source has when nothing is cached, and loads it once', async () => {
    await world.pool.query('INSERT INTO product_views VALUES (7, 1000)')
    const cache = world.open()
    const mine = views(cache)
    const results = await Promise.all(Array.from({ length: 100 }, () => mine.increment(7)))
    expect(new Set(results).size).toBe(100)
    expect(Math.max(...results)).toBe(1100)
    expect(loads).toBe(1)
    cache.worker()
    await cache.flush()
    expect(await rowOf(7)).toBe(1100)
    expect(await mine.increment(7, 0.5)).toBe(1100.5)
  })

  it('counts what does not exist as 0', async () => {
    const cache = world.open()
    const mine = views(cache)
    expect(await mine.increment(8, 3)).toBe(3)
    cache.worker()
    await cache.flush()
    expect(await rowOf(8)).toBe(3)
  })

  it('keeps the order of one key: put, delete, put, increment', async () => {
    const cache = world.open()
    const mine = views(cache)
    cache.worker()
    await mine.put(1, 5)
    expect(await mine.delete(1)).toEqual({ value: undefined, cache: 'accepted' })
    expect(await mine.get(1)).toBeUndefined()
    await cache.flush()
    expect(await rowOf(1)).toBeUndefined()
    await mine.put(1, 6)
    await mine.increment(1)
    await cache.flush()
    expect(await rowOf(1)).toBe(7)
    await mine.delete(1)
    expect(await mine.increment(1, 2)).toBe(2)
    await cache.flush()
    expect(await rowOf(1)).toBe(2)
    expect(await mine.get(1)).toBe(2)
  })

  it('is not evicted, not dropped and not overtaken before it is in the table (#72, #79)', async () => {
    await world.pool.query('INSERT INTO product_views VALUES (42, 1)')
    const cache = world.open()
    const mine = views(cache)
    await mine.put(42, 10)
    expect(await world.redis.pttl(await keyOf(42))).toBe(-1)
    await mine.invalidate(42)
    await mine.invalidate(42, { soft: true })
    await mine.clear().then((cleaning) => cleaning.finished)
    await cache.clear().then((cleaning) => cleaning.finished)
    expect(await mine.set(42, 99)).toBe(false)
    expect(await mine.refresh(42)).toBe(10)
    expect(await mine.get(42)).toBe(10)
    expect(loads).toBe(0)
    await expect(cache.write([mine.key(42)], async () => undefined)).rejects.toMatchObject({
      code: 'INVALID_OPTION'
    })

    cache.worker()
    await cache.flush()
    // It was declared wrong meanwhile, so it is loaded again.
    expect(await mine.get(42)).toBe(10)
    expect(loads).toBe(1)
  })

  it('is in the entry and in the queue, or, when Redis refuses it, in neither (#73)', async () => {
    const cache = world.open()
    const mine = views(cache)
    await mine.put(42, 10)
    await world.redis.config('SET', 'maxmemory', '1', 'maxmemory-policy', 'noeviction')
    try {
      await expect(mine.put(42, 11)).rejects.toBeInstanceOf(RedisUnavailableError)
      await expect(mine.put(43, 1)).rejects.toBeInstanceOf(RedisUnavailableError)
      await expect(mine.delete(42)).rejects.toBeInstanceOf(RedisUnavailableError)
      expect(await mine.get(42)).toBe(10)
    } finally {
      await world.redis.config('SET', 'maxmemory', '0')
    }
    expect(await mine.get(42)).toBe(10)
    expect(await mine.get(43)).toBeUndefined()
    cache.worker()
    await cache.flush()
    expect(await rowOf(42)).toBe(10)
    expect(await rowOf(43)).toBeUndefined()
  })

  it('is what it was when it was given, whatever its caller makes of it meanwhile', async () => {
    interface Note {
      body: string
    }
    const written = postgresSink<string, Note>(world.pool, { table: 'notes', key: ['id'], columns: ['body'] })
    await world.pool.query('ALTER TABLE notes DROP CONSTRAINT notes_pkey, ADD PRIMARY KEY (id)')
    const cache = world.open()
    const notes = cache.collection<string, Note>('notes', {
      ttl: '1h',
      load: async () => undefined,
      write: writeBehind({ sink: written, shards: 1, limits: { operations: 1 }, whenFull: 'write-through' })
    })
    const note = { body: 'given' }
    const putting = notes.put('behind', note)
    note.body = 'changed'
    expect((await putting).value).toEqual({ body: 'given' })
    expect(await notes.get('behind')).toEqual({ body: 'given' })

    // There is no room for another one.
    const through = notes.put('through', note)
    note.body = 'changed again'
    expect((await through).value).toEqual({ body: 'changed' })
    cache.worker()
    await cache.flush()
    const { rows } = await world.pool.query('SELECT id, body FROM notes ORDER BY id')
    expect(rows).toEqual([
      { id: 'behind', body: 'given' },
      { id: 'through', body: 'changed' }
    ])
    expect(await notes.get('through')).toEqual({ body: 'changed' })
  })

  it('voids a load that began before it', async () => {
    const cache = world.open()
    let release!: () => void
    const held = new Promise<void>((resolve) => {
      release = resolve
    })
    const mine = cache.collection('views', {
      ttl: '1h',
      load: async () => {
        loads++
        await held
        return 1
      },
      write: writeBehind({ sink, shards: 4 })
    })
    const early = mine.get(42)
    await until('it has begun', () => loads === 1)
    await mine.put(42, 10)
    const late = mine.get(42)
    release()
    expect(await late).toBe(10)
    expect(await early).toBe(1)
    expect(await mine.get(42)).toBe(10)
  })

  it('is waited for when its entry was deleted from outside, and never read from the source before that', async () => {
    await world.pool.query('INSERT INTO product_views VALUES (42, 1)')
    const cache = world.open()
    const mine = views(cache)
    await mine.put(42, 10)
    await world.redis.del(await keyOf(42))
    const reading = mine.get(42)
    const adding = mine.increment(42)
    await new Promise((resolve) => setTimeout(resolve, 200))
    expect(loads).toBe(0)
    cache.worker()
    expect(await adding).toBe(11)
    expect([10, 11]).toContain(await reading)
    await cache.flush()
    expect(await rowOf(42)).toBe(11)
  })

  it('loads again what was cleared before it adds to it', async () => {
    const cache = world.open()
    const mine = views(cache)
    cache.worker()
    await mine.increment(42, 5)
    await cache.flush()
    await world.pool.query('UPDATE product_views SET views = 100')
    await mine.clear()
    expect(await mine.increment(42)).toBe(101)
    await cache.flush()
    expect(await rowOf(42)).toBe(101)
  })

  it('lives as long as its ttl from when it was written, not from when it was flushed', async () => {
    const cache = world.open()
    const mine = cache.collection('views', {
      ttl: '300ms',
      jitter: 0,
      load: (id: number) => rowOf(id),
      write: writeBehind({ sink, shards: 1 })
    })
    await mine.put(1, 5)
    await new Promise((resolve) => setTimeout(resolve, 400))
    expect((await mine.lookup(1)).source).toBe('redis')
    cache.worker()
    await cache.flush()
    expect((await mine.lookup(1)).source).toBe('loader')
  })
})

describe('rows with several columns, of several tenants', () => {
  interface Note {
    readonly body: string
    readonly stars: number
  }

  it('go to the rows of their tenants', async () => {
    const cache = world.open()
    const notes = cache.collection('notes', {
      ttl: '1h',
      load: (): Note | undefined => undefined,
      write: writeBehind({
        sink: postgresSink(world.pool, {
          table: 'notes',
          key: 'id',
          columns: ['body', 'stars'],
          tenant: 'shop'
        })
      })
    })
    const acme = notes.tenant('acme')
    await Promise.all([
      notes.put('a', { body: 'of nobody', stars: 1 }),
      acme.put('a', { body: "acme's", stars: 2 }),
      notes.tenant('other').put('a', { body: 'gone', stars: 3 })
    ])
    await notes.tenant('other').delete('a')
    await expect(acme.increment('a')).rejects.toMatchObject({ code: 'SINK_REFUSES' })
    cache.worker()
    await cache.flush()
    const { rows } = await world.pool.query('SELECT shop, id, body, stars FROM notes ORDER BY shop')
    expect(rows).toEqual([
      { shop: '', id: 'a', body: 'of nobody', stars: 1 },
      { shop: 'acme', id: 'a', body: "acme's", stars: 2 }
    ])
  })

  it('are counted also for a tenant that has used up its budget, without a load for each look', async () => {
    await world.reset(`DROP TABLE IF EXISTS stars;
      CREATE TABLE stars (shop text, id text, n bigint, PRIMARY KEY (shop, id));
      INSERT INTO stars VALUES ('acme', 'a', 100)`)
    const ofTenants = postgresSink<string, number>(world.pool, {
      table: 'stars',
      key: 'id',
      value: 'n',
      tenant: 'shop'
    })
    await ofTenants.migrate()
    const cache = world.open({ tenantBudget: { maxBytes: 1 } })
    const stars = cache
      .collection<string, number>('stars', {
        ttl: '1h',
        load: async (id, { tenant }) => {
          loads++
          const { rows } = await world.pool.query('SELECT n FROM stars WHERE shop = $1 AND id = $2', [
            tenant,
            id
          ])
          return rows[0] && Number(rows[0].n)
        },
        write: writeBehind({ sink: ofTenants, shards: 1 })
      })
      .tenant('acme')
    // Refused, and that is noted in the place of the value.
    expect([await stars.get('a'), await stars.peek('a')]).toEqual([100, undefined])
    expect(await stars.increment('a', 5)).toBe(105)
    expect(await stars.increment('a', 5)).toBe(110)
    expect(await stars.increment('b')).toBe(1)
    // One for each call; a few more where this machine is slow, and not hundreds.
    expect(loads).toBeLessThan(10)
    cache.worker()
    await cache.flush()
    const { rows } = await world.pool.query("SELECT id, n FROM stars WHERE shop = 'acme' ORDER BY id")
    expect(rows).toEqual([
      { id: 'a', n: '110' },
      { id: 'b', n: '1' }
    ])
  })

  it('are brought to their table also by a worker that would accept no value of their size', async () => {
    const body = 'x'.repeat(200_000)
    const [accepting, working] = [world.open(), world.open({ maxValueBytes: 100_000 })]
    const [mine] = [accepting, working].map((cache) =>
      cache.collection<string, Note>('notes', {
        ttl: '1h',
        load: async () => undefined,
        write: writeBehind({
          sink: postgresSink<string, Note>(world.pool, {
            table: 'notes',
            key: 'id',
            columns: ['body', 'stars'],
            tenant: 'shop'
          }),
          shards: 1
        })
      })
    )
    await mine!.put('a', { body, stars: 1 })
    working.worker()
    await accepting.flush()
    const { rows } = await world.pool.query('SELECT body FROM notes')
    expect(rows).toEqual([{ body }])
    expect(await accepting.deadLetters.list()).toEqual([])
  })

  it('are refused by a sink without a column for them', async () => {
    const mine = views(world.open())
    await expect(mine.tenant('acme').put(1, 1)).rejects.toMatchObject({ code: 'SINK_REFUSES' })
  })
})

describe('a put that the table can never hold', () => {
  it('is put aside, and its entry with it', async () => {
    const cache = world.open()
    const mine = views(cache, { shards: 1 })
    await Promise.all([mine.put(1, 1), mine.put(2, 2.5), mine.put(3, 3)])
    expect(await mine.get(2)).toBe(2.5)
    cache.worker()
    await cache.flush()
    expect([await rowOf(1), await rowOf(2), await rowOf(3)]).toEqual([1, undefined, 3])
    expect(await mine.get(2)).toBeUndefined()
    const [letter] = await cache.deadLetters.list('views')
    expect(letter).toMatchObject({ kind: 'put', id: 2, value: 2.5, code: '22P02' })
    await world.pool.query('ALTER TABLE product_views ALTER views TYPE numeric')
    expect(await cache.deadLetters.replay(letter!)).toBe(1)
    await cache.flush()
    expect(await rowOf(2)).toBe(2.5)
    expect(await mine.get(2)).toBe(2.5)
  })
})

describe('an increment that the table can never hold', () => {
  it('is put aside, and goes out of the number, also when others were added meanwhile', async () => {
    let meanwhile: (() => Promise<unknown>) | undefined
    const slow: Sink = {
      name: sink.name,
      kinds: sink.kinds,
      check: () => sink.check(),
      take: (shard) => sink.take(shard),
      isPoison: (error) => sink.isPoison(error),
      apply: async (batch) => {
        try {
          return await sink.apply(batch)
        } catch (error) {
          await meanwhile?.()
          meanwhile = undefined
          throw error
        }
      }
    }
    const cache = world.open()
    const mine = views(cache, { sink: slow, shards: 1 })
    expect(await mine.increment(1, 2.5)).toBe(2.5)
    meanwhile = () => mine.increment(1, 10)
    cache.worker()
    await cache.flush()
    // Its turn comes with the next batch.
    await cache.flush()
    expect(await rowOf(1)).toBe(10)
    expect(await mine.get(1)).toBe(10)
    expect(await mine.increment(1)).toBe(11)
    expect(await cache.deadLetters.list('views')).toHaveLength(1)
  })
})

/** Fails for good where nothing is to be applied: what is poison is put aside then, and its mark is to be stored. */
function unnoted(failing: () => boolean): Sink {
  return {
    name: sink.name,
    kinds: sink.kinds,
    check: () => sink.check(),
    take: (shard) => sink.take(shard),
    isPoison: (error) => sink.isPoison(error),
    apply: (batch) => {
      if (batch.operations.length === 0 && failing()) return Promise.reject(new Error('connection lost'))
      return sink.apply(batch)
    }
  }
}

describe('an increment that was put aside by a worker that did not live to note it', () => {
  it('is no dead letter any more once it can be applied', async () => {
    let isDown = true
    const cache = world.open()
    const mine = views(cache, { sink: unnoted(() => isDown), shards: 1 })
    await mine.increment(1, 2.5)
    cache.worker()
    await until('it is put aside', async () => (await cache.deadLetters.list('views')).length === 1)
    await world.pool.query('ALTER TABLE product_views ALTER views TYPE numeric')
    isDown = false
    await cache.flush()
    expect(await rowOf(1)).toBe(2.5)
    expect(await cache.deadLetters.list('views')).toEqual([])
  })

  it('is sent again only after it has left the queue', async () => {
    let isDown = true
    const cache = world.open()
    const mine = views(cache, { sink: unnoted(() => isDown), shards: 1 })
    await mine.increment(1, 2.5)
    cache.worker()
    let letters: DeadLetter[] = []
    await until('it is put aside', async () => {
      letters = await cache.deadLetters.list('views')
      return letters.length === 1
    })
    const replaying = cache.deadLetters.replay(letters)
    await world.pool.query('ALTER TABLE product_views ALTER views TYPE numeric')
    isDown = false
    expect(await replaying).toBe(0)
    await cache.flush()
    expect(await rowOf(1)).toBe(2.5)
  })
})

describe('an increment that was put aside by the successor of a worker', () => {
  it('stays aside, also when what the other one sent before arrives late', async () => {
    const proxy = await startProxy(world.redisServer.port)
    // As ioredis comes: what was not answered is sent again over the next connection.
    const driver = new Redis(`redis://127.0.0.1:${proxy.port}`, { maxRetriesPerRequest: null })
    driver.on('error', () => undefined)
    const late = world.open({ redis: driver as unknown as RedisInput, commandTimeout: '400ms' })
    try {
      const mine = views(late, { sink: unnoted(() => true), shards: 1 })
      await mine.increment(1, 2.5)
      const { stream } = driver as unknown as { stream: Socket }
      const write = stream.write.bind(stream)
      let isLost = false
      let letter: string | undefined
      // To try it once more it is no letter for now. That is on its way, and arrives nowhere.
      stream.write = (data: string | Buffer, ...rest: never[]) => {
        const text = String(data)
        if (letter !== undefined && text.includes(letter) && !text.includes('"reason"')) {
          letter = undefined
          isLost = true
          proxy.swallow('to-server')
        }
        return write(data, ...rest)
      }
      late.worker({ lease: '300ms' })
      await until('it is put aside', async () => {
        ;[letter] = await world.redis.hkeys('shop:#behind:{views.0}:letters')
        return letter !== undefined
      })
      await until('it is tried once more', () => isLost)

      const other = world.open()
      views(other, { shards: 1 })
      other.worker({ lease: '300ms' })
      await other.flush()
      expect(await other.deadLetters.list()).toHaveLength(1)
      proxy.reset()
      // What was not answered goes before it.
      await driver.ping()
      expect(await other.deadLetters.list()).toHaveLength(1)
    } finally {
      await late.close({ timeout: '1s' })
      driver.disconnect()
      await proxy.stop()
    }
  })
})

describe('an increment that a worker would put aside whose shard has another one by then', () => {
  it('is no dead letter when that one has applied it', async () => {
    let goOn: (() => void) | undefined
    const stopped: Sink = {
      name: sink.name,
      kinds: sink.kinds,
      check: () => sink.check(),
      take: (shard) => sink.take(shard),
      isPoison: (error) => sink.isPoison(error),
      apply: (batch) =>
        sink.apply(batch).catch(async (error: unknown) => {
          await new Promise<void>((resolve) => (goOn = resolve))
          throw error
        })
    }
    const [one, other] = [world.open(), world.open()]
    await views(one, { sink: stopped, shards: 1 }).increment(1, 2.5)
    const left = new Promise((resolve) => one.on('shardLeft', resolve))
    const worker = one.worker({ lease: '300ms' })
    await until('the table has refused it', () => goOn !== undefined)
    await worker.stop({ drain: 0 })
    await world.pool.query('ALTER TABLE product_views ALTER views TYPE numeric')
    views(other, { shards: 1 })
    other.worker({ lease: '300ms' })
    await until('it is in the table', async () => (await rowOf(1)) === 2.5)
    await other.flush()
    goOn!()
    await left
    expect(await other.deadLetters.list()).toEqual([])
  })
})

describe('a full shard', () => {
  it('refuses when it is told to', async () => {
    const mine = views(world.open(), { shards: 1, limits: { operations: 3 }, whenFull: 'refuse' })
    for (const id of [1, 2, 3]) await mine.put(id, id)
    await expect(mine.put(4, 4)).rejects.toMatchObject({ code: 'BACKLOG_FULL', operations: 3 })
    expect(await mine.get(4)).toBeUndefined()
  })

  it('lets writes wait for room, and lets them go when there is some', async () => {
    const cache = world.open()
    const mine = views(cache, { shards: 1, limits: { operations: 3 } })
    for (const id of [1, 2, 3]) await mine.put(id, id)
    let isDone = false
    const waiting = mine.put(4, 4).then(() => {
      isDone = true
    })
    await new Promise((resolve) => setTimeout(resolve, 200))
    expect(isDone).toBe(false)
    cache.worker()
    await waiting
    await cache.flush()
    expect(await rowOf(4)).toBe(4)
  })

  it('lets writes through to the table, but not past what waits for the same row', async () => {
    const cache = world.open()
    const mine = views(cache, { shards: 1, limits: { operations: 2 }, whenFull: 'write-through' })
    await mine.put(1, 1)
    await mine.put(2, 2)
    await mine.put(3, 30)
    expect(await rowOf(3)).toBe(30)
    expect(await mine.get(3)).toBe(30)
    expect(await mine.increment(3, 2)).toBe(32)
    expect(await rowOf(3)).toBe(32)

    const behind = mine.put(1, 100)
    await new Promise((resolve) => setTimeout(resolve, 150))
    expect(await rowOf(1)).toBeUndefined()
    cache.worker()
    await behind
    await cache.flush()
    expect(await rowOf(1)).toBe(100)
  })

  it('lets nothing past what waits for a row whose entry was deleted from outside', async () => {
    const cache = world.open()
    const mine = views(cache, { shards: 1, limits: { operations: 2 }, whenFull: 'write-through' })
    await mine.put(1, 1)
    await mine.put(2, 2)
    await world.redis.unlink(await keyOf(1))
    expect(await mine.set(1, 50)).toBe(false)
    const behind = mine.put(1, 100)
    const full = new Promise((resolve) => cache.on('writeFailed', resolve))
    await Promise.race([full, behind])
    expect(await rowOf(1)).toBeUndefined()
    cache.worker()
    await behind
    await cache.flush()
    expect(await rowOf(1)).toBe(100)
    expect(await mine.get(1)).toBe(100)
  })

  it('waits for a write through of the same row by another process, and is not lost to one whose guard was', async () => {
    const mine = views(world.open(), { shards: 1, limits: { operations: 2 }, whenFull: 'write-through' })
    const cache = world.open()
    const theirs = views(cache, { shards: 1 })
    await mine.put(1, 1)
    await mine.put(2, 2)
    for (const isGuardLost of [false, true]) {
      const lock = await world.pool.connect()
      let through: Promise<unknown> | undefined
      let behind: Promise<unknown> | undefined
      let isAccepted = false
      try {
        await lock.query('BEGIN; LOCK TABLE product_views')
        through = mine.put(3, 30)
        await until('its guard stands', async () => (await keyOf(3)) !== undefined)
        if (isGuardLost) await world.redis.unlink(await keyOf(3))
        behind = theirs.put(3, 31).then(() => (isAccepted = true))
        // Of the same batch, so what became of the other one is known with it.
        await theirs.put(4, 4)
        expect(isAccepted).toBe(isGuardLost)
      } finally {
        // With its connection the lock is gone.
        lock.release(true)
      }
      await through
      await behind
      expect(await world.redis.exists(await keyOf(3))).toBe(1)
      expect(await theirs.get(3)).toBe(31)
      const worker = cache.worker()
      await cache.flush()
      await worker.stop()
      expect(await rowOf(3)).toBe(31)
      await world.redis.unlink(await keyOf(3))
      await mine.put(1, 1)
      await mine.put(2, 2)
    }
  })

  it('says that it does not know when the database does not answer what was written through', async () => {
    const silent: Sink = {
      name: sink.name,
      kinds: sink.kinds,
      check: () => sink.check(),
      take: (shard) => sink.take(shard),
      apply: (batch) => sink.apply(batch),
      isPoison: (error) => sink.isPoison(error),
      write: async (operation) => {
        await sink.write!(operation)
        throw new Error('Connection terminated unexpectedly')
      }
    }
    const options = { sink: silent, shards: 1, limits: { operations: 1 }, whenFull: 'write-through' } as const
    const mine = views(world.open(), options)
    await mine.put(1, 1)
    await expect(mine.increment(2)).rejects.toMatchObject({ code: 'WRITE_UNKNOWN' })
    expect(await rowOf(2)).toBe(1)
    expect(await mine.get(2)).toBe(1)
  })

  it('is full by age as well', async () => {
    const mine = views(world.open(), { shards: 1, limits: { age: '1m' }, whenFull: 'refuse' })
    await mine.put(1, 1)
    await mine.put(1, 2)
    // As it is a minute later.
    await world.redis.hincrby('shop:#behind:{views.0}:state', 'oldest', -60_000)
    await expect(mine.put(1, 3)).rejects.toMatchObject({ code: 'BACKLOG_FULL' })
  })
})

describe('a server that cannot keep what is promised', () => {
  it('is refused with what to change (#70)', async () => {
    await world.redis.config('SET', 'maxmemory-policy', 'allkeys-lru')
    try {
      const refused = await views(world.open())
        .put(1, 1)
        .catch((error: unknown) => error)
      expect(refused).toMatchObject({ code: 'DURABILITY_UNMET' })
      expect(String(refused)).toContain('CONFIG SET maxmemory-policy noeviction')
    } finally {
      await world.redis.config('SET', 'maxmemory-policy', 'noeviction')
    }
    await expect(views(world.open(), { durability: 'fsync' }).put(1, 1)).rejects.toThrow('appendonly is no')
    await expect(views(world.open(), { durability: 'replicated' }).put(1, 1)).rejects.toThrow('no replica')
  })

  it('is refused with another number of shards', async () => {
    await views(world.open(), { shards: 4 }).put(1, 1)
    await expect(views(world.open(), { shards: 5 }).put(1, 1)).rejects.toMatchObject({
      code: 'SHARDS_DIFFER'
    })
  })
})
