import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { startRedisCluster } from '../support/redis-cluster.js'
import type { RedisServer } from '../support/redis-server.js'
import { until } from '../support/until.js'
import { watchFailovers, type Failover } from './failover-watch.js'
import { MISSED, type ServerFault, type RedisTopology } from './topology.js'

const MASTERS = 3
const PATIENCE_MS = 60_000
/** Redis gives one up after five seconds. */
const MANUAL_FAILOVER_MS = 10_000

/**
 * Three masters with a replica each.
 *
 * @param onFailover is told of every one, also of those that nobody ordered
 */
export async function startCluster(onFailover: (failover: Failover) => void): Promise<RedisTopology> {
  const cluster = await startRedisCluster({ primaries: MASTERS, nodeTimeoutMs: 1_500 })
  const servers = cluster.nodes
  const whole = (): Promise<void> => cluster.settled(true, PATIENCE_MS)
  const watching = watchFailovers(servers, whole, onFailover)

  const aMaster = async (random: () => number): Promise<RedisServer> => {
    const masters = await cluster.primaries()
    return masters[Math.floor(random() * masters.length)]!
  }
  const aReplica = async (): Promise<RedisServer | undefined> => {
    const masters = await cluster.primaries()
    return servers.find((server) => !masters.includes(server))
  }
  const onEveryNode = async (command: (client: Redis) => Promise<unknown>): Promise<void> => {
    // A replica refuses what changes data; it follows its master.
    await Promise.all(servers.map((server) => ask(server, command).catch(() => undefined)))
  }

  /** A master that is replaced while slots leave it ends their move in the middle. */
  const mendSlots = async (error: Error): Promise<void> => {
    const isMended = (): Promise<boolean> =>
      cluster.cli('fix', '--cluster-yes').then(
        () => true,
        () => false
      )
    await until(
      `slots are served again after a move that ended early: ${error.message}`,
      isMended,
      PATIENCE_MS
    )
    await whole()
  }

  const faults: ServerFault[] = [
    {
      what: 'a master killed, and its replica in its place',
      weight: 2,
      mayLoseGuards: true,
      failsOver: true,
      strike: async (random) => {
        const server = await aMaster(random)
        await server.kill()
        // Until the others have noticed, all looks well.
        const isReplaced = async (): Promise<boolean> => (await cluster.primaries()).length === MASTERS
        await until('a replica is in its place', isReplaced, PATIENCE_MS)
        await cluster.settled(false, PATIENCE_MS)
        await server.restart()
        await whole()
      }
    },
    {
      what: 'CLUSTER FAILOVER, in order',
      weight: 2,
      mayLoseGuards: true,
      failsOver: true,
      strike: async () => {
        const replica = await aReplica()
        if (replica === undefined) return MISSED
        await ask(replica, (client) => client.call('CLUSTER', 'FAILOVER'))
        const isMaster = async (): Promise<boolean> => (await cluster.primaries()).includes(replica)
        const isDone = await until('the replica is a master', isMaster, MANUAL_FAILOVER_MS).then(
          () => true,
          () => false
        )
        await whole()
        return isDone ? undefined : MISSED
      }
    },
    {
      what: 'a master stopped for a moment',
      weight: 2,
      mayLoseGuards: true,
      strike: async (random) => {
        const server = await aMaster(random)
        server.pause()
        await sleep(50 + 300 * random())
        server.resume()
      }
    },
    {
      what: 'slots moved from one master to another, under load',
      weight: 2,
      mayLoseGuards: false,
      strike: async (random) => {
        await whole()
        const [from, to] = [await aMaster(random), await aMaster(random)]
        if (from === to) return MISSED
        const [source, target] = await Promise.all([idOf(from), idOf(to)])
        const slots = ['--cluster-from', source, '--cluster-to', target, '--cluster-slots', '300']
        await cluster.cli('reshard', ...slots, '--cluster-yes').catch(mendSlots)
        return undefined
      }
    },
    {
      what: 'SCRIPT FLUSH',
      weight: 1,
      mayLoseGuards: false,
      strike: () => onEveryNode((client) => client.script('FLUSH'))
    },
    {
      what: 'FLUSHALL',
      weight: 1,
      mayLoseGuards: true,
      strike: () => onEveryNode((client) => client.flushall())
    }
  ]

  return {
    faults,
    addressFor: async () => ({ kind: 'cluster', nodes: servers.map(({ host, port }) => ({ host, port })) }),
    forget: () => onEveryNode((client) => client.flushall()),
    stop: async () => {
      await watching[Symbol.asyncDispose]()
      await cluster.stop()
    }
  }
}

const idOf = async (server: RedisServer): Promise<string> =>
  String(await ask(server, (client) => client.call('CLUSTER', 'MYID')))

async function ask<T>({ host, port }: RedisServer, command: (client: Redis) => Promise<T>): Promise<T> {
  const client = new Redis({ host, port, maxRetriesPerRequest: 1, commandTimeout: 10_000 })
  client.on('error', () => undefined) // Reported by the call.
  try {
    return await command(client)
  } finally {
    client.disconnect()
  }
}
