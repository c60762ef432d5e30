import { Redis } from 'ioredis'
import { afterAll, beforeAll } from 'vitest'
import { entryStoreContract, type OpenedForTest } from '../../test/contracts/entry-store.js'
import { generationsContract } from '../../test/contracts/generations.js'
import { until } from '../../test/support/until.js'
import { startRedisServer, type RedisServer } from '../../test/support/redis-server.js'
import { systemClock } from '../clock.js'
import { openClient } from '../redis/client.js'
import { RedisLink } from '../redis/link.js'
import { RedisStore } from './redis-store.js'

let server: RedisServer
let other: Redis

beforeAll(async () => {
  server = await startRedisServer()
  other = new Redis(server.url)
})
afterAll(async () => {
  other.disconnect()
  await server.stop()
})

const open = async (): Promise<OpenedForTest> => {
  await other.flushall()
  const link = new RedisLink(
    openClient(server.url, systemClock),
    { timeoutMs: 2_000, probeKey: 'test:#probe', clock: systemClock },
    {
      stateChanged: () => undefined,
      breakerChanged: () => undefined,
      callFailed: () => undefined,
      connectionFailed: () => undefined,
      misconfigured: () => undefined
    }
  )
  const store = new RedisStore({
    link,
    clock: systemClock,
    maxRecentBytes: 1_000_000,
    names: { counterKey: 'test:#changes', listenersKey: 'test:#listeners' },
    memory: undefined,
    reporter: { modeChanged: () => undefined, failed: () => undefined }
  })
  await until('waiters are told by Redis', () => store.pushes)
  return { store, plant: async (key, bytes) => void (await other.set(key, bytes, 'PX', 60_000)) }
}

entryStoreContract('RedisStore', open)
generationsContract('RedisStore', open)
