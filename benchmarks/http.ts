/**
 * What does a cache do for an HTTP API?
 *
 *     npx tsx benchmarks/http.ts [--quick] [--only name]
 */
import { Pool } from 'pg'
import { startPostgresServer } from '../test/support/postgres-server.js'
import { startWorker, type WorkerProcess } from '../test/support/processes.js'
import { startRedisServer } from '../test/support/redis-server.js'
import { CONTENDERS, LOCK_AND_POLL } from './contenders/contenders.js'
import type { HttpAsking, HttpLoadWorker, Latency, Throughput } from './contenders/http-load-worker.js'
import type { HttpKind, HttpServerWorker } from './contenders/http-server-worker.js'
import { BARE, MEMORY_CONTENDERS } from './contenders/memory-contenders.js'
import { keep } from './keep.js'
import { barsOf, NO_CACHE, tableMarkdown, type HttpResult } from './reports/http.js'
import { circumstances } from './support/machine.js'
import { optionsOf } from './support/options.js'
import { startProgress } from './support/progress.js'
import { RedisMeter } from './support/redis-facts.js'
import { makeRow } from './support/rows.js'
import { rounded, spreadOf } from './support/statistics.js'
import { inTurns } from './support/versus.js'

const KEYS = 1_000
const SKEW = 0.99
const REVIEWS = 200
const CONNECTIONS = 50
/** Well below what the API without a cache can answer. */
const PER_SECOND = 500

interface Api {
  readonly name: string
  readonly kind: HttpKind
}

interface Measured {
  readonly throughput: Throughput
  readonly latency: Latency
  readonly loadsPerThousand: number
}

const all: readonly Api[] = [
  { name: NO_CACHE.page, kind: 'page' } as const,
  { name: NO_CACHE.row, kind: 'row' } as const,
  ...[...CONTENDERS, LOCK_AND_POLL].map(({ name }) => ({ name, kind: 'redis' }) as const),
  ...MEMORY_CONTENDERS.filter(({ name }) => name !== BARE).map(
    ({ name }) => ({ name, kind: 'memory' }) as const
  )
]
const {
  quick,
  isPartial,
  chosen: { only: chosen }
} = optionsOf({ only: [...new Set(all.map(({ name }) => name))] })
const apis = all.filter(({ name }) => chosen.length === 0 || name === NO_CACHE.page || chosen.includes(name))
const SECONDS = quick ? 1 : 3
const ROUNDS = quick ? 1 : 3
const keyOf = ({ name, kind }: Api): string => (kind === 'memory' ? `${name}, in memory` : name)

await using postgres = await startPostgresServer({ durable: false, settings: { max_connections: 500 } })
await using server = await startRedisServer()
const pool = new Pool({ connectionString: postgres.url, max: 1 })
const meter = new RedisMeter(server.url)
await fillTables()

await using asking = await startWorker<HttpLoadWorker>(
  new URL('contenders/http-load-worker.ts', import.meta.url)
)
const serving = new Map<string, { worker: WorkerProcess<HttpServerWorker>; port: number }>()
const opening = startProgress(apis.length)
for (const api of apis) {
  opening.step(`opening ${keyOf(api)}`)
  serving.set(keyOf(api), await openApi(api))
}
opening.end()

const progress = startProgress(apis.length * ROUNDS)
const measured = await inTurns(ROUNDS, apis.map(keyOf), async (key, round) => {
  progress.step(`${key}, round ${round + 1}`)
  return measure(key)
})
progress.end()
await Promise.all([...serving.values()].map(({ worker }) => worker.kill()))

const baseline = measured.get(NO_CACHE.page)!
const result: HttpResult = {
  circumstances: circumstances(await meter.version(), [
    'express',
    'autocannon',
    'pg',
    ...[...CONTENDERS, ...MEMORY_CONTENDERS].flatMap(({ packages }) => packages)
  ]),
  postgres: String((await pool.query('SHOW server_version')).rows[0].server_version),
  settings: {
    keys: KEYS,
    skew: SKEW,
    reviews: REVIEWS,
    connections: CONNECTIONS,
    seconds: SECONDS,
    requestsPerSecond: PER_SECOND,
    rounds: ROUNDS
  },
  lines: apis.map((api) => {
    const rounds = measured.get(keyOf(api))!
    return {
      name: api.name,
      kind: api.kind,
      throughput: spreadOf(
        rounds.map(({ throughput }, round) =>
          rounded(throughput.perSecond / baseline[round]!.throughput.perSecond)
        )
      ),
      perSecond: spreadOf(rounds.map(({ throughput }) => throughput.perSecond)),
      p50Ms: spreadOf(rounds.map(({ latency }) => latency.p50Ms)),
      p99Ms: spreadOf(rounds.map(({ latency }) => latency.p99Ms)),
      loadsPerThousand: spreadOf(rounds.map(({ loadsPerThousand }) => loadsPerThousand)),
      errors: rounds.reduce((sum, { throughput, latency }) => sum + throughput.errors + latency.errors, 0)
    }
  })
}
meter.close()
await pool.end()
console.log(`\n${tableMarkdown(result)}\n`)
for (const { what, passed } of barsOf(result)) console.log(`${passed ? 'reached' : 'MISSED '}  ${what}`)
keep('http', result, isPartial)

async function fillTables(): Promise<void> {
  await pool.query(`
    CREATE TABLE products (id int PRIMARY KEY, data jsonb NOT NULL);
    CREATE TABLE reviews (id int PRIMARY KEY, product_id int NOT NULL, stars int NOT NULL);
    CREATE INDEX ON reviews (product_id)`)
  const rows = Array.from({ length: KEYS }, (_, id) => JSON.stringify(makeRow('2 KiB', id)))
  await pool.query(
    'INSERT INTO products SELECT place - 1, data FROM unnest($1::jsonb[]) WITH ORDINALITY AS all_rows (data, place)',
    [rows]
  )
  await pool.query('INSERT INTO reviews SELECT n, n % $1, 1 + n % 5 FROM generate_series(1, $2::int) n', [
    KEYS,
    KEYS * REVIEWS
  ])
  await pool.query('VACUUM ANALYZE')
}

async function openApi(api: Api): Promise<{ worker: WorkerProcess<HttpServerWorker>; port: number }> {
  const worker = await startWorker<HttpServerWorker>(
    new URL('contenders/http-server-worker.ts', import.meta.url),
    { env: { NODE_ENV: 'production' } }
  )
  const port = await worker.call('open', {
    ...api,
    redisUrl: server.url,
    postgresUrl: postgres.url,
    namespace: `http${serving.size}`,
    keys: KEYS
  })
  // What was just loaded Corral keeps in memory by the next read of it.
  for (let round = 0; round < 3; round++) await asking.call('warm', port, KEYS)
  // Compiled before it counts.
  await asking.call('flood', { ...askedOf(port), seconds: 1 })
  return { worker, port }
}

async function measure(key: string): Promise<Measured> {
  const { worker, port } = serving.get(key)!
  const asked = askedOf(port)
  await worker.call('loads')
  const throughput = await asking.call('flood', asked)
  const loads = await worker.call('loads')
  const latency = await asking.call('steady', asked, PER_SECOND)
  return { throughput, latency, loadsPerThousand: rounded((loads / throughput.sent) * 1_000) }
}

function askedOf(port: number): HttpAsking {
  return { port, keys: KEYS, skew: SKEW, connections: CONNECTIONS, seconds: SECONDS }
}
