// One process of the demo's fleet: the reference API, and beside it the home page written by hand.
import { Redis } from 'ioredis'
import { startApi } from '../api.js'
import { serveCommands } from '../local-servers.js'
import { createRivalRoutes } from './rivals.js'

// Ctrl-C in the terminal reaches this process as well; when to end is the demo's decision.
process.on('SIGINT', () => undefined)

/** For each process; four of them have twenty, which is plenty for PostgreSQL on two cores. */
const CONNECTIONS = 5

const { DATABASE_URL: databaseUrl = '', REDIS_URL: redisUrl = '', ADMIN_TOKEN: adminToken } = process.env
const redis = new Redis(redisUrl)
redis.on('error', (error) => console.error(`Redis: ${error.message}`))
const api = await startApi({
  databaseUrl,
  redisUrl,
  adminToken,
  connections: CONNECTIONS,
  moreRoutes: (store) => createRivalRoutes(store, redis)
})

const commands = {
  url: () => api.url
}

export type ApiCommands = typeof commands

serveCommands(commands)
