/**
 * Many hot keys were stored at the same moment with the same TTL. What happens when they expire, all at once?
 *
 *     npx tsx benchmarks/expiry-storm.ts [--quick] [--only name]
 */
import { Pool } from 'pg'
import { startPostgresServer } from '../test/support/postgres-server.js'
import { startWorker, type WorkerProcess } from '../test/support/processes.js'
import { startRedisServer } from '../test/support/redis-server.js'
import { CONTENDERS, LOCK_AND_POLL, WITHOUT_SPREAD } from './contenders/contenders.js'
import type { StormFigures, StormWorker } from './contenders/storm-worker.js'
import { keep } from './keep.js'
import {
  barsOf,
  caseMarkdown,
  type StormCase,
  type StormLine,
  type StormResult
} from './reports/expiry-storm.js'
import { circumstances } from './support/machine.js'
import { optionsOf } from './support/options.js'
import { startProgress } from './support/progress.js'
import { RedisMeter } from './support/redis-facts.js'
import { makeRow } from './support/rows.js'
import { percentile, spreadOf } from './support/statistics.js'
import { inTurns } from './support/versus.js'

const all = [...CONTENDERS, WITHOUT_SPREAD, LOCK_AND_POLL]
const {
  quick,
  isPartial,
  chosen: { only: chosen }
} = optionsOf({ only: all.map(({ name }) => name) })

const PROCESSES = 4
const CONNECTIONS = 5
const KEYS = 200
const SKEW = 0.6
const PER_SECOND = 3_000
const LOAD_MS = 100
const ROUNDS = quick ? 1 : 3
const TTL_MS = quick ? 2_000 : 4_000
const STALE_MS = 10_000
/** Reads begin so long before the TTL is over, and go on so long after. */
const BEFORE_MS = quick ? 800 : 1_500
const AFTER_MS = quick ? 800 : 1_500

interface Stormer {
  readonly name: string
  readonly staleMs: number
}

interface Measured {
  readonly loads: number
  readonly mostAtOnce: number
  readonly errors: number
  readonly sortedMs: readonly number[]
}

type Fleet = readonly WorkerProcess<StormWorker>[]

await using postgres = await startPostgresServer({ durable: false })
await using server = await startRedisServer()
const pool = new Pool({ connectionString: postgres.url, max: 1 })
const meter = new RedisMeter(server.url)
await fillTable()

const definitions = all.filter(({ name }) => chosen.length === 0 || chosen.includes(name))
const stormers = new Map<string, Stormer>(
  definitions.flatMap(({ name, servesStale }) => [
    [`${name}, fresh values only`, { name, staleMs: 0 }],
    ...(servesStale ? [[`${name}, stale values allowed`, { name, staleMs: STALE_MS }] as const] : [])
  ])
)
const fleets = new Map<string, Fleet>()
const progress = startProgress(stormers.size * ROUNDS)
let storms = 0
const measured = await inTurns(ROUNDS, [...stormers.keys()], async (key, round) => {
  progress.step(`${key}, round ${round + 1}`)
  return storm(stormers.get(key)!, round)
})
progress.end()
await Promise.all([...fleets.values()].flat().map((worker) => worker.kill()))

const linesWith = (staleMs: number): StormLine[] =>
  [...measured].flatMap(([key, rounds]) =>
    stormers.get(key)!.staleMs === staleMs ? [lineOf(stormers.get(key)!.name, rounds)] : []
  )
