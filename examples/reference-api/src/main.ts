// `npm start -w reference-api`: one process of the API. PORT (3000), DATABASE_URL, REDIS_URL, ADMIN_TOKEN and WORKER
// (off: src/worker.ts runs beside it) are read.
import { startApi } from './api.js'
import { findServers } from './local-servers.js'
import { isLoaded, loadStore } from './seed/load.js'
import { explained, portOf } from './start-error.js'

/** What is under way when the process is told to end has this long. */
const GRACE_MS = 10_000

/** Until it serves nothing is under way: the private servers end with this process. */
let close = async (): Promise<void> => undefined
let stopping = false
for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => void stop())
// Started by scripts/run.mjs: it is gone.
process.once('disconnect', () => void stop())

await explained(async () => {
  const port = portOf(process.env['PORT'])
  const servers = await findServers(process.env)
  if (!(await isLoaded(servers.databaseUrl))) {
    console.log('Loading the catalogue into schema "movie_store"')
    const { products, orderItems } = await loadStore(servers.databaseUrl)
    console.log(`Loaded ${products} films and ${orderItems} order items`)
  }
  const api = await startApi({
    ...servers,
    port,
    adminToken: process.env['ADMIN_TOKEN'],
    worker: process.env['WORKER'] !== 'off'
  })
  close = async () => {
    await api.close()
    await servers.stop()
  }
  console.log(`Listening on ${api.url}`)
})

async function stop(): Promise<void> {
  if (stopping) return
  stopping = true
  setTimeout(() => process.exit(1), GRACE_MS).unref()
  await close()
  process.exit(0)
}
