/**
 * What does an entry take in Redis and in the process, and what does a cache add to an installation and to the start?
 *
 *     npx tsx benchmarks/footprint.ts [--quick] [--only name]
 */
import { spawnSync } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { Redis } from 'ioredis'
import { startWorker } from '../test/support/processes.js'
import { startRedisServer } from '../test/support/redis-server.js'
import { CONTENDERS } from './contenders/contenders.js'
import type { FootprintWorker } from './contenders/footprint-worker.js'
import { BARE, MEMORY_CONTENDERS } from './contenders/memory-contenders.js'
import { keep } from './keep.js'
import { tablesMarkdown, type FootprintResult } from './reports/footprint.js'
import { installedSize } from './support/installed.js'
import { circumstances } from './support/machine.js'
import { optionsOf } from './support/options.js'
import { startProgress } from './support/progress.js'
import { RedisMeter } from './support/redis-facts.js'
import { makeRow, type Shape } from './support/rows.js'
import { rounded, spreadOf, type Spread } from './support/statistics.js'
import { inTurns } from './support/versus.js'

const {
  quick,
  isPartial,
  chosen: { only: chosen }
} = optionsOf({ only: [...new Set([...CONTENDERS, ...MEMORY_CONTENDERS].map(({ name }) => name))] })

const SHAPES: readonly Shape[] = ['200 B', '2 KiB']
/** The difference between the two is what so many entries more take, without what a cache takes that is empty. */
const REDIS_KEYS = quick ? { few: 100, many: 600 } : { few: 1_000, many: 6_000 }
const MEMORY_KEYS = quick ? { few: 200, many: 1_200 } : { few: 5_000, many: 20_000 }
const MEMORY_ROUNDS = quick ? 1 : 3
const STARTS = quick ? 3 : 21

/** What the set-up of each imports, in the order of its documentation. */
const IMPORTS: Readonly<Record<string, readonly string[]>> = {
  Corral: ['corral', 'ioredis'],
  'ioredis and JSON.parse': ['ioredis'],
  'node-redis and JSON.parse': ['redis'],
  'async-cache-dedupe': ['async-cache-dedupe', 'ioredis'],
  bentocache: ['bentocache', 'bentocache/drivers/redis', 'ioredis'],
  cacheable: ['cacheable', '@keyv/redis'],
  'cache-manager': ['cache-manager', '@keyv/redis'],
  Keyv: ['keyv', '@keyv/redis'],
  'layered-loader': ['layered-loader/core', 'layered-loader/redis', 'ioredis'],
  cachified: ['@epic-web/cachified', 'cachified-redis-adapter', 'redis'],
  ocache: ['ocache', 'ioredis']
}

await using server = await startRedisServer()
const redis = new Redis(server.url)
const meter = new RedisMeter(server.url)
const isChosen = ({ name }: { readonly name: string }): boolean =>
  chosen.length === 0 || chosen.includes(name)
const definitions = CONTENDERS.filter(isChosen)
const inMemory = MEMORY_CONTENDERS.filter((one) => isChosen(one) || one.name === BARE)
const progress = startProgress(
  SHAPES.length * (definitions.length + inMemory.length * MEMORY_ROUNDS) + definitions.length * (STARTS + 1)
)

const redisLines: FootprintResult['redis'][number][] = []
for (const shape of SHAPES)
  for (const { name } of definitions) redisLines.push(await measureRedis(name, shape))
const memoryLines: FootprintResult['memory'][number][] = []
for (const shape of SHAPES) {
  const figures = await inTurns(
    MEMORY_ROUNDS,
    inMemory.map(({ name }) => name),
    (name) => measureMemory(name, shape)
  )
  for (const [name, rounds] of figures) memoryLines.push({ name, shape, bytes: spreadOf(rounds) })
}
const starts = await measureStarts()
const result: FootprintResult = {
  circumstances: circumstances(
    await meter.version(),
    [...CONTENDERS, ...MEMORY_CONTENDERS].flatMap(({ packages }) => packages)
  ),
  settings: {
    redisKeys: REDIS_KEYS.many - REDIS_KEYS.few,
    memoryKeys: MEMORY_KEYS.many - MEMORY_KEYS.few,
    memoryRounds: MEMORY_ROUNDS,
    starts: STARTS
  },
  jsonBytes: Object.fromEntries(SHAPES.map((shape) => [shape, meanJsonBytes(shape)])),
  redis: redisLines,
  memory: memoryLines,
  installations: definitions.map(({ name, packages }) => ({
    name,
    startMs: starts.get(name)!,
    ...installedSize(packages)
  }))
}
progress.end()
meter.close()
redis.disconnect()
console.log(`\n${tablesMarkdown(result)}\n`)
keep('footprint', result, isPartial)

