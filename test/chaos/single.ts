import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { startRedisServer } from '../support/redis-server.js'
import { startFaultyProxy, type FaultyProxy } from './faulty-proxy.js'
import { killClients } from './kill-clients.js'
import { proxyFaults } from './proxy-faults.js'
import type { ServerFault, RedisTopology } from './topology.js'

/** What a fault does to the server may take long on a machine that has much else to do. */
const ADMIN_MS = 60_000

/** One Redis, and a proxy before it for each process. */
export async function startSingle(): Promise<RedisTopology> {
  const server = await startRedisServer({ args: ['--maxmemory-samples', '10'] })
  const admin = new Redis(server.url, { maxRetriesPerRequest: null, commandTimeout: ADMIN_MS })
  admin.on('error', () => undefined) // While the server is down; the next command tries again.
  const proxies: FaultyProxy[] = []

  const faults: ServerFault[] = [
    {
      what: 'FLUSHALL',
      weight: 3,
      mayLoseGuards: true,
      strike: async () => void (await admin.flushall())
    },
    {
      what: 'SCRIPT FLUSH',
      weight: 2,
      mayLoseGuards: false,
      strike: async () => void (await admin.script('FLUSH'))
    },
    {
      what: 'CLIENT KILL of every connection',
      weight: 2,
      mayLoseGuards: false,
      strike: () => killClients(admin, 'TYPE', 'normal', 'SKIPME', 'yes')
    },
    {
      what: 'CLIENT KILL of the subscribers',
      weight: 1,
      mayLoseGuards: false,
      strike: () => killClients(admin, 'TYPE', 'pubsub')
    },
    {
      what: 'Redis stopped',
      weight: 2,
      mayLoseGuards: true,
      strike: async (random) => {
        server.pause()
        await sleep(50 + 1_800 * random())
        server.resume()
      }
    },
    {
      what: 'Redis killed, and started again empty',
      weight: 2,
      mayLoseGuards: true,
      strike: async (random) => {
        await server.kill()
        await sleep(600 * random())
        await server.restart()
      }
    },
    {
      what: 'eviction under pressure',
      weight: 2,
      mayLoseGuards: true,
      strike: async (random) => {
        await admin.config('SET', 'maxmemory-policy', 'allkeys-random')
        const used = Number(/used_memory:(\d+)/.exec(await admin.info('memory'))![1])
        await admin.config('SET', 'maxmemory', String(used + 200_000))
        for (let page = 0; page < 20; page++) {
          const pipeline = admin.pipeline()
          for (let key = 0; key < 50; key++) pipeline.set(`junk:${page}:${key}`, 'x'.repeat(1_000))
          await pipeline.exec()
          await sleep(20 * random())
        }
        await admin.config('SET', 'maxmemory', '0')
        await admin.config('SET', 'maxmemory-policy', 'noeviction')
      }
    },
    {
      what: 'Redis full: it refuses every write that needs memory',
      weight: 1,
      mayLoseGuards: true,
      strike: async (random) => {
        await admin.config('SET', 'maxmemory', '1')
        await sleep(700 * random())
        await admin.config('SET', 'maxmemory', '0')
      }
    },
    ...proxyFaults(proxies)
  ]

  return {
    faults,
    addressFor: async () => {
      const proxy = await startFaultyProxy(server.port)
      proxies.push(proxy)
      return { kind: 'options', options: { host: '127.0.0.1', port: proxy.port } }
    },
    forget: async () => void (await admin.flushall()),
    stop: async () => {
      admin.disconnect()
      await Promise.all(proxies.map((proxy) => proxy.stop()))
      await server.stop()
    }
  }
}
