// `npm start -w reference-api`: one process of the API. PORT (3000), DATABASE_URL, REDIS_URL, ADMIN_TOKEN and WORKER
// (off: src/worker.ts runs beside it) are read.
import { startApi } from './api.js'
import { findServers } from './local-servers.js'
import { isLoaded, loadStore } from './seed/load.js'

const DEFAULT_PORT = 3000
/** What is under way when the process is told to end has this long. */
const GRACE_MS = 10_000

const servers = await findServers(process.env)
if (!(await isLoaded(servers.databaseUrl))) {
  console.log('Loading the catalogue into schema "movie_store"')
  const { products, orderItems } = await loadStore(servers.databaseUrl)
  console.log(`Loaded ${products} films and ${orderItems} order items`)
}
const api = await startApi({
  ...servers,
  port: Number(process.env['PORT'] ?? DEFAULT_PORT),
  adminToken: process.env['ADMIN_TOKEN'],
  worker: process.env['WORKER'] !== 'off'
})
console.log(`Listening on ${api.url}`)

let stopping = false
for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => void stop())
// Started by scripts/run.mjs: it is gone.
process.once('disconnect', () => void stop())

async function stop(): Promise<void> {
  if (stopping) return
  stopping = true
  setTimeout(() => process.exit(1), GRACE_MS).unref()
  await api.close()
  await servers.stop()
  process.exit(0)
}
