import { Redis } from 'ioredis'
import pg from 'pg'
import { createCache, type Cache, type CacheOptions } from '../../src/index.js'
import { startPostgresServer, type PostgresServer } from '../support/postgres-server.js'
import { startRedisServer, type RedisServer } from '../support/redis-server.js'

/** A Redis and a PostgreSQL of the test's own, and caches between them. */
export interface World extends AsyncDisposable {
  readonly redisServer: RedisServer
  readonly postgresServer: PostgresServer
  readonly redis: Redis
  readonly pool: pg.Pool
  open(options?: Partial<CacheOptions<'optional'>>): Cache
  /** Closes the caches, and empties Redis and the tables. */
  reset(tables: string): Promise<void>
}

export async function startWorld(redisArgs: readonly string[] = []): Promise<World> {
  const [redisServer, postgresServer] = await Promise.all([
    startRedisServer({ args: redisArgs }),
    startPostgresServer({ durable: false })
  ])
  const redis = new Redis(redisServer.url)
  redis.on('error', () => undefined)
  const pool = new pg.Pool({ connectionString: postgresServer.url, max: 20 })
  pool.on('error', () => undefined)
  let opened: Cache[] = []
  const closeAll = async (): Promise<void> => {
    await Promise.all(opened.map((cache) => cache.close({ timeout: '1s' })))
    opened = []
  }
  return {
    redisServer,
    postgresServer,
    redis,
    pool,
    open: (options) => {
      const cache = createCache({
        redis: redisServer.url,
        namespace: 'shop',
        commandTimeout: '1s',
        ...options
      })
      opened.push(cache)
      return cache
    },
    reset: async (tables) => {
      await closeAll()
      await redis.flushall()
      await pool.query('DROP TABLE IF EXISTS corral_shards, corral_marks')
      await pool.query(tables)
    },
    [Symbol.asyncDispose]: async () => {
      await closeAll()
      redis.disconnect()
      await pool.end()
      await Promise.all([redisServer.stop(), postgresServer.stop()])
    }
  }
}
