/**
 * How much faster than the database does Redis answer, and how much faster than Redis does memory?
 *
 *     npx tsx benchmarks/latency.ts [--quick]
 */
import { Pool } from 'pg'
import { startPostgresServer } from '../test/support/postgres-server.js'
import { startWorker, type WorkerProcess } from '../test/support/processes.js'
import { startRedisServer } from '../test/support/redis-server.js'
import type { LatencyFigures, LatencyWorker } from './contenders/latency-worker.js'
import { keep } from './keep.js'
import {
  latencySentence,
  tableMarkdown,
  WAYS,
  type LatencyCase,
  type LatencyResult,
  type Way
} from './reports/latency.js'
import { circumstances } from './support/machine.js'
import { optionsOf } from './support/options.js'
import { startProgress } from './support/progress.js'
import { RedisMeter } from './support/redis-facts.js'
import { makeRow, type Shape } from './support/rows.js'
import { rounded, spreadOf } from './support/statistics.js'
import { inTurns } from './support/versus.js'

const { quick } = optionsOf({})

const ROWS = quick ? 2_000 : 10_000
const ROUNDS = quick ? 2 : 9
const ROUND_MS = quick ? 200 : 1_000
const SHAPES: readonly Shape[] = ['200 B', '2 KiB']

await using postgres = await startPostgresServer({ durable: false })
await using server = await startRedisServer()
const pool = new Pool({ connectionString: postgres.url, max: 1 })
const meter = new RedisMeter(server.url)
await pool.query('CREATE TABLE products (id int PRIMARY KEY, data jsonb NOT NULL)')
const progress = startProgress(SHAPES.length * Object.keys(WAYS).length * (ROUNDS + 1))
const cases: LatencyCase[] = []
for (const shape of SHAPES) cases.push(await measureShape(shape))
progress.end()

const result: LatencyResult = {
  circumstances: circumstances(await meter.version(), ['corral', 'ioredis', 'pg']),
  postgres: String((await pool.query('SHOW server_version')).rows[0].server_version),
  settings: { rows: ROWS, rounds: ROUNDS, roundMs: ROUND_MS },
  cases
}
meter.close()
await pool.end()
console.log(`\n${cases.map(tableMarkdown).join('\n\n')}\n\n${latencySentence(result)}\n`)
keep('latency', result, quick)

async function measureShape(shape: Shape): Promise<LatencyCase> {
  await meter.empty()
  await fillTable(shape)
  const workers = new Map<string, WorkerProcess<LatencyWorker>>()
  try {
    for (const way of Object.keys(WAYS) as Way[]) {
      progress.step(`rows of ${shape}: opening ${WAYS[way]}`)
      const worker = await startWorker<LatencyWorker>(
        new URL('contenders/latency-worker.ts', import.meta.url)
      )
      workers.set(way, worker)
      const urls = { redisUrl: server.url, postgresUrl: postgres.url }
      await worker.call('open', { way, shape, ...urls, keys: ROWS })
    }
    const figures = await inTurns(ROUNDS, [...workers.keys()], async (way, round) => {
      progress.step(`rows of ${shape}, round ${round + 1}: ${WAYS[way as Way]}`)
      return workers.get(way)!.call('run', ROUND_MS)
    })
    return { shape, lines: linesOf(figures as Map<Way, LatencyFigures[]>) }
  } finally {
    await Promise.all([...workers.values()].map((worker) => worker.kill()))
  }
}

async function fillTable(shape: Shape): Promise<void> {
  await pool.query('TRUNCATE products')
  const rows = Array.from({ length: ROWS }, (_, id) => JSON.stringify(makeRow(shape, id)))
  await pool.query(
    'INSERT INTO products SELECT place - 1, data FROM unnest($1::jsonb[]) WITH ORDINALITY AS all_rows (data, place)',
    [rows]
  )
  await pool.query('VACUUM ANALYZE products')
}

function linesOf(figures: ReadonlyMap<Way, readonly LatencyFigures[]>): LatencyCase['lines'] {
  const redis = figures.get('redis')!
  return [...figures].map(([way, rounds]) => ({
    way,
    p50Us: spreadOf(rounds.map(({ p50 }) => p50)),
    p99Us: spreadOf(rounds.map(({ p99 }) => p99)),
    timesRedis: spreadOf(rounds.map(({ p50 }, round) => rounded(p50 / redis[round]!.p50)))
  }))
}
