/**
 * How many loads does it cost when everybody misses one key at once, and how long do they wait?
 *
 *     npx tsx benchmarks/stampede.ts [--quick] [--only name]
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { startWorker, type WorkerProcess } from '../test/support/processes.js'
import { startRedisServer } from '../test/support/redis-server.js'
import { CONTENDERS, CORRAL, LOCK_AND_POLL, type Definition } from './contenders/contenders.js'
import type { Rush, StampedeWorker } from './contenders/stampede-worker.js'
import {
  barsOf,
  caseMarkdown,
  type StampedeCase,
  type StampedeLine,
  type StampedeResult
} from './reports/stampede.js'
import { circumstances } from './support/machine.js'
import { startProgress } from './support/progress.js'
import { CommandWatch, RedisMeter } from './support/redis-facts.js'
import { saveResult } from './support/results.js'
import { percentile, rounded, spreadOf } from './support/statistics.js'
import { note, optionsOf, valuesOf } from './support/versus.js'
import { writeDocs } from './write-docs.js'

const { quick, rest } = optionsOf(process.argv.slice(2))
const chosenNames = valuesOf(rest, '--only')
const isPartial = quick || chosenNames.length > 0

const LOAD_MS = 200
const REPEATS = quick ? 5 : 50
const PEER_REPEATS = quick ? 2 : 5
const TTL_MS = { cold: 60_000, stale: 1_000 }
const STALE_MS = { cold: 0, stale: 60_000 }
/** From the order to the rush, so that all processes have it in time. */
const HEAD_START_MS = 60

interface Measured {
  readonly rushes: readonly Rush[]
  readonly loads: number
  readonly commands: readonly number[]
}

await using server = await startRedisServer()
const meter = new RedisMeter(server.url)
const cases: StampedeCase[] = [
  await measureCase('cold', 4, 1_250),
  await measureCase('cold', 1, 5_000),
  await measureCase('stale', 4, 1_250)
]
const result: StampedeResult = {
  circumstances: circumstances(
    await meter.version(),
    CONTENDERS.flatMap(({ packages }) => packages)
  ),
  settings: { loadMs: LOAD_MS },
  cases
}
meter.close()
for (const { what, passed } of cases.flatMap((one) => barsOf(one, LOAD_MS))) {
  console.log(`${passed ? 'reached' : 'MISSED '}  ${what}`)
}
if (isPartial) note('\nA part or a short version: the committed result is left as it is.')
else {
  saveResult('stampede', result)
  writeDocs()
}

async function measureCase(
  entry: StampedeCase['entry'],
  processes: number,
  callersEach: number
): Promise<StampedeCase> {
  const definitions = [...CONTENDERS, LOCK_AND_POLL].filter(
    ({ name, servesStale }) =>
      (entry === 'cold' || servesStale) && (chosenNames.length === 0 || chosenNames.includes(name))
  )
  const contenders: StampedeLine[] = []
  const progress = startProgress(definitions.length)
  for (const definition of definitions) {
    progress.step(`${entry}, ${processes} processes: ${definition.name}`)
    contenders.push(await measureContender(definition, entry, processes, callersEach))
  }
  progress.end()
  const one: StampedeCase = { entry, processes, callersEach, contenders }
  console.log(`\n${caseMarkdown(one)}\n`)
  return one
}

async function measureContender(
  { name }: Definition,
  entry: StampedeCase['entry'],
  processes: number,
  callersEach: number
): Promise<StampedeLine> {
  await meter.empty()
  const users = Array.from({ length: processes }, (_, index) => `process${index}`)
  const watch = await CommandWatch.start(server.url, users)
  const fleet = await Promise.all(
    users.map((user) => openWorker(name, entry, CommandWatch.urlOf(server.url, user)))
  )
  try {
    const repeats = name === CORRAL ? REPEATS : PEER_REPEATS
    await rushOnce(fleet, watch, entry, 0, callersEach) // Warms up; not counted.
    const measured: Measured[] = []
    for (let repeat = 1; repeat <= repeats; repeat++) {
      measured.push(await rushOnce(fleet, watch, entry, repeat, callersEach))
    }
    return lineOf(name, measured, entry)
  } finally {
    await Promise.all(fleet.map((worker) => worker.kill()))
    watch.close()
  }
}

async function openWorker(
  name: string,
  entry: StampedeCase['entry'],
  url: string
): Promise<WorkerProcess<StampedeWorker>> {
  const worker = await startWorker<StampedeWorker>(new URL('contenders/stampede-worker.ts', import.meta.url))
  const [ttlMs, staleMs] = [TTL_MS[entry], STALE_MS[entry]]
  await worker.call('open', { name, url, namespace: 'rush', ttlMs, staleMs, loadMs: LOAD_MS })
  return worker
}

/** Every rush has a key of its own. */
async function rushOnce(
  fleet: readonly WorkerProcess<StampedeWorker>[],
  watch: CommandWatch,
  entry: StampedeCase['entry'],
  id: number,
  callersEach: number
): Promise<Measured> {
  if (entry === 'stale') {
    await fleet[0]!.call('get', id)
    await sleep(TTL_MS.stale + 50)
  }
  await watch.begin()
  const loadsBefore = await loadsOf(fleet)
  const at = Date.now() + HEAD_START_MS
  const rushes = await Promise.all(fleet.map((worker) => worker.call('rush', id, callersEach, at)))
  const commands = await watch.end()
  // A refresh behind an old value goes on after everybody has been answered.
  await sleep(entry === 'stale' ? LOAD_MS + 100 : 20)
  return { rushes, commands, loads: (await loadsOf(fleet)) - loadsBefore }
}

async function loadsOf(fleet: readonly WorkerProcess<StampedeWorker>[]): Promise<number> {
  const counts = await Promise.all(fleet.map((worker) => worker.call('loads')))
  return counts.reduce((sum, one) => sum + one, 0)
}

function lineOf(name: string, measured: readonly Measured[], entry: StampedeCase['entry']): StampedeLine {
  const expectedMs = entry === 'cold' ? LOAD_MS : 0
  const waits = measured.map(({ rushes }) =>
    rushes.flatMap(({ waitedMs }) => [...waitedMs]).toSorted((a, b) => a - b)
  )
  const beyond = (share: number): number[] =>
    waits.map((sorted) => rounded(percentile(sorted, share) - expectedMs))
  return {
    name,
    repeats: measured.length,
    loads: spreadOf(measured.map(({ loads }) => loads)),
    rushesWithOneLoad: measured.filter(({ loads }) => loads === 1).length,
    p50Ms: spreadOf(beyond(0.5)),
    p99Ms: spreadOf(beyond(0.99)),
    maxMs: spreadOf(beyond(1)),
    commands: spreadOf(measured.map(({ commands }) => Math.max(...commands)))
  }
}
