import { Redis } from 'ioredis'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createCache, type Cache } from '../../src/index.js'
import { startProxy, type Proxy } from '../support/proxy.js'
import { startRedisServer, type RedisServer } from '../support/redis-server.js'
import { until } from '../support/until.js'

const COUNT = 3_000
/** As the source says. */
const MOST_AT_ONCE = 500

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

async function open(commandTimeout: '30s' | '100ms') {
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

/** Scripts that Redis was asked to run. */
async function scripts(): Promise<number> {
  const stats = await admin.info('commandstats')
  return Number(/cmdstat_evalsha:calls=(\d+)/.exec(stats)?.[1] ?? 0)
}

describe(`${COUNT} changes in one instant`, () => {
  it('are sent a part at a time, so that none is late for having many before it, and all are made', async () => {
    const rows = await open('30s')
    const before = await scripts()
    proxy.hold()
    const putting = Promise.all(ids.map((id) => rows.put(id, { id, version: 1 })))
    const writing = cache.write(
      ids.map((id) => rows.key(COUNT + id)),
      async () => undefined
    )
    const moving = cache.invalidateTags(ids.map((id) => `tag-${id}`))
    await until('Redis has what was sent', async () => (await scripts()) >= before + MOST_AT_ONCE)
    // Whatever was sent beyond it would be there by now: it went the same way.
    await admin.ping()
    expect(await scripts()).toBe(before + MOST_AT_ONCE)
    proxy.release()
    const saved = await putting
    expect(saved.filter(({ cache: outcome }) => outcome !== 'published')).toEqual([])
    expect((await writing).cache).toBe('dropped')
    await moving
    const found = await rows.getMany(ids)
    expect(ids.filter((id) => found.get(id)?.version !== 1)).toEqual([])
  })

  it('of which Redis answers none are refused, those too that were not sent yet', async () => {
    const rows = await open('100ms')
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
