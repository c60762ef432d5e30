/**
 * How many loads does it cost when everybody misses one key at once, and how long do they wait?
 *
 *     npx tsx benchmarks/stampede.ts [--quick] [--only name]
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { startWorker, type WorkerProcess } from '../test/support/processes.js'
import { startRedisServer } from '../test/support/redis-server.js'
import { CONTENDERS, CORRAL, LOCK_AND_POLL } from './contenders/contenders.js'
import type { Rush, StampedeWorker } from './contenders/stampede-worker.js'
import { keep } from './keep.js'
import {
  barsOf,
  caseMarkdown,
  type StampedeCase,
  type StampedeLine,
  type StampedeResult
} from './reports/stampede.js'
import { circumstances } from './support/machine.js'
import { optionsOf } from './support/options.js'
import { startProgress } from './support/progress.js'
import { CommandWatch, RedisMeter } from './support/redis-facts.js'
import { percentile, rounded, spreadOf } from './support/statistics.js'
import { inTurns } from './support/versus.js'

const all = [...CONTENDERS, LOCK_AND_POLL]
const {
  quick,
  isPartial,
  chosen: { only: chosenNames }
} = optionsOf({ only: all.map(({ name }) => name) })

const LOAD_MS = 200
const TURNS = quick ? 2 : 5
/** In a turn. Corral promises one load in every rush, and has to show it more often. */
const RUSHES = { ours: quick ? 3 : 10, others: 1 }
const TTL_MS = { cold: 60_000, stale: 1_000 }
const STALE_MS = { cold: 0, stale: 60_000 }
/** From the order to the rush, so that all processes have it in time. */
const HEAD_START_MS = 60

interface Measured {
  readonly rushes: readonly Rush[]
  readonly loads: number
  readonly commands: readonly number[]
}

interface Fleet {
  readonly workers: readonly WorkerProcess<StampedeWorker>[]
  /** As whom each process logs in to Redis. */
  readonly users: readonly string[]
}

await using server = await startRedisServer()
const watch = await CommandWatch.start(server.url)
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
watch.close()
for (const { what, passed } of cases.flatMap((one) => barsOf(one, LOAD_MS))) {
  console.log(`${passed ? 'reached' : 'MISSED '}  ${what}`)
}
keep('stampede', result, isPartial)

async function measureCase(
  entry: StampedeCase['entry'],
  processes: number,
  callersEach: number
): Promise<StampedeCase> {
  const definitions = all.filter(
    ({ name, servesStale }) =>
      (entry === 'cold' || servesStale) && (chosenNames.length === 0 || chosenNames.includes(name))
  )
  const progress = startProgress(definitions.length * (1 + TURNS))
  const fleets = new Map<string, Fleet>()
  const what = `${entry}, ${processes} processes`
  try {
    for (const [index, { name }] of definitions.entries()) {
      progress.step(`${what}: opening ${name}`)
      fleets.set(name, await openFleet(name, entry, `contender${index}-`, processes))
    }
    const turns = await inTurns(TURNS, [...fleets.keys()], async (name, turn) => {
      progress.step(`${what}, turn ${turn + 1}: ${name}`)
      return rushesOf(
        fleets.get(name)!,
        entry,
        turn,
        name === CORRAL ? RUSHES.ours : RUSHES.others,
        callersEach
      )
    })
    progress.end()
    const contenders = [...turns].map(([name, measured]) => lineOf(name, measured.flat(), entry))
    const one: StampedeCase = { entry, processes, callersEach, contenders }
    console.log(`\n${caseMarkdown(one)}\n`)
    return one
  } finally {
    await Promise.all([...fleets.values()].flatMap(({ workers }) => workers.map((worker) => worker.kill())))
    await meter.empty()
  }
}

async function openFleet(
  name: string,
  entry: StampedeCase['entry'],
  prefix: string,
  processes: number
): Promise<Fleet> {
  const users = Array.from({ length: processes }, (_, index) => `${prefix}${index}`)
  for (const user of users) await watch.addUser(user)
  const workers = await Promise.all(
    users.map((user) => openWorker(name, entry, prefix, CommandWatch.urlOf(server.url, user)))
  )
  return { workers, users }
}

/** The rushes of one turn; the first warms up, and does not count. */
async function rushesOf(
  fleet: Fleet,
  entry: StampedeCase['entry'],
  turn: number,
  count: number,
  callersEach: number
): Promise<Measured[]> {
  const measured: Measured[] = []
  for (let rush = 0; rush <= count; rush++)
    measured.push(await rushOnce(fleet, entry, turn * (count + 1) + rush, callersEach))
  return measured.slice(1)
}

async function openWorker(
  name: string,
  entry: StampedeCase['entry'],
  namespace: string,
  url: string
): Promise<WorkerProcess<StampedeWorker>> {
  const worker = await startWorker<StampedeWorker>(
    new URL('contenders/stampede-worker.ts', import.meta.url),
    // Dozens are started.
    { startTimeoutMs: 120_000 }
  )
  const [ttlMs, staleMs] = [TTL_MS[entry], STALE_MS[entry]]
  await worker.call('open', { name, url, namespace, ttlMs, staleMs, loadMs: LOAD_MS })
  return worker
}

/** Every rush has a key of its own. */
async function rushOnce(
  { workers, users }: Fleet,
  entry: StampedeCase['entry'],
  id: number,
  callersEach: number
): Promise<Measured> {
  if (entry === 'stale') {
    await workers[0]!.call('get', id)
    await sleep(TTL_MS.stale + 50)
  }
  await watch.begin()
  const loadsBefore = await loadsOf(workers)
  const at = Date.now() + HEAD_START_MS
  const rushes = await Promise.all(workers.map((worker) => worker.call('rush', id, callersEach, at)))
  const commands = await watch.end(users)
  // A refresh behind an old value goes on after everybody has been answered.
  await sleep(entry === 'stale' ? LOAD_MS + 100 : 20)
  return { rushes, commands, loads: (await loadsOf(workers)) - loadsBefore }
}

async function loadsOf(workers: Fleet['workers']): Promise<number> {
  const counts = await Promise.all(workers.map((worker) => worker.call('loads')))
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
