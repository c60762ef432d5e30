// `npm run worker -w reference-api`, or `node worker.js` in the image: brings recorded views to PostgreSQL, beside any number of API processes that run with
// WORKER=off, and beside any number of its own kind. DATABASE_URL and REDIS_URL are read; with PORT it answers /health and /metrics there.
import { createCatalogue } from './catalogue.js'
import { createOperatorRoutes } from './operator-routes.js'
import { type ApiServer, serve } from './server.js'
import { explained, portOf } from './start-error.js'
import { openDatabase } from './store/database.js'
import { createMovieStore } from './store/movie-store.js'

/** What waits in Redis when the process is told to end has this long; the rest is another worker's. */
const DRAIN_MS = 5_000

const { DATABASE_URL: databaseUrl, REDIS_URL: redisUrl, PORT: port, HOST: host = '127.0.0.1' } = process.env
if (databaseUrl === undefined || redisUrl === undefined) {
  console.error('Set DATABASE_URL and REDIS_URL to those of the API.')
  process.exit(2)
}
const database = openDatabase(databaseUrl, { applicationName: 'reference-api worker' })
const store = createMovieStore(database)
const { cache, views } = createCatalogue(store, redisUrl, database.pool)
cache.on('flushFailed', ({ queue, shard, error }) =>
  console.error(`${queue}/${shard} was not flushed:`, error)
)
cache.on('deadLettered', ({ queue, letter, reason }) =>
  console.error(`${queue} put aside ${letter}: ${reason}`)
)
// It may be the first to start.
await views.migrate()
const worker = views.worker()
await worker.ready()
let server: ApiServer | undefined
await explained(async () => {
  if (port !== undefined)
    server = await serve(createOperatorRoutes(cache, store), { host, port: portOf(port) })
})
console.log(`Worker ${worker.name}`)

let stopping = false
for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => void stop())
process.once('disconnect', () => void stop())

async function stop(): Promise<void> {
  // npm hands on the Ctrl-C that the terminal has sent here too.
  if (stopping) return
  stopping = true
  await worker.stop({ drain: DRAIN_MS })
  await server?.close()
  await cache.close()
  await database.close()
  process.exit(0)
}
