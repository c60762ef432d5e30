import pg from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createCache, postgresSink, type Cache, type Collection } from '../../src/index.js'
import { cutOff, letIn, untilInStep } from '../support/cut-off.js'
import { startSentinelTrio, type SentinelTrio } from '../support/redis-sentinel.js'
import { startRedisServer, type RedisServer } from '../support/redis-server.js'
import { until } from '../support/until.js'

const PATIENCE_MS = 100_000
const REPLICAS = 2

let trio: SentinelTrio
beforeAll(async () => {
  trio = await startSentinelTrio({ replicas: REPLICAS })
})
afterAll(() => trio.stop())

interface Row {
  readonly id: number
  readonly version: number
}

const IDS = Array.from({ length: 300 }, (_, id) => id)

interface Opened {
  readonly cache: Cache
  readonly rows: Collection<number, Row>
}

/** @param version what the source has now */
function open(
  namespace: string,
  version: (id: number) => number,
  options: { waits: '1s' | '10s' | false; remembers?: boolean }
): Opened {
  const cache = createCache({
    redis: { sentinels: [...trio.sentinels], name: trio.masterName },
    namespace,
    commandTimeout: '5s',
    waitForReplicas: options.waits === false ? undefined : { count: REPLICAS, timeout: options.waits }
  })
  const rows = cache.collection('rows', {
    ttl: '1h',
    load: async (id: number): Promise<Row> => ({ id, version: version(id) }),
    write: async (_id, row: Row) => row,
    whenRedisAway: options.remembers === true ? 'remember' : 'refuse'
  })
  return { cache, rows }
}

async function replicas(): Promise<RedisServer[]> {
  const primary = await trio.primary()
  return trio.servers.filter((server) => server !== primary)
}

async function untilReadable({ cache, rows }: Opened): Promise<void> {
  await until(
    'Redis answers again',
    async () => {
      await rows.get(0)
      return cache.health().redis.state === 'ready'
    },
    PATIENCE_MS
  )
}

