import { setTimeout as sleep } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { Redis } from 'ioredis'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createCache, type Cache, type CacheOptions } from '../../src/index.js'
import { startProxy, type Proxy } from '../support/proxy.js'
import { startRedisServer, type RedisServer } from '../support/redis-server.js'
import { until } from '../support/until.js'
import { FAULTS, openLoop, ROWS, SERVER_ARGS, Source } from './outage.js'

const LOADS_AT_ONCE = 20
const COMMAND_TIMEOUT_MS = 200
const BEFORE_MS = 600
const OUTAGE_MS = 1_500
const AFTER_MS = 1_500

let server: RedisServer
let proxy: Proxy
let admin: Redis
let cache: Cache

beforeEach(async () => {
  server = await startRedisServer({
    args: SERVER_ARGS
  })
  proxy = await startProxy(server.port)
  admin = new Redis(server.url)
  admin.on('error', () => undefined)
})
afterEach(async () => {
  await cache.close({ timeout: '1s' })
  admin.disconnect()
  await proxy.stop()
  await server.stop()
})

const open = (options: Partial<CacheOptions<'optional'>> = {}): Cache => {
  cache = createCache({
    redis: `redis://127.0.0.1:${proxy.port}`,
    namespace: 'shop',
    commandTimeout: COMMAND_TIMEOUT_MS,
    maxConcurrentLoads: LOADS_AT_ONCE,
    ...options
  })
  return cache
}

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

function heapUsed(): number {
  collect()
  return process.memoryUsage().heapUsed
}

describe('under load, when Redis', () => {
  for (const memory of [false, { maxBytes: 4_000_000 }] as const) {
    for (const [name, fault] of Object.entries(FAULTS)) {
      // With memory in front only where it makes a difference.
      if (memory !== false && !/killed|frozen|swallows/.test(name)) continue
      it(`${name}${memory ? ', with memory in front' : ''}: no errors, the source is not flooded, all is well after (#94)`, async () => {
        const { begin, end, isForgetful } = fault({ server, proxy, admin })
        const source = new Source()
        const rows = open({ memory }).collection('rows', {
          ttl: '1h',
          earlyRefresh: 0,
          whenRedisAway: 'remember',
          load: source.load
        })
        await cache.ready()
        const load = openLoop((id) => rows.get(id))
        await sleep(BEFORE_MS)
        await begin()
        await sleep(OUTAGE_MS / 2)
        // The source changes while Redis cannot be told, or only just.
        const changed = Array.from({ length: 30 }, (_, id) => id)
        for (const id of changed) source.versions[id] = 2
        await rows.invalidateMany(changed)
        await sleep(OUTAGE_MS / 2)
        await end()
        const endedAt = performance.now()
        await until('it is well', () => cache.health().redis.state === 'ready', 5_000)
        const backAfterMs = performance.now() - endedAt
        await until('nothing waits for Redis', () => cache.health().pendingInvalidations === 0, 5_000)
        for (const id of changed) expect(await rows.get(id)).toEqual({ id, version: 2 })
        await sleep(AFTER_MS - Math.min(AFTER_MS, backAfterMs))
        await load.stop()
        expect(load.errors).toEqual([])
        // It was felt.
        expect(cache.stats().redis.failures).toBeGreaterThan(0)
        expect(source.mostAtOnce).toBeLessThanOrEqual(LOADS_AT_ONCE)
        expect(load.requests).toBeGreaterThan(1_000)
        for (let id = 0; id < ROWS; id++) expect((await rows.get(id))!.version).toBe(source.versions[id])
        expect((await rows.lookup(5)).source).toMatch(/redis|memory/)
        expect(cache.health().status).toMatch(isForgetful === true ? /ok/ : /ok|degraded/)
        expect(cache.stats().loads).toEqual({ running: 0, queued: 0 })
      })
    }
  }

  it('and the source are both away: a typed error, or the source’s own, and quickly', async () => {
    const boom = new Error('the database is down')
    let isDown = false
    const rows = open({ maxConcurrentLoads: 5, maxQueuedLoads: 10 }).collection('rows', {
      ttl: 200,
      jitter: 0,
      stale: '1h',
      failedTtl: 100,
      load: async (id: number) => {
        await sleep(2)
        if (isDown) throw boom
        return { id }
      }
    })
    await cache.ready()
    for (let id = 0; id < ROWS; id++) await rows.get(id)
    isDown = true
    await sleep(250)
    // With Redis well and the source dead, the old values are served.
    expect((await rows.lookup(1)).source).toBe('stale')
    await server.kill('SIGKILL')
    const load = openLoop((id) => rows.get(id))
    await sleep(1_000)
    await load.stop()
    expect(load.errors).toHaveLength(load.requests)
    for (const error of load.errors)
      expect(error === boom || (error as { code?: string }).code === 'OVERLOADED').toBe(true)
    load.tookMs.sort((a, b) => a - b)
    expect(load.tookMs.at(-1)).toBeLessThan(COMMAND_TIMEOUT_MS * 1.25 + 500)
  })

  it('is away for long, memory stays flat', async () => {
    const source = new Source()
    const rows = open().collection('rows', { ttl: '1h', load: source.load })
    await cache.ready()
    await server.kill('SIGKILL')
    const load = openLoop((id) => rows.get(id))
    await sleep(1_000)
    const { _getActiveHandles: handles } = process as unknown as { _getActiveHandles: () => unknown[] }
    const before = handles.call(process).length
    const heapBefore = heapUsed()
    await sleep(2_000)
    expect(heapUsed() - heapBefore).toBeLessThan(8_000_000)
    // Neither sockets nor timers nor waiting calls add up.
    expect(handles.call(process).length).toBeLessThan(before + 20)
    // What this process could not ask for while it stood still it asks for at once.
    await until('few wait for a load', () => cache.stats().loads.queued < 50)
    await load.stop()
    expect(load.errors).toEqual([])
  })
})
