import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import {
  postgresSink,
  type BehindOptions,
  type Cache,
  type CacheEvents,
  type Ingest,
  type PostgresSink,
  type Sink
} from '../../src/index.js'
import { until } from '../support/until.js'
import { startWorld, type World } from './support.js'

let world: World
let sink: PostgresSink<never, string>

beforeAll(async () => {
  world = await startWorld()
})
afterAll(() => world?.[Symbol.asyncDispose]())

beforeEach(async () => {
  await world.reset('DROP TABLE IF EXISTS events; CREATE TABLE events (id text NOT NULL)')
  sink = postgresSink<never, string>(world.pool, { table: 'events', value: 'id' })
  await sink.migrate()
})

function ingest(cache: Cache, options: Partial<BehindOptions<never, string>> = {}): Ingest<string> {
  return cache.ingest<string>('events', { sink, flushEvery: '50ms', shards: 6, ...options })
}

const count = async (): Promise<number> =>
  Number((await world.pool.query('SELECT count(DISTINCT id) AS n FROM events')).rows[0].n)

describe('workers', () => {
  it('share the shards evenly, and take those of one that stops', async () => {
    const caches = [world.open(), world.open(), world.open()]
    for (const cache of caches) ingest(cache)
    const workers = caches.map((cache) => cache.worker({ lease: '600ms' }))
    const sizes = (): number[] => workers.map(({ shards }) => shards.length)
    await until('each has two', () => sizes().every((size) => size === 2))
    expect(new Set(workers.flatMap(({ shards }) => shards)).size).toBe(6)
    await workers[0]!.stop()
    await until('the others have three', () => sizes().join() === '0,3,3')
    const fourth = world.open()
    ingest(fourth)
    const late = fourth.worker({ lease: '600ms' })
    await until(
      'there are two each again',
      () => [...sizes().slice(1), late.shards.length].join() === '2,2,2'
    )
  })

  it('flush what is theirs before they stop, within the deadline (#77)', async () => {
    const cache = world.open()
    const events = ingest(cache, { flushEvery: '1h' })
    const worker = cache.worker({ lease: '600ms' })
    await until('it works', () => worker.shards.length === 6)
    await Promise.all(Array.from({ length: 500 }, (_, n) => events.append(`e${n}`)))
    expect(await count()).toBe(0)
    await worker.stop({ drain: '5s' })
    expect(await count()).toBe(500)
    expect(worker.shards).toEqual([])
  })

  it('begin nowhere any more once their cache is closed, or nothing would end their process', async () => {
    const cache = world.open()
    ingest(cache)
    await cache.close()
    expect(() => cache.worker()).toThrow(expect.objectContaining({ code: 'CLOSED' }))
  })

  it('do not take a misspelt or a wrong time to stop for the default', async () => {
    const cache = world.open()
    ingest(cache)
    const worker = cache.worker()
    for (const wrong of [{ darin: '1m' }, { drain: 'a minute' }, '1m'])
      await expect(worker.stop(wrong as never)).rejects.toMatchObject({ code: 'INVALID_OPTION' })
    await worker.stop({ drain: 0 })
  })

  it('leave the rest in Redis when there is no time, and another one brings it', async () => {
    const cache = world.open()
    const events = ingest(cache, { flushEvery: '1h' })
    const worker = cache.worker()
    await until('it works', () => worker.shards.length === 6)
    await Promise.all(Array.from({ length: 100 }, (_, n) => events.append(`e${n}`)))
    await worker.stop({ drain: 0 })
    expect(await count()).toBe(0)
    const other = world.open()
    ingest(other)
    other.worker()
    await other.flush()
    expect(await count()).toBe(100)
  })

  it('say what waits of the shards that they have, so that the sum over all processes is right', async () => {
    const [appender, first, second] = [world.open(), world.open(), world.open()]
    const waitingAt = (cache: Cache): number =>
      cache
        .stats()
        .behind['events']!.depth.filter(({ held }) => held)
        .reduce((sum, { operations }) => sum + operations, 0)
    const events = ingest(appender, { flushEvery: '1h' })
    ingest(first, { flushEvery: '1h' })
    ingest(second, { flushEvery: '1h' })
    const worker = first.worker({ lease: '600ms' })
    await Promise.all(Array.from({ length: 60 }, (_, n) => events.append(`e${n}`)))
    await until('who has the shards knows of all', () => waitingAt(first) === 60)
    await worker.stop({ drain: 0 })
    second.worker({ lease: '600ms' })
    await until('who has them now does', () => waitingAt(second) === 60)
    expect([waitingAt(first), waitingAt(appender)]).toEqual([0, 0])
  })

  it('wait for nobody who died before the clock of Redis was set back', async () => {
    await world.redis.set('shop:#behind:{events.0}:owner', 'dead', 'PX', 3_600_000)
    const cache = world.open()
    ingest(cache)
    const worker = cache.worker({ lease: '600ms' })
    await until('it has all', () => worker.shards.length === 6)
  })

  it('that are slow lose nothing to one that takes over in the middle of a transaction (#67, #75)', async () => {
    const cache = world.open()
    const events = ingest(cache, { shards: 1 })
    const other = world.open()
    ingest(other, { shards: 1 })
    const left: CacheEvents['shardLeft'][] = []
    cache.on('shardLeft', (fact) => left.push(fact))
    // The first holds its shard's row while it sleeps in the database.
    await world.pool.query(`CREATE OR REPLACE FUNCTION slowly() RETURNS trigger LANGUAGE plpgsql AS
      'BEGIN PERFORM pg_sleep(1); RETURN NULL; END'`)
    await world.pool.query('CREATE TRIGGER slowly AFTER INSERT ON events EXECUTE FUNCTION slowly()')
    for (let n = 0; n < 50; n++) await events.append(`e${n}`)
    const first = cache.worker({ lease: '300ms' })
    await until('it is in its transaction', async () => {
      const { rows } = await world.pool.query("SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'")
      return rows.length > 0
    })
    const claim = await sink.take('shop/events/0')
    expect(claim.marks.size).toBe(1)
    await other.worker({ lease: '300ms' }).ready()
    await first.stop({ drain: 0 })
    for (let n = 50; n < 100; n++) await events.append(`e${n}`)
    await other.flush()
    const { rows } = await world.pool.query('SELECT count(*) AS n FROM events')
    expect(Number(rows[0].n)).toBe(100)
  })
})

