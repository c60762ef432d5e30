/**
 * How fast are writes acknowledged, and how fast do they reach the database?
 *
 *     npx tsx benchmarks/write-behind.ts [--quick]
 *
 * In this process, beside a Redis and a PostgreSQL that wait for the disk as they do by default. Corral's worker is a
 * process of its own.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import pg from 'pg'
import { createCache, postgresSink, writeBehind, type Cache, type Collection, type Ingest } from 'corral'
import { startPostgresServer } from '../test/support/postgres-server.js'
import { startWorker, type WorkerProcess } from '../test/support/processes.js'
import { startRedisServer } from '../test/support/redis-server.js'
import type { SinkWorker } from './contenders/sink-worker.js'
import { keep } from './keep.js'
import { barsOf, tablesMarkdown, type WriteBehindResult } from './reports/write-behind.js'
import { circumstances } from './support/machine.js'
import { optionsOf } from './support/options.js'
import { startProgress } from './support/progress.js'
import { RedisMeter } from './support/redis-facts.js'
import { spreadOf } from './support/statistics.js'
import { inTurns } from './support/versus.js'

const { quick } = optionsOf({})

const IN_FLIGHT = 2_000
const KEYS = 10_000
const ROUNDS = quick ? 1 : 3
const ACKNOWLEDGED_MS = quick ? 700 : 2_000
const EVENTS = quick ? 20_000 : 100_000
const SINGLE_ROWS = quick ? 1_000 : 4_000
const BATCH = 1_000

await using redisServer = await startRedisServer({
  args: ['--appendonly', 'yes', '--appendfsync', 'everysec']
})
await using postgres = await startPostgresServer()
const redis = new Redis(redisServer.url, { enableAutoPipelining: true })
const pool = new pg.Pool({ connectionString: postgres.url, max: 10 })
const meter = new RedisMeter(redisServer.url)

await pool.query(`
  CREATE TABLE events (id text NOT NULL, at timestamptz NOT NULL, path text NOT NULL);
  CREATE TABLE counters (id int PRIMARY KEY, n bigint NOT NULL)`)
await postgresSink(pool, { table: 'events', columns: ['id', 'at', 'path'] }).migrate()

interface Event {
  readonly id: string
  readonly at: Date
  readonly path: string
}

const eventOf = (n: number): Event => ({
  id: `event-${n}`,
  at: new Date(),
  path: `/products/${n % 1_000}?from=home`
})

/** So many a second, with `IN_FLIGHT` callers of which each waits for its own. */
async function acknowledged(work: (n: number) => Promise<unknown>): Promise<number> {
  let [done, isOver] = [0, false]
  const callers = Array.from({ length: IN_FLIGHT }, async (_, caller) => {
    for (let n = caller; !isOver; n += IN_FLIGHT) {
      await work(n)
      done++
    }
  })
  await sleep(300)
  const [doneBefore, startedAt] = [done, performance.now()]
  await sleep(ACKNOWLEDGED_MS)
  const perSecond = ((done - doneBefore) / (performance.now() - startedAt)) * 1_000
  isOver = true
  await Promise.all(callers)
  return Math.round(perSecond)
}

async function withCache<T>(work: (cache: Cache) => Promise<T>): Promise<T> {
  const cache = createCache({ redis: redisServer.url, namespace: 'bench', commandTimeout: '5s' })
  try {
    return await work(cache)
  } finally {
    await cache.close({ timeout: 0 })
    await redis.flushall()
  }
}

function countersOf(cache: Cache): Collection<number, number> {
  return cache.collection('counters', {
    ttl: '1h',
    load: () => 0,
    write: writeBehind({ sink: postgresSink(pool, { table: 'counters', key: 'id', value: 'n' }) })
  })
}

function eventsOf(cache: Cache): Ingest<Event> {
  return cache.ingest<Event>('events', {
    sink: postgresSink(pool, { table: 'events', columns: ['id', 'at', 'path'] })
  })
}

const accepting: Record<string, () => Promise<number>> = {
  'Corral, increments': () =>
    withCache(async (cache) => {
      const counters = countersOf(cache)
      for (let id = 0; id < KEYS; id += 1_000) {
        await Promise.all(Array.from({ length: 1_000 }, (_, n) => counters.increment(id + n)))
      }
      return acknowledged((n) => counters.increment((n * 7919) % KEYS))
    }),
  'Corral, events': () =>
    withCache(async (cache) => {
      const events = eventsOf(cache)
      return acknowledged((n) => events.append(eventOf(n)))
    }),
  'XADD, pipelined': async () => {
    const perSecond = await acknowledged((n) =>
      redis.xadd('raw', '*', 'k', String((n * 7919) % KEYS), 'by', '1')
    )
    await redis.flushall()
    return perSecond
  },
  'INCRBY, pipelined': async () => {
    const perSecond = await acknowledged((n) => redis.incrby(`raw:${(n * 7919) % KEYS}`, 1))
    await redis.flushall()
    return perSecond
  }
}

