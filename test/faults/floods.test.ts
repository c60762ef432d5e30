import { Redis } from 'ioredis'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createCache, type Cache } from '../../src/index.js'
import { startProxy, type Proxy } from '../support/proxy.js'
import { startRedisServer, type RedisServer } from '../support/redis-server.js'
import { until } from '../support/until.js'

const COUNT = 3_000
const MANY = 20_000
/** As the sources say. */
const SCRIPTS_AT_ONCE = 500
const READS_AT_ONCE = 64
const UNLINKS_AT_ONCE = 10

interface Row {
  readonly id: number
  readonly version: number
}

let server: RedisServer
let proxy: Proxy
let cache: Cache
let admin: Redis
const ids = Array.from({ length: COUNT }, (_, id) => id)

beforeEach(async () => {
  server = await startRedisServer()
  proxy = await startProxy(server.port)
  admin = new Redis(server.url)
})
afterEach(async () => {
  await cache.close({ timeout: '100ms' })
  admin.disconnect()
  await proxy.stop()
  await server.stop()
})

async function open(commandTimeout: '30s' | '1s') {
  cache = createCache({ redis: `redis://127.0.0.1:${proxy.port}`, namespace: 'floods', commandTimeout })
  const rows = cache.collection('rows', {
    ttl: '1h',
    load: async (id: number): Promise<Row> => ({ id, version: 0 }),
    write: async (_id: number, row: Row) => row
  })
  await cache.ready()
  // Now Redis knows the scripts.
  await rows.put(0, { id: 0, version: 0 })
  await rows.invalidate(0)
  await rows.get(0)
  return rows
}

/** How often Redis was asked for that. */
async function calls(command: string): Promise<number> {
  const stats = await admin.info('commandstats')
  return Number(new RegExp(`cmdstat_${command}:calls=(\\d+)`).exec(stats)?.[1] ?? 0)
}

/** What of `work` is sent before anything is answered. */
async function sentAtOnce<T>(command: string, most: number, work: () => Promise<T>): Promise<T> {
  const before = await calls(command)
  proxy.hold()
  const working = work()
  await until('Redis has what was sent', async () => (await calls(command)) >= before + most)
  // Whatever was sent beyond it would be there by now: it went the same way.
  await admin.ping()
  expect((await calls(command)) - before).toBe(most)
  proxy.release()
  return working
}

describe(`${COUNT} changes in one instant`, () => {
  it('are sent a part at a time, so that none is late for having many before it, and all are made', async () => {
    const rows = await open('30s')
    const [saved, written] = await sentAtOnce('evalsha', SCRIPTS_AT_ONCE, () =>
      Promise.all([
        Promise.all(ids.map((id) => rows.put(id, { id, version: 1 }))),
        cache.write(
          ids.map((id) => rows.key(COUNT + id)),
          async () => undefined
        ),
        cache.invalidateTags(ids.map((id) => `tag-${id}`))
      ])
    )
    expect(saved.filter(({ cache: outcome }) => outcome !== 'published')).toEqual([])
    expect(written.cache).toBe('dropped')
    const found = await rows.getMany(ids)
    expect(ids.filter((id) => found.get(id)?.version !== 1)).toEqual([])
  })

  it('of which Redis answers none are refused, those too that were not sent yet', async () => {
    const rows = await open('1s')
    proxy.hold()
    const putting = await Promise.allSettled(ids.map((id) => rows.put(id, { id, version: 1 })))
    const refused = putting.filter(
      (one) => one.status === 'rejected' && one.reason.code === 'REDIS_UNAVAILABLE'
    )
    expect(refused).toHaveLength(COUNT)
    proxy.release()
    await until('Redis is back', () => cache.health().redis.state === 'ready')
    expect((await rows.put(COUNT, { id: COUNT, version: 1 })).cache).toBe('published')
  })
})

describe(`${MANY} ids in one call`, () => {
  it.each(['one call', 'a call for each'])(
    'are read and invalidated a part at a time, and none is late: %s',
    async (how) => {
      const rows = await open('30s')
      const all = Array.from({ length: MANY }, (_, id) => id)
      const read = (): Promise<(Row | undefined)[]> =>
        how === 'one call'
          ? rows.getMany(all).then((found) => all.map((id) => found.get(id)))
          : Promise.all(all.map((id) => rows.peek(id)))
      await rows.getMany(all)
      const found = await sentAtOnce('mget', READS_AT_ONCE, read)
      expect(all.filter((id) => found[id]?.id !== id)).toEqual([])
      if (how !== 'one call') return
      await sentAtOnce('unlink', UNLINKS_AT_ONCE, () => rows.invalidateMany(all))
      expect(await Promise.all([0, MANY / 2, MANY - 1].map((id) => rows.peek(id)))).toEqual([
        undefined,
        undefined,
        undefined
      ])
    }
  )
})
