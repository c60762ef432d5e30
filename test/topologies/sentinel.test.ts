import { once } from 'node:events'
import { createServer, type AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openOperator } from '../../src/admin/connect.js'
import { createCache } from '../../src/index.js'
import type { RedisClient } from '../../src/redis/client.js'
import { connectAnew } from '../../src/redis/reconnect.js'
import { replicationOf } from '../support/cut-off.js'
import { freePort } from '../support/free-port.js'
import { startProxy, type Proxy } from '../support/proxy.js'
import { startSentinelTrio, type SentinelTrio } from '../support/redis-sentinel.js'
import type { RedisServer } from '../support/redis-server.js'
import { until } from '../support/until.js'
import { provesEngine, provesMemory } from './engine.js'
import { summaryOf, Traffic } from './traffic.js'

let trio: SentinelTrio
beforeAll(async () => {
  trio = await startSentinelTrio()
})
afterAll(() => trio.stop())

const connection = () => ({ sentinels: [...trio.sentinels], name: trio.masterName })

/** Asynchronous replication may lose what was acknowledged in the last moment before a primary died. */
const REPLICATION_BOUND_MS = 200

/** Two heartbeats: how long a value may be served from memory when nothing can be heard of its changes. */
const MEMORY_BOUND_MS = 2_200

async function isReplica(server: RedisServer): Promise<boolean> {
  return /role:slave[^]*master_link_status:up/.test(await replicationOf(server))
}

describe('of several Sentinels', () => {
  it('the next one is asked when the first accepts, and says nothing', async () => {
    const silent = createServer((socket) => socket.resume().on('error', () => undefined))
    silent.listen(0, '127.0.0.1')
    await once(silent, 'listening')
    const { port } = silent.address() as AddressInfo
    const sentinels = [{ host: '127.0.0.1', port }, ...trio.sentinels]
    const cache = createCache({ redis: { sentinels, name: trio.masterName }, namespace: 'silent' })
    try {
      const operator = await openOperator({ url: 'redis://', sentinels, timeoutMs: 2_000 })
      expect([operator.kind, operator.address.port]).toEqual(['sentinel', (await trio.primary()).port])
      operator.close()
      await until('the cache has its Redis', () => cache.stats().redis.state === 'ready', 30_000)
    } finally {
      await cache.close()
      silent.close()
    }
  }, 60_000)

  it('an operator’s tool sends nothing in the clear to where the URL wants it encrypted, and names whom it asked', async () => {
    const target = { url: 'rediss://sentinels.instead', sentinels: trio.sentinels, timeoutMs: 300 }
    await expect(openOperator(target)).rejects.toThrow(`127.0.0.1:${trio.sentinels[0]!.port}`)
  })
})

describe('while no Sentinel is to be found', () => {
  let proxy: Proxy
  beforeAll(async () => {
    proxy = await startProxy(trio.sentinels[0]!.port)
  })
  afterAll(() => proxy.stop())

  /** Of the one behind the proxy alone: a driver asks the others too, once it has heard of them. */
  const byProxy = () => ({
    sentinels: [{ host: '127.0.0.1', port: proxy.port }],
    name: trio.masterName,
    updateSentinels: false
  })

  it('a driver that is told to connect anew does so when there is one', async () => {
    proxy.leadTo(await freePort())
    const client = new Redis({ ...byProxy(), sentinelRetryStrategy: () => 10 })
    let unreachable = 0
    client.on('error', () => unreachable++)
    try {
      await until('it asks again and again', () => unreachable > 2, 60_000)
      connectAnew(client as unknown as RedisClient)
      const asked = unreachable
      await until('it goes on with that', () => unreachable > asked + 2, 60_000)
      proxy.leadTo(trio.sentinels[0]!.port)
      await until('it is connected', () => client.status === 'ready', 60_000)
    } finally {
      client.disconnect()
    }
  }, 200_000)

  it('a cache waits for one, also with a driver that gives up', async () => {
    proxy.leadTo(trio.sentinels[0]!.port)
    const redis = { ...byProxy(), sentinelRetryStrategy: () => null }
    const cache = createCache({ redis, namespace: 'patient', memory: { maxBytes: 1024 * 1024 } })
    const isWell = (): boolean => cache.health().memory.mode === 'tracking'
    const admin = new Redis((await trio.primary()).url)
    try {
      await until('memory serves', isWell, 60_000)
      proxy.leadTo(await freePort())
      for (const type of ['normal', 'pubsub']) await admin.call('CLIENT', 'KILL', 'TYPE', type)
      await until('Redis is away', () => cache.health().redis.state === 'away')
      proxy.leadTo(trio.sentinels[0]!.port)
      await until('memory serves again', isWell, 60_000)
    } finally {
      admin.disconnect()
      await cache.close()
    }
  }, 200_000)
})

