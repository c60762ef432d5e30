/**
 * What do callers notice while Redis fails, and for how long after?
 *
 *     npx tsx benchmarks/outage.ts [--quick] [--only 'is frozen']
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { createCache } from 'corral'
import { Redis } from 'ioredis'
import {
  FAULTS,
  LOAD_MS,
  openLoop,
  ROWS,
  SERVER_ARGS,
  Source,
  type Fault,
  type Row,
  type Stage
} from '../test/faults/outage.js'
import { startProxy } from '../test/support/proxy.js'
import { startRedisServer } from '../test/support/redis-server.js'
import { barsOf, CORRAL, tableMarkdown, type OutageLine, type OutageResult } from './reports/outage.js'
import { circumstances } from './support/machine.js'
import { startProgress } from './support/progress.js'
import { RedisMeter } from './support/redis-facts.js'
import { saveResult } from './support/results.js'
import { percentile } from './support/statistics.js'
import { note, optionsOf, valuesOf } from './support/versus.js'
import { writeDocs } from './write-docs.js'

const { quick, rest } = optionsOf(process.argv.slice(2))
const chosen = valuesOf(rest, '--only')

const LIMIT = 20
const DEADLINE_MS = 200
const WARM_MS = 1_000
const OUTAGE_MS = quick ? 1_000 : 2_500
const PATIENCE_MS = 4_000

interface Reader {
  get(id: number): Promise<Row | undefined>
  /** Whether the row comes from Redis now. */
  isCached(id: number): Promise<boolean>
  close(): Promise<unknown>
}

const lines: OutageLine[] = []
let version = ''
const faults = Object.entries(FAULTS).filter(([fault]) => chosen.length === 0 || chosen.includes(fault))
const progress = startProgress(faults.length * 2)
for (const [fault, make] of faults) {
  for (const [name, open] of [
    [CORRAL, openCorral],
    ['by hand', openByHand]
  ] as const) {
    progress.step(`Redis ${fault}: ${name}`)
    lines.push(await measure(fault, make, name, open))
  }
}
progress.end()
const result: OutageResult = {
  circumstances: circumstances(version, ['corral', 'ioredis']),
  settings: {
    requestsPerSecond: 500,
    outageMs: OUTAGE_MS,
    loadMs: LOAD_MS,
    limit: LIMIT,
    deadlineMs: DEADLINE_MS
  },
  lines
}
console.log(`\n${tableMarkdown(result)}\n`)
for (const { what, passed } of barsOf(result)) console.log(`${passed ? 'reached' : 'MISSED '}  ${what}`)
if (quick || chosen.length > 0) note('\nA part or a short version: the committed result is left as it is.')
else {
  saveResult('outage', result)
  writeDocs()
}
// What the driver of the reader by hand still waits for.
process.exit(0)

async function measure(
  fault: string,
  make: (stage: Stage) => Fault,
  name: string,
  open: (url: string, source: Source) => Promise<Reader>
): Promise<OutageLine> {
  await using server = await startRedisServer({ args: SERVER_ARGS })
  const meter = new RedisMeter(server.url)
  version = await meter.version()
  meter.close()
  const proxy = await startProxy(server.port)
  const admin = new Redis(server.url)
  admin.on('error', () => undefined)
  const source = new Source()
  const reader = await open(`redis://127.0.0.1:${proxy.port}`, source)
  try {
    const { begin, end } = make({ server, proxy, admin })
    for (let id = 0; id < ROWS; id++) await reader.get(id)
    const warm = openLoop((id) => reader.get(id))
    await sleep(WARM_MS)
    await begin()
    // Not waited for: by hand they may take very long, and they are not what is counted.
    void warm.stop()
    source.mostAtOnce = 0
    const load = openLoop((id) => reader.get(id))
    await sleep(OUTAGE_MS)
    const ended = load.stop()
    await end()
    const backMs = await untilBack(reader)
    await Promise.race([ended, sleep(PATIENCE_MS)])
    const tookMs = load.tookMs.toSorted((a, b) => a - b)
    // What is not answered by now took at least that long.
    while (tookMs.length < load.requests) tookMs.push(PATIENCE_MS)
    return {
      fault,
      name,
      requests: load.requests,
      errors: load.errors.length,
      p50: percentile(tookMs, 0.5),
      p99: percentile(tookMs, 0.99),
      mostLoads: source.mostAtOnce,
      backMs
    }
  } finally {
    await Promise.race([reader.close(), sleep(1_000)])
    admin.disconnect()
    await proxy.stop()
  }
}

async function untilBack(reader: Reader): Promise<number | undefined> {
  const startedAt = performance.now()
  while (performance.now() - startedAt < PATIENCE_MS) {
    if (await Promise.race([reader.isCached(1), sleep(500, false)])) return performance.now() - startedAt
    await sleep(10)
  }
  return undefined
}

async function openCorral(url: string, source: Source): Promise<Reader> {
  const cache = createCache({
    redis: url,
    namespace: 'outage',
    commandTimeout: DEADLINE_MS,
    maxConcurrentLoads: LIMIT
  })
  const rows = cache.collection('rows', { ttl: '1h', earlyRefresh: 0, load: source.load })
  await cache.ready()
  return {
    get: (id) => rows.get(id),
    isCached: async (id) => (await rows.lookup(id)).source === 'redis',
    close: () => cache.close({ timeout: 500 })
  }
}

async function openByHand(url: string, source: Source): Promise<Reader> {
  const redis = new Redis(url)
  redis.on('error', () => undefined)
  const read = async (id: number): Promise<Row | undefined> => {
    const text = await redis.get(`row:${id}`)
    return text === null ? undefined : (JSON.parse(text) as Row)
  }
  const nothing = (): undefined => undefined
  return {
    async get(id) {
      const cached = await read(id).catch(nothing)
      if (cached !== undefined) return cached
      const row = await source.load(id)
      void redis.set(`row:${id}`, JSON.stringify(row), 'PX', 3_600_000).catch(nothing)
      return row
    },
    isCached: async (id) => {
      const cached = await read(id).catch(nothing)
      if (cached === undefined)
        await redis.set(`row:${id}`, JSON.stringify(await source.load(id)), 'PX', 3_600_000).catch(nothing)
      return cached !== undefined
    },
    close: async () => redis.disconnect()
  }
}
