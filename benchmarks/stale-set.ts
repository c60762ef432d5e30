/**
 * A row changes and its entry is invalidated while somebody loads it. Who gets the old row after that?
 *
 *     npx tsx benchmarks/stale-set.ts [--quick] [--only name]
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { Pool } from 'pg'
import { startPostgresServer } from '../test/support/postgres-server.js'
import { startWorker, type WorkerProcess } from '../test/support/processes.js'
import { startRedisServer } from '../test/support/redis-server.js'
import { CONTENDERS, LOCK_AND_POLL } from './contenders/contenders.js'
import type { RaceWorker } from './contenders/race-worker.js'
import { keep } from './keep.js'
import {
  barsOf,
  tableMarkdown,
  type Place,
  type StaleSetLine,
  type StaleSetResult
} from './reports/stale-set.js'
import { circumstances } from './support/machine.js'
import { optionsOf } from './support/options.js'
import { startProgress } from './support/progress.js'
import { RedisMeter } from './support/redis-facts.js'

const all = [...CONTENDERS, LOCK_AND_POLL]
const {
  quick,
  isPartial,
  chosen: { only: chosen }
} = optionsOf({ only: all.map(({ name }) => name) })

const ROUNDS = quick ? 20 : 200
/** Rounds of different rows do not disturb each other. */
const AT_ONCE = 20
/** From the beginning of a read until the load that is under way goes on. */
const LATE_MS = 30
/** What a library may still do behind the answer. */
const SETTLE_MS = 30

type Worker = WorkerProcess<RaceWorker>

await using postgres = await startPostgresServer({ durable: false })
await using server = await startRedisServer()
const pool = new Pool({ connectionString: postgres.url, max: AT_ONCE })
const meter = new RedisMeter(server.url)
await pool.query('CREATE TABLE race (id int PRIMARY KEY, version int NOT NULL)')
let rowsMade = 0

const definitions = all.filter(({ name }) => chosen.length === 0 || chosen.includes(name))
const progress = startProgress(definitions.length * 4)
const lines: StaleSetLine[] = []
for (const [index, { name }] of definitions.entries()) lines.push(await measure(name, `race${index}`))
progress.end()

const result: StaleSetResult = {
  circumstances: circumstances(await meter.version(), [
    'pg',
    ...definitions.flatMap(({ packages }) => packages)
  ]),
  postgres: String((await pool.query('SHOW server_version')).rows[0].server_version),
  settings: { rounds: ROUNDS, lateMs: LATE_MS },
  lines
}
meter.close()
await pool.end()
console.log(`\n${tableMarkdown(result)}\n`)
for (const { what, passed } of barsOf(result)) console.log(`${passed ? 'reached' : 'MISSED '}  ${what}`)
keep('stale-set', result, isPartial)

async function measure(name: string, namespace: string): Promise<StaleSetLine> {
  const fleet = await Promise.all([openWorker(name, namespace), openWorker(name, namespace)])
  try {
    const count = async (place: Place, what: string, round: Round): Promise<number> => {
      progress.step(`${name}: invalidated in ${place}, ${what}`)
      return staleOf((id) => round(fleet, place === 'the same process' ? fleet[0] : fleet[1], id))
    }
    return {
      name,
      kept: {
        'the same process': await count('the same process', 'left in the cache', leavesOld),
        'another process': await count('another process', 'left in the cache', leavesOld)
      },
      handed: {
        'the same process': await count('the same process', 'handed on', handsOnOld),
        'another process': await count('another process', 'handed on', handsOnOld)
      }
    }
  } finally {
    await Promise.all(fleet.map((worker) => worker.kill()))
  }
}

async function openWorker(name: string, namespace: string): Promise<Worker> {
  const worker = await startWorker<RaceWorker>(new URL('contenders/race-worker.ts', import.meta.url))
  await worker.call('open', { name, url: server.url, postgresUrl: postgres.url, namespace })
  return worker
}

/** Whether a read of the row `id` that began after its invalidation returned gave what was before. */
type Round = (fleet: readonly [Worker, Worker], invalidator: Worker, id: number) => Promise<boolean>

/** Nobody reads until the load is over. */
async function leavesOld([loader, other]: readonly [Worker, Worker], invalidator: Worker, id: number) {
  await loader.call('beginRead', id)
  const version = await change(id)
  await invalidator.call('invalidate', id)
  await loader.call('endRead', id)
  await sleep(SETTLE_MS)
  const seen = [await loader.call('get', id), await other.call('get', id)]
  return seen.some((one) => one < version)
}

/** Somebody reads while the load is still under way, in the process that loads. */
async function handsOnOld([loader]: readonly [Worker, Worker], invalidator: Worker, id: number) {
  await loader.call('beginRead', id)
  const version = await change(id)
  await invalidator.call('invalidate', id)
  const late = loader.call('get', id)
  await sleep(LATE_MS)
  await loader.call('endRead', id)
  return (await late) < version
}

async function change(id: number): Promise<number> {
  const text = 'UPDATE race SET version = version + 1 WHERE id = $1 RETURNING version'
  return (await pool.query<{ version: number }>(text, [id])).rows[0]!.version
}

/** How many of the rounds were; each has a row of its own. */
async function staleOf(round: (id: number) => Promise<boolean>): Promise<number> {
  const first = rowsMade
  rowsMade += ROUNDS
  await pool.query('INSERT INTO race SELECT id, 1 FROM generate_series($1::int, $2::int) id', [
    first,
    rowsMade - 1
  ])
  let [next, stale] = [first, 0]
  const lane = async (): Promise<void> => {
    for (let id = next++; id < first + ROUNDS; id = next++) if (await round(id)) stale++
  }
  await Promise.all(Array.from({ length: AT_ONCE }, lane))
  return stale
}
