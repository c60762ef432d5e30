import { Redis } from 'ioredis'
import pg from 'pg'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import {
  createCache,
  postgresSink,
  type Cache,
  type CacheEvents,
  type PostgresSink
} from '../../src/index.js'
import { startPostgresServer, type PostgresServer } from '../support/postgres-server.js'
import { startRedisServer, type RedisServer } from '../support/redis-server.js'
import { until } from '../support/until.js'

let redisServer: RedisServer
let postgresServer: PostgresServer
let redis: Redis
let pool: pg.Pool

beforeAll(async () => {
  ;[redisServer, postgresServer] = await Promise.all([
    startRedisServer(),
    startPostgresServer({ durable: false })
  ])
  redis = new Redis(redisServer.url)
  pool = new pg.Pool({ connectionString: postgresServer.url })
})

afterAll(async () => {
  redis?.disconnect()
  await pool?.end()
  await Promise.all([redisServer?.stop(), postgresServer?.stop()])
})

interface View {
  readonly path: string
  readonly ms: number
  readonly at: Date
}

let opened: Cache[] = []
let sink: PostgresSink<never, View>

beforeEach(async () => {
  await redis.flushall()
  await pool.query('DROP TABLE IF EXISTS page_views, corral_shards, corral_marks')
  await pool.query('CREATE TABLE page_views (path text, ms int CHECK (ms >= 0), at timestamptz)')
  sink = postgresSink<never, View>(pool, { table: 'page_views', columns: ['path', 'ms', 'at'] })
  await sink.migrate()
})

afterEach(async () => {
  await Promise.all(opened.map((cache) => cache.close()))
  opened = []
})

function open(): Cache {
  const cache = createCache({ redis: redisServer.url, namespace: 'shop', commandTimeout: '1s' })
  opened.push(cache)
  return cache
}

const at = new Date('2026-01-02T03:04:05.678Z')
const count = async (): Promise<number> =>
  Number((await pool.query('SELECT count(*) FROM page_views')).rows[0].count)

