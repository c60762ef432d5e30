// `npm run demo`: private servers, the catalogue, the API as several processes, the story, and then the API to try.
import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { createCatalogue } from '../catalogue.js'
import { startRedisServer, startStoreDatabase, startWorker, type WorkerProcess } from '../local-servers.js'
import { loadStore } from '../seed/load.js'
import { connectClient, openDatabase } from '../store/database.js'
import { createMovieStore } from '../store/movie-store.js'
import { adviceFor } from './advice.js'
import type { ApiCommands } from './api-process.js'
import { type DemoOptions, parseArguments, USAGE, UsageError } from './arguments.js'
import { describeOutcomes, type Outcome, releaseOn, type Stage, VARIANTS } from './herd-story.js'
import { measureLatency } from './latency.js'
import { count, duration, heading, table } from './report.js'
import { createStatementCounter } from './statement-counter.js'
import { step } from './step.js'
import { countViews } from './views-story.js'
import { raceWriters } from './writers-story.js'

/** Ends what was started, the last first. Each is told of as soon as it runs. */
const endings: (() => Promise<unknown>)[] = []
let ending = false
const HEARD_WITHIN_MS = 100
/** Enough for a race that hits now and then, in a few seconds. */
const WRITER_ROUNDS = 500
/** For the one route that needs it; printed with the lines to try. */
const ADMIN_TOKEN = randomBytes(6).toString('hex')
/** The progress display hides it while it runs. */
const SHOW_CURSOR = '\u001B[?25h'

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.on(signal, () => void end(signal === 'SIGINT' ? 130 : 143))
}
// The process that started the demo is gone, so nobody reads this any more.
process.once('disconnect', () => void end(143))

try {
  const options = parseArguments(process.argv.slice(2))
  if (options === 'help') console.log(USAGE)
  else await tell(options)
  await end(0)
} catch (error) {
  // Ctrl-C is sent to everybody: a process that was only starting ends by it, and may be missed before it is heard here.
  await sleep(HEARD_WITHIN_MS)
  if (!ending) {
    console.error(error instanceof UsageError ? `${error.message}\n\n${USAGE}` : error)
    const advice = adviceFor(error)
    if (advice !== undefined) console.error(`\n${advice}`)
    await end(error instanceof UsageError ? 2 : 1)
  }
}

async function tell(options: DemoOptions): Promise<void> {
  for (const name of ['REDIS_URL', 'DATABASE_URL']) {
    if (name in process.env)
      console.log(`${name} is left alone: the demo empties caches and uses servers of its own.`)
  }
  const { databaseUrl, redisUrl } = await prepare()
  const workers = await startFleet(options.processes, databaseUrl, redisUrl)
  const urls = await Promise.all(workers.map((worker) => worker.call('url')))

  const redis = new Redis(redisUrl)
  redis.on('error', () => undefined)
  endings.push(async () => redis.disconnect())
  const emptyCache = async (): Promise<void> => {
    await redis.flushall()
    // The flush takes the counters of what can be cleared as well, and for 2 ms a process believes its copies of them.
    await sleep(5)
  }

  await compareLatency(databaseUrl, redisUrl, emptyCache)

  let questions = 0
  const counter = await createStatementCounter(databaseUrl)
  endings.push(() => counter.close())
  await compareHerds({
    urls,
    requests: options.requests,
    patienceMs: options.patienceMs,
    counter,
    emptyCache,
    redisCommands: async () => {
      const commands = Number(/total_commands_processed:(\d+)/.exec(await redis.info('stats'))?.[1])
      // The question itself is one of them.
      return commands - ++questions
    }
  })

  await compareWriters(urls, databaseUrl)
  await compareViews(databaseUrl, redisUrl)

  if (options.once) return
  console.log(invitation(urls))
  const { code, signal } = await Promise.race(workers.map((worker) => worker.exited))
  throw new Error(`A process of the API ended by itself (code ${code}, signal ${signal})`)
}

async function prepare(): Promise<{ databaseUrl: string; redisUrl: string }> {
  console.log(heading('Setting up: everything is private to this demo and is removed at its end'))
  const redis = await step('Starting Redis', async ({ done }) => {
    const server = await startRedisServer()
    endings.push(() => server.stop())
    done(`Redis on port ${server.port}`)
    return server
  })
  const database = await step('Starting PostgreSQL', async ({ done }) => {
    const server = await startStoreDatabase()
    endings.push(() => server.stop())
    done(`PostgreSQL on port ${server.port}`)
    return server
  })
  await step('Loading the catalogue', async ({ say, done }) => {
    const { products, orders, orderItems } = await loadStore(database.url, undefined, say)
    done(
      `Catalogue: ${count(products)} real films, and made-up sales: ${count(orders)} orders, ${count(orderItems)} items`
    )
  })
  return { databaseUrl: database.url, redisUrl: redis.url }
}

