import { isNotReady, type Operator, type RedisNode } from '../redis/operator.js'
import { numberIn, parseInfo, type Info } from './info.js'

/** One server's numbers at one moment. Counts are since its start. */
export interface ServerSample {
  readonly node: string
  readonly version: string
  readonly role: string
  readonly uptimeSeconds: number
  readonly atMs: number
  readonly keys: number
  readonly usedBytes: number
  readonly maxBytes: number
  readonly evictionPolicy: string
  readonly clients: number
  readonly hits: number
  readonly misses: number
  readonly evicted: number
  readonly expired: number
  readonly commands: number
  readonly bytesIn: number
  readonly bytesOut: number
  readonly replicas: number
  readonly pingMs: number
}

/** What happened between two samples, a second. */
export interface ServerRates {
  readonly commands: number
  readonly hits: number
  readonly misses: number
  /** Share of look-ups that found something; undefined when there were none. */
  readonly hitShare: number | undefined
  readonly evicted: number
  readonly expired: number
  readonly bytesIn: number
  readonly bytesOut: number
}

/** What all servers say, and which of them say nothing. Rejects when all are silent. */
export interface Samples {
  readonly servers: readonly ServerSample[]
  readonly silent: readonly SilentServer[]
}

export interface SilentServer {
  readonly node: string
  readonly because: string
}

export async function sampleServers(operator: Operator): Promise<Samples> {
  const nodes = operator.primaries()
  const looks = await Promise.allSettled(nodes.map(sampleServer))
  const servers = looks.flatMap((look) => (look.status === 'fulfilled' ? [look.value] : []))
  const silent = looks.flatMap((look, index) =>
    look.status === 'rejected' ? [{ node: nodes[index]!.name, reason: look.reason as unknown }] : []
  )
  if (servers.length === 0) throw silent[0]!.reason
  return {
    servers,
    silent: silent.map(({ node, reason }) => ({
      node,
      because: reason instanceof Error ? reason.message : String(reason)
    }))
  }
}

async function sampleServer(node: RedisNode): Promise<ServerSample> {
  const startedAt = performance.now()
  // One that loads its data tells its numbers all the same.
  await node.call('PING').catch((error: unknown) => {
    if (!isNotReady(error)) throw error
  })
  const pingMs = performance.now() - startedAt
  return sampleOf(node.name, parseInfo(String(await node.call('INFO'))), pingMs)
}

function sampleOf(node: string, info: Info, pingMs: number): ServerSample {
  const isValkey = info.has('valkey_version')
  return {
    node,
    version: isValkey ? `Valkey ${info.get('valkey_version')}` : `Redis ${info.get('redis_version') ?? '?'}`,
    role: info.get('role') ?? '?',
    uptimeSeconds: numberIn(info, 'uptime_in_seconds'),
    atMs: performance.now(),
    keys: keysIn(info),
    usedBytes: numberIn(info, 'used_memory'),
    maxBytes: numberIn(info, 'maxmemory'),
    evictionPolicy: info.get('maxmemory_policy') ?? '?',
    clients: numberIn(info, 'connected_clients'),
    hits: numberIn(info, 'keyspace_hits'),
    misses: numberIn(info, 'keyspace_misses'),
    evicted: numberIn(info, 'evicted_keys'),
    expired: numberIn(info, 'expired_keys'),
    commands: numberIn(info, 'total_commands_processed'),
    bytesIn: numberIn(info, 'total_net_input_bytes'),
    bytesOut: numberIn(info, 'total_net_output_bytes'),
    replicas: numberIn(info, 'connected_slaves'),
    pingMs
  }
}

/** `db0:keys=12,expires=12,…`, over all databases. */
function keysIn(info: Info): number {
  let keys = 0
  for (const [name, row] of info) if (/^db\d+$/.test(name)) keys += Number(/keys=(\d+)/.exec(row)?.[1] ?? 0)
  return keys
}

export function ratesBetween(before: ServerSample, after: ServerSample): ServerRates {
  const seconds = Math.max(0.001, (after.atMs - before.atMs) / 1_000)
  // Less than before: the server was restarted in between, and its counts began anew.
  const rate = (
    field: 'commands' | 'hits' | 'misses' | 'evicted' | 'expired' | 'bytesIn' | 'bytesOut'
  ): number => Math.max(0, after[field] - before[field]) / seconds
  const [hits, misses] = [rate('hits'), rate('misses')]
  return {
    commands: rate('commands'),
    hits,
    misses,
    hitShare: hits + misses === 0 ? undefined : hits / (hits + misses),
    evicted: rate('evicted'),
    expired: rate('expired'),
    bytesIn: rate('bytesIn'),
    bytesOut: rate('bytesOut')
  }
}