describe('behind Sentinels', () => {
  it('the engine does all that it does with one server', () => provesEngine(connection, { hasPushes: true }))

  it('what is kept in memory is told of changes', () => provesMemory(connection, 'tracking'))

  it('a failover empties the tiers in memory, and nobody is served what was replaced longer ago than they may keep it', async () => {
    const caches = [0, 1, 2].map(() =>
      createCache({ redis: connection(), namespace: 'memory', memory: { maxBytes: 8 * 1024 * 1024 } })
    )
    const traffic = new Traffic(caches, { settleMs: MEMORY_BOUND_MS })
    traffic.start(1_000, 50)
    await until('memory serves', () => caches.every((cache) => cache.health().memory.mode === 'tracking'))
    const old = await trio.primary()
    const startedAt = performance.now()
    await trio.failOver()
    await trio.replaced(old)
    await sleep(1_000)
    await until(
      'memory serves again',
      () => caches.every((cache) => cache.health().memory.mode === 'tracking'),
      30_000
    )
    await sleep(2_500)
    const report = await traffic.stop()
    console.log(
      summaryOf(
        `Sentinel, ordered failover with memory, ${(performance.now() - startedAt).toFixed(0)} ms`,
        report
      )
    )
    expect(report.errors).toEqual([])
    expect(report.violations).toEqual([])
    expect(report.sources['memory'] ?? 0).toBeGreaterThan(500)
    await Promise.all(caches.map((cache) => cache.close()))
  }, 240_000)

  it('nor when the primary is killed, but for what its replicas never had', async () => {
    const caches = [0, 1, 2].map(() =>
      createCache({ redis: connection(), namespace: 'kept', memory: { maxBytes: 8 * 1024 * 1024 } })
    )
    const isKept = (): boolean => caches.every((cache) => cache.health().memory.mode === 'tracking')
    const traffic = new Traffic(caches, { settleMs: MEMORY_BOUND_MS })
    traffic.start(1_000, 50)
    await until('memory serves', isKept, 30_000)
    const old = await trio.primary()
    const killedAt = performance.now()
    await old.kill()
    await trio.replaced(old)
    await until('memory does not serve for a while, and then again', isKept, 60_000)
    await sleep(MEMORY_BOUND_MS)
    const report = await traffic.stop()
    console.log(summaryOf('Sentinel, primary killed, with memory', report))
    expect(report.errors).toEqual([])
    expect(
      report.violations.filter(
        ({ completedAtMs }) => Math.abs(completedAtMs - killedAt) > REPLICATION_BOUND_MS
      )
    ).toEqual([])
    expect(report.sources['memory'] ?? 0).toBeGreaterThan(500)
    await Promise.all(caches.map((cache) => cache.close()))
    await old.restart()
    await until('the one that was killed follows', () => isReplica(old), 60_000)
  }, 240_000)

  it('a primary that is killed costs no read: nobody gets an error, nothing older than the replication bound allows', async () => {
    const caches = [0, 1, 2].map(() =>
      createCache({ redis: connection(), namespace: 'failover', commandTimeout: '200ms' })
    )
    const traffic = new Traffic(caches)
    traffic.start(1_000, 50)
    await until('it is warm', () => caches.every((cache) => cache.stats().total.hits > 100))
    traffic.forget()
    const old = await trio.primary()
    const killedAt = performance.now()
    await old.kill()
    await trio.replaced(old)
    await until(
      'every process has Redis back',
      () => caches.every((cache) => cache.stats().redis.state === 'ready'),
      30_000
    )
    const hits = caches.map((cache) => cache.stats().total.hits)
    await until(
      'every process has hits again',
      () => caches.every((cache, index) => cache.stats().total.hits > hits[index]! + 50),
      30_000
    )
    await until(
      'changes are announced again',
      () => caches.every((cache) => cache.stats().redis.pushes),
      30_000
    )
    // Long enough for a value to be read that should not be there.
    await sleep(1_000)
    const report = await traffic.stop()
    console.log(
      summaryOf(
        `Sentinel, primary killed, back after ${(performance.now() - killedAt).toFixed(0)} ms`,
        report
      )
    )
    expect(report.errors).toEqual([])
    expect(
      report.violations.filter(
        ({ completedAtMs }) => Math.abs(completedAtMs - killedAt) > REPLICATION_BOUND_MS
      )
    ).toEqual([])
    await Promise.all(caches.map((cache) => cache.close()))
    await old.restart()
  }, 240_000)
})