const cases: StormCase[] = [
  { stale: false, contenders: linesWith(0) },
  { stale: true, contenders: linesWith(STALE_MS) }
]
const result: StormResult = {
  circumstances: circumstances(await meter.version(), [
    'pg',
    ...definitions.flatMap(({ packages }) => packages)
  ]),
  postgres: String((await pool.query('SHOW server_version')).rows[0].server_version),
  settings: {
    processes: PROCESSES,
    connections: CONNECTIONS,
    keys: KEYS,
    skew: SKEW,
    readsPerSecond: PER_SECOND,
    loadMs: LOAD_MS,
    ttlMs: TTL_MS,
    staleMs: STALE_MS,
    beforeMs: BEFORE_MS,
    afterMs: AFTER_MS,
    rounds: ROUNDS
  },
  cases
}
meter.close()
await pool.end()
console.log(`\n${cases.map(caseMarkdown).join('\n\n')}\n`)
for (const { what, passed } of barsOf(result)) console.log(`${passed ? 'reached' : 'MISSED '}  ${what}`)
keep('expiry-storm', result, isPartial)

async function fillTable(): Promise<void> {
  await pool.query('CREATE TABLE products (id int PRIMARY KEY, data jsonb NOT NULL)')
  const rows = Array.from({ length: KEYS }, (_, id) => JSON.stringify(makeRow('2 KiB', id)))
  await pool.query(
    'INSERT INTO products SELECT place - 1, data FROM unnest($1::jsonb[]) WITH ORDINALITY AS all_rows (data, place)',
    [rows]
  )
}

async function storm({ name, staleMs }: Stormer, round: number): Promise<Measured> {
  await meter.empty()
  const fleet = await fleetOf(name)
  const opening = {
    name,
    url: server.url,
    postgresUrl: postgres.url,
    connections: CONNECTIONS,
    namespace: `storm${storms++}`,
    ttlMs: TTL_MS,
    staleMs,
    loadMs: LOAD_MS
  }
  await Promise.all(fleet.map((worker) => worker.call('open', opening)))
  const primedAt = Date.now()
  await fleet[0]!.call('prime', KEYS)
  const reads = {
    keys: KEYS,
    skew: SKEW,
    perSecond: PER_SECOND / PROCESSES,
    fromMs: primedAt + TTL_MS - BEFORE_MS,
    untilMs: primedAt + TTL_MS + AFTER_MS
  }
  const figures = await Promise.all(
    fleet.map((worker, index) => worker.call('read', { ...reads, seed: round * PROCESSES + index }))
  )
  await Promise.all(fleet.map((worker) => worker.call('close')))
  return {
    loads: figures.reduce((sum, { loads }) => sum + loads.length / 2, 0),
    mostAtOnce: mostAtOnce(figures),
    errors: figures.reduce((sum, { errors }) => sum + errors, 0),
    sortedMs: figures.flatMap(({ tookMs }) => [...tookMs]).toSorted((a, b) => a - b)
  }
}

/** The same processes for all storms of one contender: what they have compiled stays. */
async function fleetOf(name: string): Promise<Fleet> {
  const known = fleets.get(name)
  if (known !== undefined) return known
  const file = new URL('contenders/storm-worker.ts', import.meta.url)
  const fleet = await Promise.all(Array.from({ length: PROCESSES }, () => startWorker<StormWorker>(file)))
  fleets.set(name, fleet)
  return fleet
}

/** Loads of all processes under way at the same time, those that wait for a connection among them. */
function mostAtOnce(figures: readonly StormFigures[]): number {
  const steps = figures.flatMap(({ loads }) =>
    [...loads].map((atMs, index) => ({ atMs, by: index % 2 === 0 ? 1 : -1 }))
  )
  let [running, most] = [0, 0]
  for (const { by } of steps.toSorted((a, b) => a.atMs - b.atMs || a.by - b.by)) {
    running += by
    most = Math.max(most, running)
  }
  return most
}

function lineOf(name: string, rounds: readonly Measured[]): StormLine {
  const at = (share: number) => spreadOf(rounds.map(({ sortedMs }) => percentile(sortedMs, share)))
  return {
    name,
    loads: spreadOf(rounds.map(({ loads }) => loads)),
    mostAtOnce: spreadOf(rounds.map((one) => one.mostAtOnce)),
    errors: rounds.reduce((sum, { errors }) => sum + errors, 0),
    p50Ms: at(0.5),
    p99Ms: at(0.99),
    maxMs: at(1)
  }
}
