import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { Redis } from 'ioredis'
import { startRedisServer, type RedisServer } from './redis-server.js'
import { until } from './until.js'

const run = promisify(execFile)

export interface RedisClusterOptions {
  /** With a replica each. Default 3. */
  readonly primaries?: number
  /** Default 1. */
  readonly replicasEach?: number
  /** How long a silent node is waited for. Default 1,000 ms. */
  readonly nodeTimeoutMs?: number
  /** More arguments for every redis-server. */
  readonly args?: readonly string[]
}

/** A private Redis Cluster of real processes on 127.0.0.1. */
export interface RedisCluster extends AsyncDisposable {
  readonly nodes: readonly RedisServer[]
  /** With which another node would be started. */
  readonly args: readonly string[]
  /** The servers that are primaries now. */
  primaries(): Promise<RedisServer[]>
  /** Runs `redis-cli --cluster …` against the first node that runs. */
  cli(...args: string[]): Promise<string>
  /** Waits until every node that runs sees all slots served, and every replica is in step where `withReplicas`. */
  settled(withReplicas?: boolean, timeoutMs?: number): Promise<void>
  stop(): Promise<void>
}

export async function startRedisCluster(options: RedisClusterOptions = {}): Promise<RedisCluster> {
  const { primaries = 3, replicasEach = 1, nodeTimeoutMs = 1_000, args = [] } = options
  const clusterArgs = [
    '--cluster-enabled',
    'yes',
    '--cluster-node-timeout',
    String(nodeTimeoutMs),
    '--cluster-announce-ip',
    '127.0.0.1',
    '--repl-diskless-sync-delay',
    '0',
    // A replica that has been away for a moment may still take over: tests kill nodes one after the other.
    '--cluster-replica-validity-factor',
    '0',
    ...args
  ]
  const count = primaries * (1 + replicasEach)
  const nodes = await Promise.all(
    Array.from({ length: count }, () => startRedisServer({ args: clusterArgs }))
  )
  const stop = async (): Promise<void> => {
    await Promise.all(nodes.map((node) => node.stop()))
  }
  const running = (): RedisServer[] => nodes.filter((node) => node.running)
  const cluster: RedisCluster = {
    nodes,
    args: clusterArgs,
    primaries: async () => {
      const roles = await Promise.all(
        running().map(async (node) => ({ node, info: await ask(node, 'INFO', 'replication') }))
      )
      return roles.filter(({ info }) => info.includes('role:master')).map(({ node }) => node)
    },
    cli: async (...rest) => {
      const [command = '', ...more] = rest
      const { stdout } = await run('redis-cli', [
        '--cluster',
        command,
        `127.0.0.1:${running()[0]!.port}`,
        ...more
      ])
      return stdout
    },
    settled: async (withReplicas = false, timeoutMs = 30_000) => {
      let unsettled: string[] = []
      try {
        await until(
          'every node of the Cluster sees all slots served',
          async () => {
            unsettled = await unsettledAmong(running(), withReplicas).catch((error: Error) => [String(error)])
            return unsettled.length === 0
          },
          timeoutMs
        )
      } catch (error) {
        throw new Error(`${String(error)}\n${unsettled.join('\n')}`, { cause: error })
      }
    },
    stop,
    [Symbol.asyncDispose]: stop
  }
  try {
    const addresses = nodes.map(({ port }) => `127.0.0.1:${port}`)
    await run('redis-cli', [
      '--cluster',
      'create',
      ...addresses,
      '--cluster-replicas',
      String(replicasEach),
      '--cluster-yes'
    ])
    await cluster.settled(true)
    return cluster
  } catch (error) {
    await stop()
    throw error
  }
}

/** What is not well yet; rejects where one of them does not answer. */
async function unsettledAmong(nodes: readonly RedisServer[], withReplicas: boolean): Promise<string[]> {
  const each = await Promise.all(nodes.map((node) => unsettledIn(node, withReplicas)))
  const unsettled = each.filter((what) => what !== undefined)
  if (unsettled.length > 0) return unsettled
  const owners = await ownersSeenBy(nodes)
  return owners.length === 1 ? [] : owners
}

/**
 * Who has which slots in the eyes of each node; one map where all agree. A replica that takes over before it has heard of
 * the last slot that its primary was given does not claim it, and then nobody ever does.
 */
async function ownersSeenBy(nodes: readonly RedisServer[]): Promise<string[]> {
  const maps = await Promise.all(
    nodes.map(async (node) => {
      const lines = (await ask(node, 'CLUSTER', 'NODES')).split('\n').map((line) => line.split(' '))
      const owners = lines.filter((fields) => fields.length > 8)
      return owners
        .map(([id, , , , , , , , ...slots]) => `${id} ${slots.join(' ')}`)
        .sort()
        .join('\n')
    })
  )
  return [...new Set(maps)]
}

/** What is not well yet in the eyes of one node. */
async function unsettledIn(node: RedisServer, withReplicas: boolean): Promise<string | undefined> {
  const info = await ask(node, 'CLUSTER', 'INFO')
  const isServed = info.includes('cluster_state:ok') && info.includes('cluster_slots_ok:16384')
  const role = await ask(node, 'INFO', 'replication')
  const isFollowing = role.includes('role:master') || role.includes('master_link_status:up')
  if (isServed && (isFollowing || !withReplicas)) return undefined
  return `${node.port}\n${info}\n${role}\n${await ask(node, 'CLUSTER', 'NODES')}`
}

async function ask(node: RedisServer, command: string, ...args: string[]): Promise<string> {
  const client = new Redis({
    port: node.port,
    host: node.host,
    lazyConnect: true,
    maxRetriesPerRequest: 0,
    retryStrategy: () => null
  })
  client.on('error', () => undefined)
  try {
    await client.connect()
    return String(await client.call(command, ...args))
  } finally {
    client.disconnect()
  }
}
