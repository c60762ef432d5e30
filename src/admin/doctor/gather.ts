import type { Operator, OperatorAddress, RedisNode } from '../../redis/operator.js'
import { numberIn, pairsOf, parseInfo, type Info } from '../info.js'
import { percentilesOf } from '../percentiles.js'
import { gatherAccount } from './account.js'
import { gatherCluster } from './cluster-facts.js'
import type { ClockReading, Fact, Facts, SlowCommand } from './facts.js'
import { sampleKeys } from './key-sample.js'
import { findMemoryLimit } from './memory-limit.js'

export interface GatherOptions {
  readonly namespace?: string | undefined
  /** The memory that Redis may use, when whoever asks knows it. */
  readonly memoryLimitBytes?: number | undefined
  /** Keys to look at, at most. Default 20,000. */
  readonly sampleKeys?: number | undefined
  /** This machine's wall clock, in milliseconds. */
  readonly wallClock?: () => number
}

const PINGS = 100
const SLOW_ENTRIES = 128
const CLOCK_READINGS = 5
/** Replies of CONFIG GET that must not lie about in memory, or reach a report. */
const SECRETS = /pass|auth|user/i

/** Looks at one server and judges nothing. Never rejects: what cannot be seen says why. */
export async function gatherFacts(
  operator: Operator,
  node: RedisNode,
  options: GatherOptions
): Promise<Facts> {
  const info = await attempt(async () => parseInfo(String(await node.call('INFO', 'everything'))))
  // One after the other: the round trips that are measured must not queue behind the rest.
  const latency = await attempt(() => measureLatency(node))
  const clock = await attempt(() => readClock(node, options.wallClock ?? Date.now))
  const address = addressOf(operator, node)
  return {
    node: node.name,
    address,
    info,
    latency,
    clock,
    config: await attempt(() => readConfig(node)),
    memoryLimit: await attempt(() => findMemoryLimit(knownOr(info), address, options.memoryLimitBytes)),
    slowLog: await attempt(() => readSlowLog(node)),
    tracking: await attempt(() => tryTracking(operator, node)),
    strangers: await attempt(() => operator.servesStrangers(node)),
    account: await attempt(() => gatherAccount(node)),
    cluster: await attempt(() => gatherCluster(node, isClusterNode(operator, info))),
    // Last: the longest, and what it reads must not show in the numbers above.
    keys: await attempt(() => sampleKeys(node, operator.keyPrefix, options.namespace, options.sampleKeys))
  }
}

/** What cannot be seen is a finding of its own, so an error ends here as its reason. */
export async function attempt<Value>(look: () => Promise<Value>): Promise<Fact<Value>> {
  try {
    return { known: true, value: await look() }
  } catch (error) {
    return { known: false, because: error instanceof Error ? error.message : String(error) }
  }
}

function knownOr(info: Fact<Info>): Info {
  return info.known ? info.value : new Map()
}

function isClusterNode(operator: Operator, info: Fact<Info>): boolean {
  return operator.kind === 'cluster' || numberIn(knownOr(info), 'cluster_enabled') === 1
}

async function readConfig(node: RedisNode): Promise<ReadonlyMap<string, string>> {
  const config = pairsOf(await node.call('CONFIG', 'GET', '*'))
  for (const name of config.keys()) if (SECRETS.test(name)) config.delete(name)
  return config
}

async function measureLatency(node: RedisNode): Promise<ReturnType<typeof percentilesOf>> {
  const samples: number[] = []
  for (let ping = 0; ping < PINGS; ping++) {
    const startedAt = performance.now()
    await node.call('PING')
    samples.push(performance.now() - startedAt)
  }
  // The first pays for warming up the path to the socket.
  return percentilesOf(samples.slice(1))
}

/** The reading with the shortest round trip is the sharpest. */
async function readClock(node: RedisNode, wallClock: () => number): Promise<ClockReading> {
  let best: ClockReading | undefined
  for (let reading = 0; reading < CLOCK_READINGS; reading++) {
    const before = wallClock()
    const sentAt = performance.now()
    const [seconds, micros] = (await node.call('TIME')) as [string, string]
    const uncertaintyMs = (performance.now() - sentAt) / 2
    const offsetMs = Number(seconds) * 1_000 + Number(micros) / 1_000 - (before + uncertaintyMs)
    if (best === undefined || uncertaintyMs < best.uncertaintyMs) best = { offsetMs, uncertaintyMs }
  }
  return best!
}

async function readSlowLog(node: RedisNode): Promise<readonly SlowCommand[]> {
  const entries = (await node.call('SLOWLOG', 'GET', SLOW_ENTRIES)) as [number, number, number, string[]][]
  return entries.map(([, , micros, args]) => ({
    // Only what kind of command it was: its arguments may be anybody's data.
    command: String(args[0]).toUpperCase(),
    durationMs: Number(micros) / 1_000
  }))
}

/** The nodes of a Cluster are on machines of their own. */
function addressOf({ kind, address }: Operator, { name }: RedisNode): OperatorAddress {
  if (kind !== 'cluster') return address
  const portAt = name.lastIndexOf(':')
  return { ...address, host: name.slice(0, portAt), port: Number(name.slice(portAt + 1)) }
}

/** As the engine does it. OPTIN: nothing is tracked unless asked for, so nothing is left behind. */
async function tryTracking(operator: Operator, node: RedisNode): Promise<true> {
  // Where nobody tracks, because each node would have to be watched, there is nobody to tell either.
  if (operator.kind === 'cluster') return turnTracking(node, [])
  const subscriber = await operator.another()
  try {
    const id = Number(await subscriber.call('CLIENT', 'ID'))
    await subscriber.call('subscribe', '__redis__:invalidate')
    return await turnTracking(node, ['REDIRECT', id])
  } finally {
    subscriber.close()
  }
}

async function turnTracking(node: RedisNode, to: readonly (string | number)[]): Promise<true> {
  await node.call('CLIENT', 'TRACKING', 'ON', ...to, 'OPTIN')
  await node.call('CLIENT', 'TRACKING', 'OFF')
  return true
}