describe('events on their way to a table', () => {
  it('are what they were when they were given, also when there is no room for them', async () => {
    const limits = { operations: 1 }
    const options = { sink, shards: 1, limits, whenFull: 'write-through' } as const
    const views = open().ingest<View>('page_views', options)
    await views.append({ path: '/waits', ms: 1, at })
    const event = { path: '/given', ms: 2, at }
    const appending = views.append(event)
    event.path = '/changed'
    await appending
    const { rows } = await pool.query('SELECT path FROM page_views')
    expect(rows).toEqual([{ path: '/given' }])
  })

  it('are all brought there by a flush, however many batches that takes', async () => {
    const cache = open()
    const views = cache.ingest<View>('page_views', { sink, flushEvery: '1h', maxBatch: 10, shards: 1 })
    for (let ms = 0; ms < 25; ms++) await views.append({ path: '/', ms, at })
    const flushed = cache.flush({ timeout: '20s' })
    cache.worker()
    await flushed
    expect(await count()).toBe(25)
  })

  it('arrive once each, with their types, when they are flushed', async () => {
    const cache = open()
    const views = cache.ingest<View>('page_views', { sink, flushEvery: '100ms' })
    cache.worker()
    await Promise.all(Array.from({ length: 500 }, (_, n) => views.append({ path: `/${n}`, ms: n, at })))
    await cache.flush()
    expect(await count()).toBe(500)
    const { rows } = await pool.query("SELECT * FROM page_views WHERE path = '/7'")
    expect(rows).toEqual([{ path: '/7', ms: 7, at }])
    expect(cache.stats().behind['page_views']).toMatchObject({ accepted: 500, flushed: 500, rows: 500 })
  })

  it('are in the table within flushEvery, without anybody asking', async () => {
    const cache = open()
    const views = cache.ingest<View>('page_views', { sink, flushEvery: '300ms', shards: 1 })
    cache.worker()
    await views.append({ path: '/', ms: 1, at })
    await until('it is in the table', async () => (await count()) === 1)
  })

  it('wait in Redis for a worker of another process, and leave nothing behind', async () => {
    const producer = open()
    const views = producer.ingest<View>('page_views', { sink, shards: 2 })
    await Promise.all([1, 2, 3].map((ms) => views.append({ path: '/', ms, at })))
    await expect(producer.flush({ timeout: '300ms' })).rejects.toMatchObject({ code: 'NOT_FLUSHED' })
    expect(await count()).toBe(0)

    const other = open()
    other.ingest<View>('page_views', { sink, shards: 2 })
    other.worker()
    await producer.flush()
    expect(await count()).toBe(3)
    expect(await redis.xlen('shop:#behind:{page_views.0}:stream')).toBe(0)
    expect(await redis.xlen('shop:#behind:{page_views.1}:stream')).toBe(0)
  })

  it('that no column can hold are put aside, and delay nothing else (#66)', async () => {
    const cache = open()
    const letters: CacheEvents['deadLettered'][] = []
    cache.on('deadLettered', (fact) => letters.push(fact))
    const views = cache.ingest<View>('page_views', { sink, flushEvery: '100ms', shards: 1 })
    const poison = { path: '/bad', ms: -1, at }
    await Promise.all(
      Array.from({ length: 1000 }, (_, n) => views.append(n === 617 ? poison : { path: '/', ms: n, at }))
    )
    cache.worker()
    await cache.flush()
    expect(await count()).toBe(999)
    expect(letters).toHaveLength(1)
    expect(letters[0]!.reason).toContain('page_views_ms_check')

    const [letter] = await cache.deadLetters.list('page_views')
    expect(letter).toMatchObject({ queue: 'page_views', kind: 'append', value: poison, code: '23514' })
    expect(letters[0]!.letter).toBe(letter!.letter)
    await pool.query('ALTER TABLE page_views DROP CONSTRAINT page_views_ms_check')
    expect(await cache.deadLetters.replay(letter!)).toBe(1)
    expect(await cache.deadLetters.replay(letter!)).toBe(0)
    await cache.flush()
    expect(await count()).toBe(1000)
    expect(await cache.deadLetters.list()).toEqual([])
  })

  it('that were put aside by the thousand are sent again without reading all of them for each', async () => {
    const cache = open()
    const views = cache.ingest<View>('page_views', { sink, flushEvery: '50ms', shards: 1 })
    const path = 'x'.repeat(5_000)
    await Promise.all(Array.from({ length: 120 }, (_, n) => views.append({ path, ms: -n - 1, at })))
    cache.worker()
    await cache.flush()
    const letters = await cache.deadLetters.list('page_views')
    expect(letters).toHaveLength(120)
    await pool.query('ALTER TABLE page_views DROP CONSTRAINT page_views_ms_check')
    const sent = async (): Promise<number> =>
      Number(/total_net_output_bytes:(\d+)/.exec(await redis.info('stats'))![1])
    const before = await sent()
    // Twice each, as when two lists are put together.
    expect(await cache.deadLetters.replay([...letters, ...letters])).toBe(120)
    // Each is read here once, and by the worker once, or twice at the border of a batch; not 120 times.
    expect((await sent()) - before).toBeLessThan(10 * 120 * 5_000)
    await cache.flush()
    expect(await count()).toBe(120)
    expect(await cache.deadLetters.list()).toEqual([])
  })

  it('are known by their producers for an hour, and those are not looked through at every flush', async () => {
    const cache = open()
    const views = cache.ingest<View>('page_views', { sink, flushEvery: '50ms', shards: 1 })
    const producers = 'shop:#behind:{page_views.0}:producers'
    const gone = Object.fromEntries(Array.from({ length: 300 }, (_, n) => [`gone${n}`, '1 1 0-0 0']))
    cache.worker()
    for (const [known, left] of [
      ['gone', 1],
      ['lately', 301]
    ] as const) {
      await redis.hset(producers, gone)
      await views.append({ path: known, ms: 1, at })
      await cache.flush()
      expect(await redis.hlen(producers)).toBe(left)
    }
  })

  it('of a later version of this library, in a layout of its own, wait for a worker that knows it', async () => {
    const cache = open()
    const views = cache.ingest<View>('page_views', { sink, flushEvery: '50ms', shards: 1 })
    await views.append({ path: '/later', ms: 1, at })
    const stream = 'shop:#behind:{page_views.0}:stream'
    const [[id, fields]] = (await redis.xrangeBuffer(stream, '-', '+')) as [[Buffer, Buffer[]]]
    const record = fields[fields.findIndex((field) => field.toString() === 'o') + 1]!
    // Behind its length, its number and its kind, and no id, no tenant and no key.
    const flagsAt = 4 + 2 + 1 + 2 + 2 + 2
    const layOut = async (layout: number): Promise<void> => {
      record[flagsAt] = layout << 2
      await redis
        .multi()
        .del(stream)
        .xadd(stream, id, ...fields)
        .exec()
    }
    await layOut(1)
    const failed = new Promise((resolve) => cache.on('flushFailed', ({ error }) => resolve(error)))
    cache.worker()
    expect(String(await failed)).toContain('waits for a worker of that version')
    expect(await cache.deadLetters.list()).toEqual([])
    await layOut(0)
    await cache.flush()
    expect(await count()).toBe(1)
  })

  it('that were damaged in Redis are put aside, and block nothing', async () => {
    const cache = open()
    const views = cache.ingest<View>('page_views', { sink, flushEvery: '50ms', shards: 1 })
    await views.append({ path: '/damaged', ms: 1, at })
    const stream = 'shop:#behind:{page_views.0}:stream'
    const [[id, fields]] = (await redis.xrangeBuffer(stream, '-', '+')) as [[Buffer, Buffer[]]]
    const records = fields[fields.findIndex((field) => field.toString() === 'o') + 1]!
    records.fill(0xff, records.length - 20)
    await redis.del(stream)
    await redis.xadd(stream, id, ...fields)
    await views.append({ path: '/whole', ms: 2, at })
    cache.worker()
    await cache.flush()
    expect((await pool.query('SELECT path FROM page_views')).rows).toEqual([{ path: '/whole' }])
    expect(await cache.deadLetters.list()).toMatchObject([{ kind: 'append', value: undefined }])
  })

  it('that were put aside can be dropped', async () => {
    const cache = open()
    const views = cache.ingest<View>('page_views', { sink, flushEvery: '50ms', shards: 1 })
    cache.worker()
    await views.append({ path: '/bad', ms: -1, at })
    await cache.flush()
    const letters = await cache.deadLetters.list()
    expect(await cache.deadLetters.drop(letters)).toBe(1)
    expect(await cache.deadLetters.list()).toEqual([])
    expect(await count()).toBe(0)
  })
})