/** Events a second until the last one is in the table. */
const arriving: Record<string, () => Promise<number>> = {
  'INSERT, one row after the other': () => singleRows(1),
  'INSERT, one row each, 10 at once': () => singleRows(10),
  'INSERT … unnest, by hand': async () => {
    const startedAt = performance.now()
    for (let from = 0; from < EVENTS; from += BATCH) {
      const batch = Array.from({ length: BATCH }, (_, n) => eventOf(from + n))
      await pool.query({
        name: 'by-hand',
        text: 'INSERT INTO events SELECT * FROM unnest($1::text[], $2::timestamptz[], $3::text[])',
        values: [batch.map(({ id }) => id), batch.map(({ at }) => at), batch.map(({ path }) => path)]
      })
    }
    return perSecondSince(startedAt, EVENTS)
  },
  Corral: () =>
    withCache(async (cache) => {
      const events = eventsOf(cache)
      const worker = await startSinkWorker()
      try {
        const startedAt = performance.now()
        let next = 0
        const one = async (): Promise<void> => {
          for (let n = next++; n < EVENTS; n = next++) await events.append(eventOf(n))
        }
        await Promise.all(Array.from({ length: IN_FLIGHT }, one))
        await cache.flush({ timeout: '60s' })
        const perSecond = perSecondSince(startedAt, EVENTS)
        const { rows } = await pool.query('SELECT count(DISTINCT id) AS ids, count(*) AS all FROM events')
        if (Number(rows[0].ids) !== EVENTS || Number(rows[0].all) !== EVENTS)
          throw new Error('The totals differ')
        return perSecond
      } finally {
        await worker.kill()
      }
    })
}

async function singleRows(atOnce: number): Promise<number> {
  const startedAt = performance.now()
  let next = 0
  const one = async (): Promise<void> => {
    for (let n = next++; n < SINGLE_ROWS; n = next++) {
      const { id, at, path } = eventOf(n)
      await pool.query('INSERT INTO events VALUES ($1, $2, $3)', [id, at, path])
    }
  }
  await Promise.all(Array.from({ length: atOnce }, one))
  return perSecondSince(startedAt, SINGLE_ROWS)
}

function perSecondSince(startedAt: number, count: number): number {
  return Math.round((count / (performance.now() - startedAt)) * 1_000)
}

async function startSinkWorker(): Promise<WorkerProcess<SinkWorker>> {
  const worker = await startWorker<SinkWorker>(new URL('contenders/sink-worker.ts', import.meta.url))
  await worker.call('open', redisServer.url, postgres.url)
  return worker
}

const progress = startProgress(ROUNDS * (Object.keys(accepting).length + Object.keys(arriving).length))
const accepted = await inTurns(ROUNDS, Object.keys(accepting), async (name, round) => {
  progress.step(`${name}, ${round + 1}`)
  return accepting[name]!()
})
const arrived = await inTurns(ROUNDS, Object.keys(arriving), async (name, round) => {
  progress.step(`${name}, ${round + 1}`)
  await pool.query('TRUNCATE events')
  return arriving[name]!()
})
progress.end()
const lines = (figures: ReadonlyMap<string, number[]>): WriteBehindResult['accepted'] =>
  [...figures].map(([name, all]) => ({ name, perSecond: spreadOf(all) }))
const result: WriteBehindResult = {
  circumstances: circumstances(await meter.version(), ['corral', 'ioredis', 'pg']),
  postgres: String((await pool.query('SHOW server_version')).rows[0].server_version),
  settings: { inFlight: IN_FLIGHT, keys: KEYS, connections: 10, batch: BATCH },
  accepted: lines(accepted),
  arrived: lines(arrived)
}
meter.close()
redis.disconnect()
await pool.end()
console.log(`\n${tablesMarkdown(result)}\n`)
for (const { what, passed } of barsOf(result)) console.log(`${passed ? 'reached' : 'MISSED '}  ${what}`)
keep('write-behind', result, quick)
