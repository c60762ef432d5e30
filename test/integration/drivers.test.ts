import { execFileSync } from 'node:child_process'
import { Cluster as Cluster6, Redis as Redis6 } from 'ioredis'
import { Redis as Redis5 } from 'ioredis5'
import { Redis as Redis54 } from 'ioredis54'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  createCache as createPlainCache,
  type Cache,
  type CacheOptions,
  type RedisInput
} from '../../src/index.js'
import { lateAfter } from '../support/late-after.js'
import { startRedisServer, type RedisServer } from '../support/redis-server.js'
import { until } from '../support/until.js'

let server: RedisServer
let admin: Redis6

beforeAll(async () => {
  server = await startRedisServer({ args: ['--requirepass', 'pass word'] })
  admin = new Redis6({ port: server.port, password: 'pass word' })
})
afterAll(async () => {
  admin.disconnect()
  await server.stop()
})

const options = (): { host: string; port: number; password: string } => ({
  host: server.host,
  port: server.port,
  password: 'pass word'
})
const as = (instance: unknown): RedisInput => instance as RedisInput

/** A late reply must not turn a test of drivers into one of outages. */
const createCache = (options: CacheOptions<'optional'>): Cache =>
  createPlainCache({ commandTimeout: '10s', ...options })

/** What it takes for an engine to work over a driver: a fleet of two caches that load once and wake each other. */
async function proves(open: () => Cache): Promise<void> {
  const [first, second] = [open(), open()]
  try {
    await until('waiters are told by Redis', () => first.stats().redis.pushes && second.stats().redis.pushes)
    let loads = 0
    const load = async (id: number): Promise<{ id: number; at: Date }> => {
      loads++
      await new Promise((resolve) => setTimeout(resolve, 60))
      return { id, at: new Date(7) }
    }
    const here = first.collection('products', { ttl: '1h', load })
    const there = second.collection('products', { ttl: '1h', load })
    // Woken, not by the timer behind it, which comes after half a second.
    const tooLate = lateAfter(350)
    const values = await Promise.race([
      Promise.all([...Array.from({ length: 50 }, () => here.get(1)), there.get(1), there.get(1)]),
      tooLate
    ])
    expect(values).toEqual(Array.from({ length: 52 }, () => ({ id: 1, at: new Date(7) })))
    expect(loads).toBe(1)
    expect((await here.getMany([1, 2, 3])).size).toBe(3)
    expect((await there.getMany([1, 2, 3])).size).toBe(3)
    expect(loads).toBe(3)
    await there.invalidate(1)
    await here.get(1)
    expect(loads).toBe(4)
    expect(first.stats().redis.failures + second.stats().redis.failures).toBe(0)
  } finally {
    await Promise.all([first.close(), second.close()])
  }
}

