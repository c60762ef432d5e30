import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { Cluster, Redis } from 'ioredis'
import pg from 'pg'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { createCache, postgresSink, writeBehind, type Cache } from '../../src/index.js'
import { startPostgresServer, type PostgresServer } from '../support/postgres-server.js'
import { startRedisServer, type RedisServer } from '../support/redis-server.js'
import { until } from '../support/until.js'

let nodes: RedisServer[]
let postgres: PostgresServer
let pool: pg.Pool
let cluster: Cluster
let cache: Cache

beforeAll(async () => {
  const args = ['--cluster-enabled', 'yes', '--cluster-node-timeout', '2000']
  ;[postgres, ...nodes] = await Promise.all([
    startPostgresServer({ durable: false }),
    ...[0, 1, 2].map(() => startRedisServer({ args }))
  ])
  const addresses = nodes.map(({ port }) => `127.0.0.1:${port}`)
  await promisify(execFile)('redis-cli', ['--cluster', 'create', ...addresses, '--cluster-yes'])
  const asked = nodes.map(({ url }) => new Redis(url))
  await until('every node knows the cluster', async () => {
    const infos = await Promise.all(asked.map((redis) => redis.cluster('INFO')))
    return infos.every((info) => info.includes('cluster_state:ok'))
  })
  for (const redis of asked) redis.disconnect()
  pool = new pg.Pool({ connectionString: postgres.url })
  cluster = new Cluster(nodes.map(({ port }) => ({ host: '127.0.0.1', port })))
  cache = createCache({ redis: cluster, namespace: 'shop', commandTimeout: '2s' })
})

afterAll(async () => {
  await cache?.close({ timeout: '1s' })
  cluster?.disconnect()
  await pool?.end()
  await Promise.all([postgres?.stop(), ...(nodes ?? []).map((node) => node.stop())])
})

it('a Cluster keeps entry and stream of a shard in one slot, and the shards on all of its nodes', async () => {
  await pool.query('CREATE TABLE views (id int PRIMARY KEY, n bigint CHECK (n < 1000))')
  const sink = postgresSink<number, number>(pool, { table: 'views', key: 'id', value: 'n' })
  await sink.migrate()
  let loads = 0
  const views = cache.collection('views', {
    ttl: '1h',
    load: (): number | undefined => {
      loads++
      return undefined
    },
    write: writeBehind<number, number>({ sink, flushEvery: '50ms', shards: 12 })
  })
  await Promise.all(Array.from({ length: 100 }, (_, id) => views.put(id, id)))
  await Promise.all(Array.from({ length: 100 }, (_, id) => views.increment(id)))
  await Promise.all(Array.from({ length: 10 }, (_, id) => views.delete(id)))
  await views.put(50, 5_000)
  expect(await views.get(60)).toBe(61)
  expect(await views.get(5)).toBeUndefined()
  await views.invalidate(60)
  expect(await views.get(60)).toBe(61)
  expect(loads).toBe(0)
  const streams = await Promise.all(
    nodes.map(async ({ url }) => {
      const redis = new Redis(url)
      const keys = await redis.keys('shop:#behind:*:stream')
      redis.disconnect()
      return keys.length
    })
  )
  expect(streams.reduce((sum, count) => sum + count, 0)).toBe(12)
  expect(Math.min(...streams)).toBeGreaterThan(0)

  cache.worker()
  await cache.flush()
  const { rows } = await pool.query('SELECT id, n FROM views ORDER BY id')
  expect(rows).toHaveLength(90)
  expect(rows.every(({ id, n }) => Number(n) === id + 1 || id === 50)).toBe(true)
  const [letter] = await cache.deadLetters.list('views')
  expect(letter).toMatchObject({ kind: 'put', id: 50, value: 5_000 })
  expect(await cache.deadLetters.drop(letter!)).toBe(1)
})
