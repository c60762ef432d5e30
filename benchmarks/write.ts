/**
 * What does a write through the cache cost, beside the bare change of the row?
 *
 *     npx tsx benchmarks/write.ts [--quick]
 */
import { Redis } from 'ioredis'
import { Pool } from 'pg'
import { createCache, writeThrough } from 'corral'
import { startPostgresServer } from '../test/support/postgres-server.js'
import { startRedisServer } from '../test/support/redis-server.js'
import { keep } from './keep.js'
import { barsOf, tableMarkdown, type WriteLine, type WriteResult } from './reports/write.js'
import { circumstances } from './support/machine.js'
import { optionsOf } from './support/options.js'
import { startProgress } from './support/progress.js'
import { RedisMeter } from './support/redis-facts.js'
import { percentile, spreadOf } from './support/statistics.js'
import { inTurns } from './support/versus.js'

const { quick } = optionsOf({})

const ROUNDS = quick ? 2 : 9
const ROWS = 1_000
const CALLERS = [1, 32]
const ROUND_MS = quick ? 300 : 1_500

interface Row {
  readonly id: number
  readonly price: number
  readonly version: number
}

await using postgres = await startPostgresServer({ durable: true })
await using server = await startRedisServer()
const pool = new Pool({ connectionString: postgres.url, max: 8 })
const meter = new RedisMeter(server.url)
const redis = new Redis(server.url)
await pool.query(
  'create table products (id integer primary key, price integer not null, version integer not null)'
)
await pool.query('insert into products select id, 1, 1 from generate_series(1, $1) as id', [ROWS])

const save = async (id: number, price: number): Promise<Row> => {
  const sql =
    'update products set price = $2, version = version + 1 where id = $1 returning id, price, version'
  return (await pool.query<Row>({ name: 'save', text: sql, values: [id, price] })).rows[0]!
}
const cache = createCache({ redis: server.url, namespace: 'write', commandTimeout: '2s' })
const products = cache.collection('products', {
  ttl: '1h',
  load: async (id: number) =>
    (await pool.query<Row>('select id, price, version from products where id = $1', [id])).rows[0],
  write: writeThrough(async (id: number, { price }: Row) => save(id, price)),
  version: ({ version }) => version
})

/** One change of a row, as each writes it. */
const WAYS: Readonly<Record<string, (id: number, price: number) => Promise<unknown>>> = {
  'the bare change': save,
  'and a SET': async (id, price) => {
    const row = await save(id, price)
    await redis.set(`hand:products:${id}`, JSON.stringify(row), 'EX', 3_600)
  },
  Corral: (id, price) => products.put(id, { id, price, version: 0 })
}

const progress = startProgress(CALLERS.length * ROUNDS * Object.keys(WAYS).length)
let lines: WriteLine[] = []
for (const callers of CALLERS) {
  const figures = await inTurns(ROUNDS, Object.keys(WAYS), async (name, round) => {
    progress.step(`${callers} at once, round ${round + 1}: ${name}`)
    return measure(WAYS[name]!, callers)
  })
  const bare = figures.get('the bare change')!
  lines = [
    ...lines,
    ...[...figures].map(([name, rounds]) => ({
      name,
      callers,
      perSecond: spreadOf(rounds.map((one) => one.perSecond)),
      ratio: spreadOf(rounds.map((one, round) => one.perSecond / bare[round]!.perSecond)),
      medianMs: spreadOf(rounds.map((one) => one.medianMs))
    }))
  ]
}
progress.end()
const result: WriteResult = {
  circumstances: circumstances(await meter.version(), ['ioredis', 'pg']),
  settings: { rounds: ROUNDS, rows: ROWS },
  commandsPerPut: await commandsPerPut(),
  lines
}
meter.close()
redis.disconnect()
await cache.close()
await pool.end()
console.log(`\n${tableMarkdown(result)}\n`)
for (const { what, passed } of barsOf(result)) console.log(`${passed ? 'reached' : 'MISSED '}  ${what}`)
keep('write', result, quick)

async function measure(
  change: (id: number, price: number) => Promise<unknown>,
  callers: number
): Promise<{ perSecond: number; medianMs: number }> {
  const tookMs: number[] = []
  const startedAt = performance.now()
  const untilMs = startedAt + ROUND_MS
  let next = 0
  await Promise.all(
    Array.from({ length: callers }, async () => {
      for (let now = performance.now(); now < untilMs; now = performance.now()) {
        next++
        await change((next % ROWS) + 1, next)
        tookMs.push(performance.now() - now)
      }
    })
  )
  const seconds = (performance.now() - startedAt) / 1_000
  return {
    perSecond: tookMs.length / seconds,
    medianMs: percentile(
      tookMs.toSorted((a, b) => a - b),
      0.5
    )
  }
}

/** What one put after another sends to Redis, each waiting for the one before. */
async function commandsPerPut(): Promise<number> {
  const COUNT = 100
  await products.put(1, { id: 1, price: 1, version: 0 })
  const monitor = await redis.monitor()
  let sent = 0
  monitor.on('monitor', (_time: string, _args: string[], source: string) => {
    if (source !== 'lua') sent++
  })
  for (let put = 0; put < COUNT; put++) await products.put(1, { id: 1, price: put, version: 0 })
  await new Promise((resolve) => setTimeout(resolve, 100))
  monitor.disconnect()
  return sent / COUNT
}