describe('a connection given as', () => {
  it('a URL', () =>
    proves(() =>
      createCache({ namespace: 'url', redis: `redis://:pass%20word@${server.host}:${server.port}` })
    ))

  it('options', () => proves(() => createCache({ namespace: 'options', redis: options() })))

  it('options with a key prefix', async () => {
    await proves(() => createCache({ namespace: 'prefixed', redis: { ...options(), keyPrefix: 'app:' } }))
    expect(await admin.exists('app:prefixed:products:1')).toBe(1)
  })

  for (const [version, open] of [
    ['6', () => new Redis6(options())],
    ['6, RESP2', () => new Redis6({ ...options(), protocol: 2 })],
    ['6, auto-pipelining', () => new Redis6({ ...options(), enableAutoPipelining: true })],
    ['6, lazy', () => new Redis6({ ...options(), lazyConnect: true })],
    ['5', () => new Redis5(options())],
    ['5.4, the oldest that is supported', () => new Redis54(options())],
    [
      '5, auto-pipelining and a key prefix',
      () => new Redis5({ ...options(), enableAutoPipelining: true, keyPrefix: 'five:' })
    ]
  ] as const) {
    it(`an instance of ioredis ${version}, which is neither closed nor changed`, async () => {
      const instances = [open(), open()]
      try {
        const before = instances.map((instance) => ({ ...instance.options }))
        let next = 0
        await proves(() =>
          createCache({
            namespace: `instance-${version.replaceAll(/\W/g, '')}`,
            redis: as(instances[next++])
          })
        )
        for (const [index, instance] of instances.entries()) {
          expect({ ...instance.options }).toEqual(before[index])
          expect(await instance.ping()).toBe('PONG')
          for (const event of ['ready', 'close', 'end', 'error'])
            expect(instance.listenerCount(event)).toBe(0)
          expect(String(await instance.client('TRACKINGINFO'))).toMatch(/off/)
        }
      } finally {
        for (const instance of instances) instance.disconnect()
      }
    })
  }

  it('a Cluster, whose waiters look by timer', async () => {
    const node = await startRedisServer({
      args: ['--cluster-enabled', 'yes', '--cluster-announce-ip', '127.0.0.1']
    })
    try {
      execFileSync('redis-cli', ['-p', String(node.port), 'CLUSTER', 'ADDSLOTSRANGE', '0', '16383'])
      const cluster = new Cluster6([{ host: node.host, port: node.port }])
      const other = new Redis6(node.url)
      await until('the cluster is up', async () =>
        String(await other.cluster('INFO')).includes('cluster_state:ok')
      )
      await cluster.ping()
      const [first, second] = [1, 2].map(() => createCache({ namespace: 'c', redis: cluster }))
      let loads = 0
      const load = async (id: number): Promise<number> => {
        loads++
        await new Promise((resolve) => setTimeout(resolve, 60))
        return id * 2
      }
      const here = first!.collection('products', { ttl: '1h', load })
      const there = second!.collection('products', { ttl: '1h', load })
      expect(await Promise.all([here.get(1), there.get(1), here.get(1)])).toEqual([2, 2, 2])
      expect(await here.getMany([1, 2, 3, 4])).toEqual(
        new Map([
          [1, 2],
          [2, 4],
          [3, 6],
          [4, 8]
        ])
      )
      expect(await there.getMany([1, 2, 3, 4])).toEqual(
        new Map([
          [1, 2],
          [2, 4],
          [3, 6],
          [4, 8]
        ])
      )
      expect(loads).toBe(4)
      await here.invalidateMany([1, 2])
      expect(await there.getMany([1, 2])).toEqual(
        new Map([
          [1, 2],
          [2, 4]
        ])
      )
      expect(loads).toBe(6)
      await Promise.all([first!.close(), second!.close()])
      expect(await cluster.ping()).toBe('PONG')
      cluster.disconnect()
      other.disconnect()
    } finally {
      await node.stop()
    }
  })
})

describe('a server that', () => {
  it('refuses client tracking is used all the same; waiters look by timer (#106)', async () => {
    await admin.call('ACL', 'SETUSER', 'plain', 'on', '>pw', '~*', '&*', '+@all', '-client|tracking')
    const open = (): Cache =>
      createCache({
        namespace: 'plain',
        redis: { ...options(), username: 'plain', password: 'pw' }
      })
    const [first, second] = [open(), open()]
    let loads = 0
    const load = async (): Promise<string> => {
      loads++
      await new Promise((resolve) => setTimeout(resolve, 100))
      return 'value'
    }
    const here = first.collection('products', { ttl: '1h', load })
    const there = second.collection('products', { ttl: '1h', load })
    const reading = Promise.all([here.get(1), there.get(1)])
    expect(await Promise.race([reading, lateAfter(450)])).toEqual(['value', 'value'])
    expect(loads).toBe(1)
    expect(first.stats().redis.pushes).toBe(false)
    await Promise.all([first.close(), second.close()])
  })
})