describe('a worker with another number of shards', () => {
  it('says so before it works, since it would leave some of them', async () => {
    const [cache, other] = [world.open(), world.open()]
    await ingest(cache, { shards: 6 }).append('e1')
    ingest(other, { shards: 3 })
    await expect(other.worker().ready()).rejects.toMatchObject({ code: 'SHARDS_DIFFER' })
  })
})

describe('a clock of Redis that is set back', () => {
  it('keeps nothing from being flushed in its time', async () => {
    const cache = world.open()
    const events = ingest(cache, { shards: 1 })
    await events.append('e1')
    // As it is after the clock was set back by an hour: accepted in what is the future now.
    await world.redis.hincrby('shop:#behind:{events.0}:state', 'oldest', 3_600_000)
    cache.worker()
    await until('it is in the table', async () => (await count()) === 1)
  })
})

describe('a worker that ended between its commit and the trim', () => {
  it('leaves nothing to be applied again, however long nobody works after it', async () => {
    const cache = world.open()
    let committed = 0
    const dying: Sink<never, string> = {
      name: sink.name,
      kinds: sink.kinds,
      check: () => sink.check(),
      take: (shard) => sink.take(shard),
      isPoison: (error) => sink.isPoison(error),
      apply: async (batch) => {
        const outcome = await sink.apply(batch)
        committed++
        return committed > 2 ? outcome : new Promise(() => undefined)
      }
    }
    const aWeekLater = async (): Promise<void> => {
      await world.pool.query(`UPDATE corral_marks SET applied_at = applied_at - interval '8 days'`)
      await world.pool.query(`UPDATE corral_shards SET taken_at = taken_at - interval '8 days'`)
    }
    for (const last of [1, 2, 3]) {
      const one = last === 1 ? cache : world.open()
      const events = ingest(one, { shards: 1, sink: dying })
      await events.append(`e${last}`)
      one.worker({ lease: '300ms' })
      await until('it has committed', async () => committed === last)
      await aWeekLater()
      // Whoever comes next finds the shard as one that is gone has left it.
      await world.redis.del('shop:#behind:{events.0}:owner')
      if (last < 3) await one.close({ timeout: '10ms' })
      else await one.flush()
    }
    const { rows } = await world.pool.query('SELECT id FROM events ORDER BY id')
    expect(rows.map(({ id }) => id)).toEqual(['e1', 'e2', 'e3'])
  })
})