describe('changes that wait for replicas', () => {
  it('say of how many they were confirmed, the first as well, and go on over the same connection', async () => {
    await using alone = await startRedisServer()
    const cache = createCache({
      redis: alone.url,
      namespace: 'alone',
      commandTimeout: '2s',
      waitForReplicas: { count: 1, timeout: '100ms' }
    })
    try {
      await cache.ready()
      const rows = cache.collection('rows', { ttl: '1h', load: async (id: number) => ({ id, version: 1 }) })
      // The server has none of the scripts, so the first is sent twice, with a WAIT behind each.
      for (const id of [1, 2, 3]) {
        await expect(rows.invalidate(id)).rejects.toMatchObject({
          code: 'REDIS_UNAVAILABLE',
          cause: { message: 'WAIT confirmed 0 of 1 within 100 ms' }
        })
      }
    } finally {
      await cache.close()
    }
  })

  it('are not undone by the death of the primary right after: no old value comes back (#99)', async () => {
    await trio.settled(REPLICAS)
    let isNew = false
    const opened = open('kept', () => (isNew ? 2 : 1), { waits: '10s' })
    await opened.cache.ready()
    await opened.rows.getMany(IDS)
    expect((await opened.rows.lookup(1)).source).toBe('redis')
    await untilInStep([await trio.primary()], await replicas())
    const old = await trio.primary()
    isNew = true
    const confirmed = new Set<number>()
    let dying: Promise<void> | undefined
    await Promise.all(
      IDS.map(async (id, index) => {
        // A few at a time, so that the end comes in the middle of it.
        for (let turn = 0; turn < index / 10; turn++) await new Promise((resolve) => setImmediate(resolve))
        try {
          expect(await opened.rows.invalidate(id)).toBe('confirmed')
          confirmed.add(id)
          if (confirmed.size === 100) dying = old.kill()
        } catch (error) {
          expect(error).toMatchObject({ code: 'REDIS_UNAVAILABLE' })
        }
      })
    )
    await dying
    expect(confirmed.size).toBeGreaterThanOrEqual(100)
    await trio.replaced(old)
    await untilReadable(opened)
    for (const id of confirmed) expect((await opened.rows.get(id))?.version).toBe(2)
    await opened.cache.close()
    await old.restart()
  }, 300_000)

  it('count as not made while too few replicas have them, and are made up for when they are back (#100)', async () => {
    await trio.settled(REPLICAS)
    const strict = open('strict', () => 1, { waits: '1s' })
    const patient = open('strict', () => 1, { waits: '1s', remembers: true })
    await Promise.all([strict.cache.ready(), patient.cache.ready()])
    await strict.rows.get(1)
    const cut = await replicas()
    for (const replica of cut) await cutOff(replica)
    await expect(strict.rows.invalidate(1)).rejects.toMatchObject({ code: 'REDIS_UNAVAILABLE' })
    let isWritten = false
    const guarded = strict.cache.collection('guarded', {
      ttl: '1h',
      load: async (id: number) => ({ id, version: 1 }),
      write: async (_id, row: Row) => {
        isWritten = true
        return row
      }
    })
    // Before the source is changed: the old value might come back.
    await expect(guarded.put(1, { id: 1, version: 2 })).rejects.toMatchObject({ code: 'REDIS_UNAVAILABLE' })
    expect(isWritten).toBe(false)
    await expect(strict.rows.clear()).rejects.toMatchObject({ code: 'REDIS_UNAVAILABLE' })
    expect(await patient.rows.invalidate(1)).toBe('pending')
    expect(patient.cache.health().pendingInvalidations).toBe(1)
    for (const replica of cut) await letIn(replica)
    await until('it is delivered', () => patient.cache.health().pendingInvalidations === 0, PATIENCE_MS)
    await until(
      'changes are confirmed again',
      () =>
        strict.rows.clear().then(
          () => true,
          () => false
        ),
      PATIENCE_MS
    )
    expect((await guarded.put(1, { id: 1, version: 2 })).cache).toBe('published')
    await Promise.all([strict.cache.close(), patient.cache.close()])
  }, 300_000)

  it('are what keeps them: without it what no replica had is undone, and an old value comes back', async () => {
    await trio.settled(REPLICAS)
    let isNew = false
    const opened = open('undone', () => (isNew ? 2 : 1), { waits: false })
    await opened.cache.ready()
    await opened.rows.get(7)
    const old = await trio.primary()
    const cut = await replicas()
    await untilInStep([old], cut)
    for (const replica of cut) await cutOff(replica)
    isNew = true
    expect(await opened.rows.invalidate(7)).toBe('confirmed')
    await old.kill()
    await trio.replaced(old)
    await untilReadable(opened)
    expect(await opened.rows.get(7)).toMatchObject({ version: 1 })
    await opened.cache.close()
    for (const replica of cut) await letIn(replica)
    await old.restart()
  }, 300_000)
})

describe('what is written behind at "replicated"', () => {
  it('is accepted when all replicas have it that follow, since any may take over; one that is gone is not waited for', async () => {
    await trio.settled(REPLICAS)
    const { cache } = open('behind', () => 1, { waits: false })
    // No worker runs, so nothing is ever asked of it.
    const nowhere = new pg.Pool({ connectionString: 'postgres://127.0.0.1:1/none' })
    const events = cache.ingest<string>('events', {
      sink: postgresSink<never, string>(nowhere, { table: 'events', value: 'id' }),
      durability: 'replicated',
      writeTimeout: '4s'
    })
    await events.append('both have it')
    const [silent] = await replicas()
    silent!.pause()
    try {
      await expect(events.append('one cannot have it')).rejects.toMatchObject({ code: 'WRITE_UNKNOWN' })
    } finally {
      silent!.resume()
    }
    const accepted = (): Promise<boolean> =>
      events.append('later').then(
        () => true,
        () => false
      )
    await until('it is back', accepted, PATIENCE_MS)
    await cutOff(silent!)
    await until('it is not waited for any more', accepted, PATIENCE_MS)
    await letIn(silent!)
    await cache.close({ timeout: 0 })
  }, 300_000)
})
