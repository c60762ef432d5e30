// One process of the API as it runs in production, where servers are somebody else's: `node service.js`. With the
// argument `load` it loads the catalogue instead, if that is not there yet, and ends. With WORKER=off recorded views are
// brought to PostgreSQL by processes of their own, `node worker.js`.
import { startApi } from './api.js'
import { isLoaded, loadStore } from './seed/load.js'
import { explained, portOf } from './start-error.js'

/** What is under way when the process is told to end has this long; less than an orchestrator waits before it kills. */
const GRACE_MS = 10_000

const databaseUrl = required('DATABASE_URL')

if (process.argv[2] === 'load') {
  if (!(await isLoaded(databaseUrl))) await loadStore(databaseUrl)
  console.log('The catalogue is loaded')
} else {
  await explained(serve)
}

async function serve(): Promise<void> {
  const api = await startApi({
    databaseUrl,
    // Without it the cache would live in this process alone, which nobody means in production.
    redisUrl: required('REDIS_URL'),
    host: process.env['HOST'] ?? '0.0.0.0',
    port: portOf(process.env['PORT']),
    worker: process.env['WORKER'] !== 'off'
  })
  console.log(`Listening on ${api.url}`)
  let stopping = false
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(signal, () => {
      if (stopping) return
      stopping = true
      setTimeout(() => process.exit(1), GRACE_MS).unref()
      void api.close().then(() => process.exit(0))
    })
  }
}

function required(name: string): string {
  const value = process.env[name]
  if (value !== undefined && value !== '') return value
  console.error(`${name} is not set`)
  process.exit(2)
}