describe('a sink whose tables are missing', () => {
  it('says so with the statements that make them', async () => {
    await pool.query('DROP TABLE corral_shards')
    const cache = open()
    cache.ingest<View>('page_views', { sink })
    await expect(cache.worker().ready()).rejects.toMatchObject({
      code: 'SINK_NOT_READY',
      message: expect.stringContaining('CREATE TABLE IF NOT EXISTS corral_shards') as string
    })
  })

  it('keeps what was accepted until they are there', async () => {
    await pool.query('DROP TABLE corral_shards, corral_marks')
    const cache = open()
    const views = cache.ingest<View>('page_views', { sink, flushEvery: '50ms', shards: 1 })
    const failures: CacheEvents['flushFailed'][] = []
    cache.on('flushFailed', (fact) => failures.push(fact))
    cache.worker()
    await views.append({ path: '/', ms: 1, at })
    await until('a worker has tried', () => failures.length > 0)
    await sink.migrate()
    await cache.flush()
    expect(await count()).toBe(1)
  })

  it('names the column that the table does not have', async () => {
    const wrong = postgresSink<never, View>(pool, { table: 'page_views', columns: ['path', 'duration'] })
    await expect(wrong.check()).rejects.toThrow('table "page_views" has no column "duration"')
  })
})

describe('a producer whose reply is lost', () => {
  it('is known by the number of its batch (#62)', async () => {
    const cache = open()
    const views = cache.ingest<View>('page_views', { sink, shards: 1, flushEvery: '50ms' })
    await views.append({ path: '/', ms: 1, at })
    // What changes something is held back until its sender has given up waiting.
    await redis.client('PAUSE', 60_000, 'WRITE')
    const failed = new Promise((resolve) => cache.on('redisFailed', resolve))
    const appending = views.append({ path: '/', ms: 2, at })
    await failed
    await redis.client('UNPAUSE')
    await appending
    cache.worker()
    await cache.flush()
    expect(await count()).toBe(2)
    expect(cache.stats().behind['page_views']!.retriedAppends).toBeGreaterThan(0)
  })
})
