// The only file of this example that knows the repository around it: in your own service there are real servers.
import { type PostgresServer, startPostgresServer } from '../../../test/support/postgres-server.js'
import { startRedisServer } from '../../../test/support/redis-server.js'

export { type RedisServer, startRedisServer } from '../../../test/support/redis-server.js'
export type { PostgresServer } from '../../../test/support/postgres-server.js'
export {
  type Commands,
  serveCommands,
  startWorker,
  type WorkerProcess
} from '../../../test/support/processes.js'

export interface Servers {
  readonly databaseUrl: string
  readonly redisUrl: string
  stop(): Promise<void>
}

/** A real PostgreSQL with room to sort in memory and its own count of statements. */
export function startStoreDatabase(): Promise<PostgresServer> {
  return startPostgresServer({
    settings: { work_mem: '32MB', shared_preload_libraries: 'pg_stat_statements' }
  })
}

/** `DATABASE_URL` and `REDIS_URL` when they are set, else private servers on free ports in a temporary folder. */
export async function findServers(environment: NodeJS.ProcessEnv): Promise<Servers> {
  const { DATABASE_URL: databaseUrl, REDIS_URL: redisUrl } = environment
  const [database, redis] = await Promise.all([
    databaseUrl === undefined ? startStoreDatabase() : undefined,
    redisUrl === undefined ? startRedisServer() : undefined
  ])
  return {
    databaseUrl: databaseUrl ?? database?.url ?? '',
    redisUrl: redisUrl ?? redis?.url ?? '',
    stop: async () => {
      await Promise.all([database?.stop(), redis?.stop()])
    }
  }
}