function startFleet(
  size: number,
  databaseUrl: string,
  redisUrl: string
): Promise<WorkerProcess<ApiCommands>[]> {
  return step('Starting the API', async ({ done }) => {
    const starting = Array.from({ length: size }, async () => {
      const worker = await startWorker<ApiCommands>(new URL('./api-process.ts', import.meta.url), {
        env: { DATABASE_URL: databaseUrl, REDIS_URL: redisUrl, ADMIN_TOKEN }
      })
      endings.push(() => worker.kill())
      return worker
    })
    const workers = await Promise.all(starting)
    done(`API: ${size} processes, ${workers.map(({ pid }) => pid).join(', ')}`)
    return workers
  })
}

async function compareLatency(
  databaseUrl: string,
  redisUrl: string,
  emptyCache: () => Promise<void>
): Promise<void> {
  console.log(heading('One reader: the same call while the cache is cold, and warm'))
  const rows = await step('Measuring one call after the other', async () => {
    const database = openDatabase(databaseUrl, { connections: 1, applicationName: 'demo' })
    const catalogue = createCatalogue(createMovieStore(database), redisUrl, database.pool, 'latency')
    try {
      return await measureLatency(catalogue, emptyCache)
    } finally {
      await catalogue.cache.close()
      await database.close()
    }
  })
  console.log(
    `\n${table(
      ['', 'database: median', 'p99', 'Redis: median', 'p99', 'faster (median)'],
      rows.map(({ what, cold, warm }) => [
        what,
        duration(cold.medianMs),
        duration(cold.p99Ms),
        duration(warm.medianMs),
        duration(warm.p99Ms),
        `${(cold.medianMs / warm.medianMs).toFixed(cold.medianMs / warm.medianMs < 10 ? 1 : 0)} ×`
      ])
    )}`
  )
}

async function compareHerds(stage: Stage): Promise<void> {
  console.log(
    heading(`A herd: ${count(stage.requests)} requests in one instant for a home page that nobody has cached`)
  )
  const outcomes: Outcome[] = []
  for (const variant of VARIANTS) outcomes.push(await releaseOn(variant, stage))
  console.log(`\n${describeOutcomes(outcomes, stage.patienceMs)}`)
  console.log(
    `\n  Queries are counted by PostgreSQL (pg_stat_statements). Clients, API, Redis and PostgreSQL share this machine.`
  )
}

async function compareWriters(urls: readonly string[], databaseUrl: string): Promise<void> {
  console.log(heading('Two writers: row and cache of one film, from two processes in the same moment'))
  const database = await connectClient({ connectionString: databaseUrl, application_name: 'demo' })
  endings.push(() => database.end())
  const report = await raceWriters({ urls, rounds: WRITER_ROUNDS, database })
  console.log(`\n${report}`)
  console.log(`\n  After each round the row is compared with what a reader is answered.`)
}

async function compareViews(databaseUrl: string, redisUrl: string): Promise<void> {
  console.log(heading('Visitors: each view of a film is counted and kept, while a worker is killed'))
  const database = await connectClient({ connectionString: databaseUrl, application_name: 'demo' })
  endings.push(() => database.end())
  const report = await countViews({
    databaseUrl,
    redisUrl,
    database,
    started: (worker) => endings.push(() => worker.kill())
  })
  console.log(`\n${report}`)
  console.log(`\n  The totals are PostgreSQL's, after a flush: not one view more or less.`)
}

function invitation(urls: readonly string[]): string {
  const [first = '', second = first] = urls
  return `${heading('Try it, and end it with Ctrl-C')}
  curl -s ${first}/api/products/42                       # "source": "cache" once anybody has asked, before that "database"
  curl -s ${second}/api/products/42                       # another process, the same cache
  curl -s '${first}/api/products?ids=1,2,3'
  curl -s -H 'X-Tenant: acme' ${first}/api/products/42    # a shop with prices and stock of its own
  curl -s -X PUT -H 'Content-Type: application/json' -d '{"priceCents": 999, "stock": 5}' ${first}/api/products/42
  curl -s ${second}/api/products/42                       # the new price in every process, from the cache
  curl -s -X DELETE ${first}/api/products/43              # and then 404; a PUT brings it back
  curl -s '${first}/api/genres/Drama?page=2'              # every page of a genre goes with one tag
  curl -s -X DELETE -H 'X-Tenant: acme' -H 'Authorization: Bearer ${ADMIN_TOKEN}' ${first}/api/admin/cache
  curl -s -X POST ${first}/api/products/42/views          # counted at once, in PostgreSQL a moment later
  curl -s ${second}/api/products/42/views
  curl -s ${first}/api/homepage
  curl -s ${first}/metrics

  The API's processes: ${urls.join('  ')}`
}

async function end(exitCode: number): Promise<void> {
  if (ending) return
  ending = true
  if (exitCode > 128) process.stdout.write(`${process.stdout.isTTY ? SHOW_CURSOR : ''}\nStopping\n`)
  // What is not told of yet, because it is being started, ends with this process.
  await Promise.allSettled(endings.reverse().map((stop) => stop()))
  process.exit(exitCode)
}
