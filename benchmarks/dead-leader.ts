/**
 * How long is everybody without a value when the process that loads it is killed?
 *
 *     npx tsx benchmarks/dead-leader.ts [--quick]
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { startWorker, type WorkerProcess } from '../test/support/processes.js'
import { startRedisServer } from '../test/support/redis-server.js'
import { CONTENDERS, CORRAL, definitionOf, LOCK_AND_POLL } from './contenders/contenders.js'
import type { StampedeWorker } from './contenders/stampede-worker.js'
import { keep } from './keep.js'
import { barsOf, tableMarkdown, type DeadLeaderLine, type DeadLeaderResult } from './reports/dead-leader.js'
import { circumstances } from './support/machine.js'
import { optionsOf } from './support/options.js'
import { startProgress } from './support/progress.js'
import { RedisMeter } from './support/redis-facts.js'
import { spreadOf } from './support/statistics.js'
import { inTurns } from './support/versus.js'

const { quick } = optionsOf({})

const LOAD_MS = 200
/** Corral's default; the lock of the other lives as long. */
const LEASE_MS = 2_000
const NEVER_MS = 60_000
const CALLERS = 50
const TURNS = quick ? 2 : 10
/** In a turn. */
const KILLS = { ours: 2, others: 1 }
const NAMES = [CORRAL, 'async-cache-dedupe', LOCK_AND_POLL.name]

type Worker = WorkerProcess<StampedeWorker>

interface Measured {
  readonly recoveredMs: number
  readonly loads: number
}

await using server = await startRedisServer()
const meter = new RedisMeter(server.url)
const contenders = await measureAll()
const result: DeadLeaderResult = {
  circumstances: circumstances(
    await meter.version(),
    CONTENDERS.filter(({ name }) => NAMES.includes(name)).flatMap(({ packages }) => packages)
  ),
  settings: { loadMs: LOAD_MS, leaseMs: LEASE_MS, waiters: 2 * CALLERS },
  contenders
}
meter.close()
console.log(`\n${tableMarkdown(result)}\n`)
for (const { what, passed } of barsOf(result)) console.log(`${passed ? 'reached' : 'MISSED '}  ${what}`)
keep('dead-leader', result, quick)

async function measureAll(): Promise<DeadLeaderLine[]> {
  const survivors = new Map<string, readonly Worker[]>()
  const progress = startProgress(NAMES.length * TURNS)
  let kills = 0
  try {
    for (const [index, name] of NAMES.entries()) {
      const both = [await openWorker(name, index, LOAD_MS), await openWorker(name, index, LOAD_MS)]
      survivors.set(name, both)
      await Promise.all(both.map((worker) => worker.call('get', 0)))
    }
    const turns = await inTurns(TURNS, NAMES, async (name, turn) => {
      progress.step(`${name}, turn ${turn + 1}`)
      const measured: Measured[] = []
      for (let left = name === CORRAL ? KILLS.ours : KILLS.others; left > 0; left--)
        measured.push(await killOnce(name, survivors.get(name)!, ++kills))
      return measured
    })
    progress.end()
    return [...turns].map(([name, measured]) => lineOf(name, measured.flat()))
  } finally {
    await Promise.all([...survivors.values()].flat().map((worker) => worker.kill()))
  }
}

function lineOf(name: string, measured: readonly Measured[]): DeadLeaderLine {
  return {
    name: definitionOf(name).name,
    repeats: measured.length,
    recoveredMs: spreadOf(measured.map(({ recoveredMs }) => recoveredMs)),
    loads: spreadOf(measured.map(({ loads }) => loads))
  }
}

async function killOnce(name: string, survivors: readonly Worker[], id: number): Promise<Measured> {
  const leader = await openWorker(name, NAMES.indexOf(name), NEVER_MS)
  void leader.call('get', id).catch(() => undefined) // It dies with the leader, as is meant.
  while ((await leader.call('loads')) === 0) await sleep(2)
  const before = await loadsOf(survivors)
  const waiting = survivors.map((worker) => worker.call('rush', id, CALLERS, Date.now()))
  // Any moment between two renewals of the lease.
  await sleep(150 + Math.random() * 700)
  await leader.kill('SIGKILL')
  const killedAt = performance.now()
  await Promise.all(waiting)
  const recoveredMs = Math.round(performance.now() - killedAt)
  return { recoveredMs, loads: 1 + (await loadsOf(survivors)) - before }
}

async function loadsOf(workers: readonly Worker[]): Promise<number> {
  const counts = await Promise.all(workers.map((worker) => worker.call('loads')))
  return counts.reduce((sum, one) => sum + one, 0)
}

async function openWorker(name: string, index: number, loadMs: number): Promise<Worker> {
  const worker = await startWorker<StampedeWorker>(new URL('contenders/stampede-worker.ts', import.meta.url))
  const opening = { name, url: server.url, namespace: `leader${index}`, ttlMs: 60_000, staleMs: 0, loadMs }
  await worker.call('open', opening)
  return worker
}
