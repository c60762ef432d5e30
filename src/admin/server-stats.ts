import type { Operator } from '../redis/operator.js'
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

export async function sampleServers(operator: Operator): Promise<ServerSample[]> {
  return Promise.all(
    operator.primaries().map(async (node) => {
      const startedAt = performance.now()
      await node.call('PING')
      const pingMs = performance.now() - startedAt
      const info = parseInfo(String(await node.call('INFO')))
      return sampleOf(node.name, info, pingMs)
    })
  )
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