async function measureRedis(name: string, shape: Shape): Promise<FootprintResult['redis'][number]> {
  progress.step(`${name}, rows of ${shape} in Redis`)
  await meter.empty()
  const fill = async (keys: number): Promise<number> => {
    await using worker = await startFootprintWorker()
    await worker.call('fillRedis', name, server.url, 'footprint', shape, keys)
    // With its connections go their buffers.
    await worker.kill()
    await untilAlone()
    return usedMemory()
  }
  // What a cache needs once, such as its scripts, is there with the few; what it stores for an entry comes with the many.
  const few = await fill(REDIS_KEYS.few)
  const many = await fill(REDIS_KEYS.many)
  const listed = await memoryUsage()
  return {
    name,
    shape,
    usedBytes: rounded((many - few) / (REDIS_KEYS.many - REDIS_KEYS.few)),
    memoryUsageBytes: rounded(listed.bytes / REDIS_KEYS.many),
    keysPerEntry: rounded(listed.keys / REDIS_KEYS.many)
  }
}

async function measureMemory(name: string, shape: Shape): Promise<number> {
  progress.step(`${name}, rows of ${shape} in memory`)
  const fill = async (keys: number): Promise<number> => {
    await meter.empty()
    await using worker = await startFootprintWorker()
    return await worker.call('fillMemory', name, server.url, 'footprint', shape, keys)
  }
  const [few, many] = [await fill(MEMORY_KEYS.few), await fill(MEMORY_KEYS.many)]
  return rounded((many - few) / (MEMORY_KEYS.many - MEMORY_KEYS.few))
}

/** From the start of a process until the imports are done, beyond a process that imports nothing. */
async function measureStarts(): Promise<Map<string, Spread>> {
  const NOTHING = ''
  const names = [NOTHING, ...definitions.map(({ name }) => name)]
  const figures = await inTurns(STARTS, names, async (name, round) => {
    if (name !== NOTHING) progress.step(`${name}, start ${round + 1}`)
    return startOnce(IMPORTS[name] ?? [])
  })
  const nothing = figures.get(NOTHING)!
  return new Map(
    definitions.map(({ name }) => [
      name,
      spreadOf(figures.get(name)!.map((ms, round) => rounded(ms - nothing[round]!)))
    ])
  )
}

function startOnce(imports: readonly string[]): number {
  const code = imports.map((name) => `await import('${name}')`).join('; ')
  const startedAt = performance.now()
  const { status, stderr } = spawnSync(
    process.execPath,
    ['--input-type=module', '-e', `${code}; process.exit(0)`],
    {
      cwd: fileURLToPath(new URL('.', import.meta.url)),
      stdio: ['ignore', 'ignore', 'pipe']
    }
  )
  if (status !== 0) throw new Error(`${imports.join(', ')}: ${String(stderr)}`)
  return performance.now() - startedAt
}

function startFootprintWorker() {
  return startWorker<FootprintWorker>(new URL('contenders/footprint-worker.ts', import.meta.url))
}

async function usedMemory(): Promise<number> {
  return Number(/^used_memory:(\d+)/m.exec(await redis.info('memory'))![1])
}

async function untilAlone(): Promise<void> {
  // This process has two connections.
  while (
    String(await redis.client('LIST'))
      .trim()
      .split('\n').length > 2
  )
    await sleep(10)
}

async function memoryUsage(): Promise<{ bytes: number; keys: number }> {
  let [bytes, keys] = [0, 0]
  for await (const page of redis.scanStream({ count: 1_000 }) as AsyncIterable<string[]>) {
    const usages = await Promise.all(page.map((key) => redis.memory('USAGE', key, 'SAMPLES', 0)))
    bytes += usages.reduce<number>((sum, one) => sum + Number(one), 0)
    keys += page.length
  }
  return { bytes, keys }
}

function meanJsonBytes(shape: Shape): number {
  const sizes = Array.from({ length: REDIS_KEYS.many }, (_, id) => JSON.stringify(makeRow(shape, id)).length)
  return Math.round(sizes.reduce((sum, one) => sum + one, 0) / REDIS_KEYS.many)
}