describe('a database that takes a hundred rows a second', () => {
  it('does not make Redis grow: writes wait, and all arrive', async () => {
    const throttled: Sink<never, string> = {
      name: 'throttled',
      kinds: sink.kinds,
      check: () => sink.check(),
      take: (shard) => sink.take(shard),
      isPoison: (error) => sink.isPoison(error),
      apply: async (batch) => {
        await sleep(10 * batch.operations.length)
        return sink.apply(batch)
      }
    }
    const cache = world.open()
    const events = ingest(cache, { sink: throttled, shards: 1, maxBatch: 20, limits: { operations: 100 } })
    cache.worker()
    let [most, isOver] = [0, false]
    const watching = (async () => {
      for (; !isOver; await sleep(20)) {
        const state = await world.redis.hmget('shop:#behind:{events.0}:state', 'total', 'done')
        most = Math.max(most, Number(state[0] ?? 0) - Number(state[1] ?? 0))
      }
    })()
    await Promise.all(
      Array.from({ length: 40 }, async (_, writer) => {
        for (let n = 0; n < 10; n++) await events.append(`${writer}/${n}`)
      })
    )
    await cache.flush()
    isOver = true
    await watching
    expect(await count()).toBe(400)
    // The limit, and what was in the one batch that was let in below it.
    expect(most).toBeLessThanOrEqual(140)
    expect(cache.stats().behind['events']!.timesFull).toBeGreaterThan(0)
  })
})

describe('a sink that is away', () => {
  it('loses nothing, and is tried again (#76)', async () => {
    let isAway = true
    const flaky: Sink<never, string> = {
      name: 'flaky',
      kinds: sink.kinds,
      check: () => sink.check(),
      take: (shard) => sink.take(shard),
      isPoison: (error) => sink.isPoison(error),
      apply: async (batch) => {
        if (isAway) throw Object.assign(new Error('deadlock detected'), { code: '40P01' })
        return sink.apply(batch)
      }
    }
    const cache = world.open()
    const failures: CacheEvents['flushFailed'][] = []
    cache.on('flushFailed', (fact) => failures.push(fact))
    const events = ingest(cache, { sink: flaky, shards: 1 })
    cache.worker()
    await Promise.all(Array.from({ length: 30 }, (_, n) => events.append(`e${n}`)))
    // More and more rarely: each attempt is known by its number.
    await until('it was tried', () => failures.some(({ attempt }) => attempt > 3))
    expect(cache.health()).toMatchObject({
      status: 'degraded',
      problems: [expect.stringContaining('shard 0 of "events" is not brought to flaky: Error: deadlock')]
    })
    isAway = false
    await cache.flush()
    expect(await count()).toBe(30)
    expect(await cache.deadLetters.list()).toEqual([])
    await until('it is no problem any more', () => cache.health().status === 'ok')
  })
})
