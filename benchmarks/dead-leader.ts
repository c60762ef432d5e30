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
import { barsOf, tableMarkdown, type DeadLeaderLine, type DeadLeaderResult } from './reports/dead-leader.js'
import { circumstances } from './support/machine.js'
import { startProgress } from './support/progress.js'
import { RedisMeter } from './support/redis-facts.js'
import { saveResult } from './support/results.js'
import { spreadOf } from './support/statistics.js'
import { note, optionsOf } from './support/versus.js'
import { writeDocs } from './write-docs.js'

const { quick } = optionsOf(process.argv.slice(2))

const LOAD_MS = 200
/** Corral's default; the lock of the other lives as long. */
const LEASE_MS = 2_000
const NEVER_MS = 60_000
const CALLERS = 50
const REPEATS = quick ? 3 : 20
const PEER_REPEATS = quick ? 2 : 10
const NAMES = [CORRAL, 'async-cache-dedupe', LOCK_AND_POLL.name]

interface Measured {
  readonly recoveredMs: number
  readonly loads: number
}

await using server = await startRedisServer()
const meter = new RedisMeter(server.url)
const progress = startProgress(REPEATS + (NAMES.length - 1) * PEER_REPEATS)
const contenders: DeadLeaderLine[] = []
for (const name of NAMES) contenders.push(await measureContender(name))
progress.end()
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
if (quick) note('\nA short version: the committed result is left as it is.')
else {
  saveResult('dead-leader', result)
  writeDocs()
}

async function measureContender(name: string): Promise<DeadLeaderLine> {
  await meter.empty()
  const survivors = [await openWorker(name, LOAD_MS), await openWorker(name, LOAD_MS)]
  try {
    await Promise.all(survivors.map((worker) => worker.call('get', 0)))
    const measured: Measured[] = []
    for (let repeat = 1; repeat <= (name === CORRAL ? REPEATS : PEER_REPEATS); repeat++) {
      progress.step(`${name}, ${repeat}`)
      measured.push(await killOnce(name, survivors, repeat))
    }
    return {
      name: definitionOf(name).name,
      repeats: measured.length,
      recoveredMs: spreadOf(measured.map(({ recoveredMs }) => recoveredMs)),
      loads: spreadOf(measured.map(({ loads }) => loads))
    }
  } finally {
    await Promise.all(survivors.map((worker) => worker.kill()))
  }
}

async function killOnce(
  name: string,
  survivors: readonly WorkerProcess<StampedeWorker>[],
  id: number
): Promise<Measured> {
  const leader = await openWorker(name, NEVER_MS)
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

async function loadsOf(workers: readonly WorkerProcess<StampedeWorker>[]): Promise<number> {
  const counts = await Promise.all(workers.map((worker) => worker.call('loads')))
  return counts.reduce((sum, one) => sum + one, 0)
}

async function openWorker(name: string, loadMs: number): Promise<WorkerProcess<StampedeWorker>> {
  const worker = await startWorker<StampedeWorker>(new URL('contenders/stampede-worker.ts', import.meta.url))
  const opening = { name, url: server.url, namespace: 'leader', ttlMs: 60_000, staleMs: 0, loadMs }
  await worker.call('open', opening)
  return worker
}
