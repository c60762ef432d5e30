import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { startRedisServer } from '../support/redis-server.js'
import { startFaultyProxy, type FaultyProxy } from './faulty-proxy.js'
import { killClients } from './kill-clients.js'
import { proxyFaults } from './proxy-faults.js'
import type { ServerFault } from './topology.js'

/** What a fault does to the server may take long on a machine that has much else to do. */
const ADMIN_MS = 60_000

/** The Redis of what is written behind. */
export interface QueueRedis {
  readonly faults: readonly ServerFault[]
  /** The way there for one process. */
  portFor(): Promise<number>
  stop(): Promise<void>
}

const OF_THE_QUEUE = ', to the Redis of the queues'

/**
 * With a file to which it appends, as writing behind asks for, and apart from the Redis of the cache: whoever flushes or
 * evicts what is acknowledged and not in the database has deleted it, and no library can bring it back.
 */
export async function startQueueRedis(): Promise<QueueRedis> {
  const server = await startRedisServer({ args: ['--appendonly', 'yes', '--appendfsync', 'everysec'] })
  const admin = new Redis(server.url, { maxRetriesPerRequest: null, commandTimeout: ADMIN_MS })
  admin.on('error', () => undefined) // While the server is down; the next command tries again.
  const proxies: FaultyProxy[] = []

  const faults: ServerFault[] = [
    {
      what: 'the Redis of the queues killed, and started again from its file',
      weight: 3,
      mayLoseGuards: false,
      strike: async (random) => {
        // With `everysec` Redis answers without having written while the disk syncs, for up to two seconds: a kill just
        // then loses what it has acknowledged. From here on it writes first.
        await admin.config('SET', 'appendfsync', 'always')
        await server.kill()
        await sleep(600 * random())
        await server.restart()
      }
    },
    {
      what: 'the Redis of the queues stopped',
      weight: 2,
      mayLoseGuards: false,
      strike: async (random) => {
        server.pause()
        await sleep(50 + 1_800 * random())
        server.resume()
      }
    },
    {
      what: 'the Redis of the queues full: it refuses every write that needs memory',
      weight: 2,
      mayLoseGuards: false,
      strike: async (random) => {
        await admin.config('SET', 'maxmemory', '1')
        await sleep(900 * random())
        await admin.config('SET', 'maxmemory', '0')
      }
    },
    {
      what: 'SCRIPT FLUSH in the Redis of the queues',
      weight: 1,
      mayLoseGuards: false,
      strike: async () => void (await admin.script('FLUSH'))
    },
    {
      what: 'CLIENT KILL of every connection to the Redis of the queues',
      weight: 2,
      mayLoseGuards: false,
      strike: () => killClients(admin, 'TYPE', 'normal', 'SKIPME', 'yes')
    },
    {
      what: 'CLIENT KILL of the subscribers of the Redis of the queues',
      weight: 1,
      mayLoseGuards: false,
      strike: () => killClients(admin, 'TYPE', 'pubsub')
    },
    ...proxyFaults(proxies, OF_THE_QUEUE)
  ]

  return {
    faults,
    portFor: async () => {
      const proxy = await startFaultyProxy(server.port)
      proxies.push(proxy)
      return proxy.port
    },
    stop: async () => {
      admin.disconnect()
      await Promise.all(proxies.map((proxy) => proxy.stop()))
      await server.stop()
    }
  }
}
