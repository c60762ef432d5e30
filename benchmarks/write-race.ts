/**
 * Two processes write row and cache of one key at the same moment. How often is the cache another than the row after that?
 *
 *     npx tsx benchmarks/write-race.ts [--quick] [--only name]
 */
import { Pool } from 'pg'
import { startPostgresServer } from '../test/support/postgres-server.js'
import { startWorker, type WorkerProcess } from '../test/support/processes.js'
import { startRedisServer } from '../test/support/redis-server.js'
import { CONTENDERS, WITH_VERSION } from './contenders/contenders.js'
import type { RaceWorker, WayToWrite } from './contenders/race-worker.js'
import { keep } from './keep.js'
import { barsOf, tableMarkdown, type WriteRaceResult } from './reports/write-race.js'
import { circumstances } from './support/machine.js'
import { optionsOf } from './support/options.js'
import { startProgress } from './support/progress.js'
import { RedisMeter } from './support/redis-facts.js'
import { percentile, spreadOf } from './support/statistics.js'
import { inTurns } from './support/versus.js'

const all = [...CONTENDERS, WITH_VERSION]
const {
  quick,
  isPartial,
  chosen: { only: chosen }
} = optionsOf({ only: all.map(({ name }) => name) })

const TURNS = quick ? 2 : 5
const ROUNDS_A_TURN = quick ? 25 : 100

interface Racer {
  readonly name: string
  readonly way: WayToWrite
  readonly id: number
  readonly fleet: readonly [WorkerProcess<RaceWorker>, WorkerProcess<RaceWorker>]
}

interface Measured {
  readonly different: number
  readonly medianMs: number
}

await using postgres = await startPostgresServer({ durable: false })
await using server = await startRedisServer()
const pool = new Pool({ connectionString: postgres.url, max: 2 })
const meter = new RedisMeter(server.url)
await pool.query('CREATE TABLE race (id int PRIMARY KEY, version int NOT NULL)')

const definitions = all.filter(({ name }) => chosen.length === 0 || chosen.includes(name))
const racers = new Map<string, Racer>()
const opening = startProgress(definitions.length)
for (const [index, { name }] of definitions.entries()) {
  opening.step(`opening ${name}`)
  const fleet = [await startRaceWorker(), await startRaceWorker()] as const
  for (const worker of fleet) {
    const options = { name, url: server.url, postgresUrl: postgres.url, namespace: `race${index}` }
    for (const way of await worker.call('open', options)) {
      const id = index * 2 + (way === 'delete' ? 1 : 0)
      racers.set(`${name}, ${way}`, { name, way, id, fleet })
    }
  }
}
opening.end()
await pool.query('INSERT INTO race SELECT id, 1 FROM generate_series(0, $1::int) id', [
  definitions.length * 2
])

const progress = startProgress(racers.size * TURNS)
const measured = await inTurns(TURNS, [...racers.keys()], async (key, turn) => {
  progress.step(`${key}, turn ${turn + 1}`)
  return race(racers.get(key)!)
})
progress.end()
await Promise.all([...racers.values()].flatMap(({ fleet }) => fleet.map((worker) => worker.kill())))

const result: WriteRaceResult = {
  circumstances: circumstances(await meter.version(), [
    'pg',
    ...definitions.flatMap(({ packages }) => packages)
  ]),
  postgres: String((await pool.query('SHOW server_version')).rows[0].server_version),
  settings: { rounds: TURNS * ROUNDS_A_TURN },
  lines: [...measured].map(([key, turns]) => ({
    name: racers.get(key)!.name,
    way: racers.get(key)!.way,
    different: turns.reduce((sum, { different }) => sum + different, 0),
    medianMs: spreadOf(turns.map(({ medianMs }) => medianMs))
  }))
}
meter.close()
await pool.end()
console.log(`\n${tableMarkdown(result)}\n`)
for (const { what, passed } of barsOf(result)) console.log(`${passed ? 'reached' : 'MISSED '}  ${what}`)
keep('write-race', result, isPartial)

function startRaceWorker(): Promise<WorkerProcess<RaceWorker>> {
  return startWorker<RaceWorker>(new URL('contenders/race-worker.ts', import.meta.url))
}

/** Two writers and a reader at once; when all three are done, what is read is compared with the row. */
async function race({ id, way, fleet }: Racer): Promise<Measured> {
  const [first, second] = fleet
  await first.call('get', id)
  const tookMs: number[] = []
  let different = 0
  for (let round = 0; round < ROUNDS_A_TURN; round++) {
    const [reader, other] = round % 2 === 0 ? [first, second] : [second, first]
    const [one, another] = await Promise.all([
      first.call('write', id, way),
      second.call('write', id, way),
      reader.call('get', id)
    ])
    tookMs.push(one.tookMs, another.tookMs)
    const newest = Math.max(one.version, another.version)
    if ((await other.call('get', id)) !== newest) different++
  }
  tookMs.sort((a, b) => a - b)
  return { different, medianMs: percentile(tookMs, 0.5) }
}
