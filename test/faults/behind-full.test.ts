import { afterAll, beforeAll, expect, it } from 'vitest'
import { postgresSink, RedisUnavailableError, writeBehind } from '../../src/index.js'
import { startWorld, type World } from '../behind/support.js'

let world: World

beforeAll(async () => {
  world = await startWorld()
  await world.reset('DROP TABLE IF EXISTS counters; CREATE TABLE counters (id int PRIMARY KEY, n bigint)')
})
afterAll(() => world[Symbol.asyncDispose]())

it('a Redis that is full of what waits refuses more, and is emptied into the table all the same (#71)', async () => {
  const sink = postgresSink<number, number>(world.pool, { table: 'counters', key: 'id', value: 'n' })
  await sink.migrate()
  const load = async (id: number): Promise<number | undefined> => {
    const { rows } = await world.pool.query('SELECT n FROM counters WHERE id = $1', [id])
    return rows[0] && Number(rows[0].n)
  }
  const cache = world.open()
  const write = writeBehind({ sink, flushEvery: 50, shards: 2 })
  const counters = cache.collection<number, number>('counters', { ttl: '1h', load, write })
  for (let id = 0; id < 50; id++) await counters.put(id, 2 * id)
  // No bigint: before its shard can let go of anything there must be room to put these aside.
  for (let id = 60; id < 64; id++) await counters.put(id, 0.5)
  await world.redis.config('SET', 'maxmemory', '1')
  const refused = await counters.put(50, 100).catch((error: unknown) => error)
  expect(refused).toBeInstanceOf(RedisUnavailableError)
  // Declared wrong while it waits: it stays until the table has it, and goes then.
  expect(await counters.invalidate(1)).toBe('confirmed')
  const worker = cache.worker({ lease: 600 })
  await cache.flush()
  const { rows } = await world.pool.query<{ id: number; n: string }>('SELECT id, n FROM counters ORDER BY id')
  expect(rows).toEqual(Array.from({ length: 50 }, (_, id) => ({ id, n: String(2 * id) })))
  const letters = await cache.deadLetters.list()
  expect(new Set(letters.map(({ id }) => id))).toEqual(new Set([60, 61, 62, 63]))
  await world.redis.config('SET', 'maxmemory', '0')
  expect(await counters.peek(2)).toBe(4)
  expect(await counters.peek(1)).toBeUndefined()
  await counters.put(50, 100)
  await cache.flush()
  await worker.stop()
  expect(await load(50)).toBe(100)
})
