import { Redis } from 'ioredis'
import { afterAll, afterEach, beforeAll, beforeEach } from 'vitest'
import { createCache, type Cache, type CacheOptions } from '../../src/index.js'
import { startRedisServer, type RedisServer } from './redis-server.js'

/** What the tests of one file work with. */
export interface PrivateRedis {
  readonly server: RedisServer
  /** A connection beside those of the caches. */
  readonly admin: Redis
  /** A cache that is closed after the test; over this Redis when `options` say so. */
  readonly open: (options?: Partial<CacheOptions<'optional'>>) => Cache
}

/**
 * A Redis for the tests of the file that calls this, empty before each of them.
 *
 * `commandTimeout` is generous: on a busy machine a late reply must not turn a test of something else into one of outages.
 */
export function usePrivateRedis(defaults: Partial<CacheOptions<'optional'>> = {}): PrivateRedis {
  let server: RedisServer
  let admin: Redis
  const opened: Cache[] = []
  beforeAll(async () => {
    server = await startRedisServer()
    admin = new Redis(server.url)
  })
  beforeEach(() => admin.flushall())
  afterEach(async () => {
    await Promise.all(opened.splice(0).map((cache) => cache.close({ timeout: 100 })))
  })
  afterAll(async () => {
    admin.disconnect()
    await server.stop()
  })
  return {
    get server() {
      return server
    },
    get admin() {
      return admin
    },
    open: (options = {}) => {
      const cache = createCache({ namespace: 'shop', commandTimeout: '2s', ...defaults, ...options })
      opened.push(cache)
      return cache
    }
  }
}
