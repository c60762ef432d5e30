import { execFile } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { Redis } from 'ioredis'
import { startRedisServer, type RedisServer } from '../support/redis-server.js'
import { until } from '../support/until.js'
import { MISSED, type ServerFault, type RedisTopology } from './topology.js'

const NODES = 6
const PATIENCE_MS = 40_000
const SLOTS = 16_384
/** Redis gives one up after five seconds. */
const MANUAL_FAILOVER_MS = 10_000

const run = promisify(execFile)

/** Three masters with a replica each. */
export async function startCluster(): Promise<RedisTopology> {
  const servers = await Promise.all(
    Array.from({ length: NODES }, () => startRedisServer({ args: CLUSTERED }))
  )
  const addresses = servers.map(({ host, port }) => `${host}:${port}`)
  await run('redis-cli', ['--cluster', 'create', ...addresses, '--cluster-replicas', '1', '--cluster-yes'])
  await until('the cluster is whole', () => isWhole(servers), PATIENCE_MS)

  const aMaster = async (random: () => number): Promise<RedisServer> => {
    const masters: RedisServer[] = []
    for (const server of servers) {
      if (await isMaster(server)) masters.push(server)
    }
    return masters[Math.floor(random() * masters.length)]!
  }
  const aReplica = async (): Promise<RedisServer | undefined> => {
    for (const server of servers) if (!(await isMaster(server))) return server
    return undefined
  }
  const onEveryNode = async (command: (client: Redis) => Promise<unknown>): Promise<void> => {
    // A replica refuses what changes data; it follows its master.
    await Promise.all(servers.map((server) => ask(server, command).catch(() => undefined)))
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
        const others = servers.filter((one) => one !== server)
        await until('the others serve every slot', () => servesEverySlot(others), PATIENCE_MS)
        await server.restart()
        await until('the cluster is whole', () => isWhole(servers), PATIENCE_MS)
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
        const isDone = await until(
          'the replica is a master',
          () => isMaster(replica),
          MANUAL_FAILOVER_MS
        ).then(
          () => true,
          () => false
        )
        await until('the cluster is whole', () => isWhole(servers), PATIENCE_MS)
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
        const [from, to] = [await aMaster(random), await aMaster(random)]
        const target = await ask(to, (client) => client.call('CLUSTER', 'MYID'))
        const source = await ask(from, (client) => client.call('CLUSTER', 'MYID'))
        if (target === source) return MISSED
        await run('redis-cli', [
          '--cluster',
          'reshard',
          `${from.host}:${from.port}`,
          '--cluster-from',
          String(source),
          '--cluster-to',
          String(target),
          '--cluster-slots',
          '300',
          '--cluster-yes'
        ])
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
    stop: async () => void (await Promise.all(servers.map((server) => server.stop())))
  }
}

const CLUSTERED = [
  '--cluster-enabled',
  'yes',
  '--cluster-node-timeout',
  '1500',
  '--cluster-replica-validity-factor',
  '0',
  '--repl-diskless-sync-delay',
  '0'
]

async function servesEverySlot(servers: readonly RedisServer[]): Promise<boolean> {
  const states = await Promise.all(
    servers.map((server) => ask(server, (client) => client.cluster('INFO')).catch(() => ''))
  )
  return states.every(
    (state) => /cluster_state:ok/.test(state) && state.includes(`cluster_slots_ok:${SLOTS}`)
  )
}

async function isMaster(server: RedisServer): Promise<boolean> {
  return /role:master/.test(await ask(server, (client) => client.info('replication')))
}

/** Every slot is served, and every replica follows its master. */
async function isWhole(servers: readonly RedisServer[]): Promise<boolean> {
  if (!(await servesEverySlot(servers))) return false
  const facts = await Promise.all(
    servers.map((server) => ask(server, (client) => client.info('replication')).catch(() => ''))
  )
  const masters = facts.filter((text) => /role:master/.test(text))
  const following = facts.filter((text) => /master_link_status:up/.test(text))
  return masters.length === NODES / 2 && following.length === NODES / 2
}

async function ask<T>({ host, port }: RedisServer, command: (client: Redis) => Promise<T>): Promise<T> {
  const client = new Redis({ host, port, maxRetriesPerRequest: 1, commandTimeout: 10_000 })
  client.on('error', () => undefined) // Reported by the call.
  try {
    return await command(client)
  } finally {
    client.disconnect()
  }
}
