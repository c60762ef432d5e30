/**
 * What do callers notice while Redis fails, and for how long after?
 *
 *     npx tsx benchmarks/outage.ts [--quick] [--only 'is frozen'] [--of bentocache]
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { FAULTS, LOAD_MS, SERVER_ARGS, type Fault, type Stage } from '../test/faults/outage.js'
import { startWorker } from '../test/support/processes.js'
import { startProxy } from '../test/support/proxy.js'
import { startRedisServer } from '../test/support/redis-server.js'
import { CONTENDERS, CORRAL, FALLING_BACK } from './contenders/contenders.js'
import type { OutageWorker } from './contenders/outage-worker.js'
import { PEERS } from './contenders/peers.js'
import { keep } from './keep.js'
import { barsOf, tableMarkdown, type OutageLine, type OutageResult } from './reports/outage.js'
import { circumstances } from './support/machine.js'
import { optionsOf } from './support/options.js'
import { startProgress } from './support/progress.js'
import { RedisMeter } from './support/redis-facts.js'
import { percentile } from './support/statistics.js'

const all = [CONTENDERS.find(({ name }) => name === CORRAL)!, FALLING_BACK, ...PEERS]
const {
  quick,
  isPartial,
  chosen: { only: chosen, of: peers }
} = optionsOf({ only: Object.keys(FAULTS), of: all.map(({ name }) => name) })

const LIMIT = 20
const DEADLINE_MS = 200
const WARM_MS = 1_000
const OUTAGE_MS = quick ? 1_000 : 2_500
const PATIENCE_MS = 4_000

const definitions = all.filter(({ name }) => peers.length === 0 || peers.includes(name))
const faults = Object.entries(FAULTS).filter(([fault]) => chosen.length === 0 || chosen.includes(fault))
const lines: OutageLine[] = []
let version = ''
const progress = startProgress(faults.length * definitions.length)
for (const [fault, make] of faults) {
  for (const { name } of definitions) {
    progress.step(`Redis ${fault}: ${name}`)
    lines.push(await measure(fault, make, name))
  }
}
progress.end()
const result: OutageResult = {
  circumstances: circumstances(
    version,
    definitions.flatMap(({ packages }) => packages)
  ),
  settings: {
    requestsPerSecond: 500,
    outageMs: OUTAGE_MS,
    loadMs: LOAD_MS,
    limit: LIMIT,
    deadlineMs: DEADLINE_MS,
    countedFrom: 'due'
  },
  lines
}
console.log(`\n${tableMarkdown(result)}\n`)
for (const { what, passed } of barsOf(result)) console.log(`${passed ? 'reached' : 'MISSED '}  ${what}`)
keep('outage', result, isPartial)

async function measure(fault: string, make: (stage: Stage) => Fault, name: string): Promise<OutageLine> {
  await using server = await startRedisServer({ args: SERVER_ARGS })
  const meter = new RedisMeter(server.url)
  version = await meter.version()
  meter.close()
  const proxy = await startProxy(server.port)
  const admin = new Redis(server.url)
  admin.on('error', () => undefined)
  await using reader = await startWorker<OutageWorker>(
    new URL('contenders/outage-worker.ts', import.meta.url)
  )
  try {
    const url = `redis://127.0.0.1:${proxy.port}`
    await reader.call('open', { name, url, namespace: 'outage', limit: LIMIT })
    const { begin, end } = make({ server, proxy, admin })
    await reader.call('begin')
    await sleep(WARM_MS)
    await begin()
    await reader.call('begin')
    await sleep(OUTAGE_MS)
    await reader.call('end')
    await end()
    const backMs = await reader.call('untilBack', PATIENCE_MS)
    const { requests, errors, waitedMs, mostLoads } = await reader.call('figures', PATIENCE_MS)
    const times = Array.from(waitedMs)
    return {
      fault,
      name,
      requests,
      errors,
      p50: percentile(times, 0.5),
      p99: percentile(times, 0.99),
      mostLoads,
      backMs
    }
  } catch (error) {
    throw new Error(`${name}, while Redis ${fault}: ${reader.output()}`, { cause: error })
  } finally {
    admin.disconnect()
    await proxy.stop()
  }
}
