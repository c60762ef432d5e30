import { Redis } from 'ioredis'
import { startRedisServer, type RedisServer } from '../support/redis-server.js'
import { startWorker, type WorkerProcess } from '../support/processes.js'
import type { FleetCommands, FleetOptions } from './fleet-worker.js'

export type Member = WorkerProcess<FleetCommands>

/** Several processes with one Redis, and the database that their loaders ask. */
export interface Fleet extends AsyncDisposable {
  readonly server: RedisServer
  /** The loaders' database: `version:<id>`, `failing`, `held` while nothing is to be answered, and the list `loads` of who loaded. */
  readonly database: Redis
  readonly members: readonly Member[]
  readonly loads: () => Promise<number>
  /** A clean cache and no loads counted. */
  readonly reset: () => Promise<void>
}

export async function startFleet(size: number, options: Omit<FleetOptions, 'url'>): Promise<Fleet> {
  const server = await startRedisServer()
  const database = new Redis(server.url, { db: 1 })
  const file = new URL('./fleet-worker.ts', import.meta.url)
  const members = await Promise.all(Array.from({ length: size }, () => startWorker<FleetCommands>(file)))
  await Promise.all(members.map((member) => member.call('open', { url: server.url, ...options })))
  await Promise.all(members.map((member) => member.call('ready')))
  return {
    server,
    database,
    members,
    loads: () => database.llen('loads'),
    reset: async () => void (await database.flushall()),
    [Symbol.asyncDispose]: async () => {
      await Promise.all(members.map((member) => member.kill()))
      database.disconnect()
      await server.stop()
    }
  }
}
