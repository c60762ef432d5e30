import { Redis } from 'ioredis'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { createCache, type Cache, type Collection } from '../../src/index.js'
import { startRedisServer, type RedisServer } from '../support/redis-server.js'
import { until } from '../support/until.js'

let server: RedisServer
let admin: Redis
let namespaces = 0
const caches: Cache[] = []

beforeAll(async () => {
  server = await startRedisServer()
  admin = new Redis(server.url)
})
afterAll(async () => {
  admin.disconnect()
  await server.stop()
})
afterEach(async () => {
  await Promise.all(caches.splice(0).map((cache) => cache.close()))
})

interface Fleet {
  readonly versions: Map<number, number>
  readonly open: (url?: string) => Promise<Collection<number, number, 'optional'>>
}

/** Processes that keep rows of one source in memory; each row is a number that counts its changes. */
const fleet = (): Fleet => {
  const versions = new Map<number, number>()
  const namespace = `t${++namespaces}`
  const open = async (url = server.url): Promise<Collection<number, number, 'optional'>> => {
    const cache = createCache({
      redis: url,
      namespace,
      commandTimeout: '2s',
      memory: { maxBytes: 1_000_000 }
    })
    caches.push(cache)
    await cache.ready()
    return cache.collection('rows', {
      ttl: '1h',
      earlyRefresh: 0,
      load: async (id) => versions.get(id) ?? 0
    })
  }
  return { versions, open }
}

const change = (versions: Map<number, number>, id: number): number => {
  const next = (versions.get(id) ?? 0) + 1
  versions.set(id, next)
  return next
}

const keep = (rows: Collection<number, number, 'optional'>, id: number): Promise<void> =>
  until('it is in memory', async () => (await rows.get(id), rows.peekMemory(id) !== undefined))

/** How often each command was run since the last `CONFIG RESETSTAT`. */
const commands = async (): Promise<Map<string, number>> => {
  const stats = await admin.info('commandstats')
  return new Map(
    [...stats.matchAll(/cmdstat_(\S+?):calls=(\d+)/g)].map(([, name, count]) => [name!, Number(count)])
  )
}

describe('values in memory that Redis tells of', () => {
  it('are told of again after a change of one’s own: the next one, by somebody else, is heard too (#46)', async () => {
    const { versions, open } = fleet()
    const [mine, theirs] = [await open(), await open()]
    for (let round = 0; round < 20; round++) {
      await keep(mine, 1)
      change(versions, 1)
      await mine.invalidate(1)
      await keep(mine, 1)
      const next = change(versions, 1)
      await theirs.invalidate(1)
      await until('it is heard of', async () => (await mine.get(1)) === next)
    }
  })

  it('stay true when Redis keeps note of ten keys only, and forgets the others (#49)', async () => {
    const { versions, open } = fleet()
    const [mine, theirs] = [await open(), await open()]
    const ids = Array.from({ length: 200 }, (_, id) => id)
    await admin.config('SET', 'tracking-table-max-keys', '10')
    try {
      for (let round = 0; round < 3; round++) {
        await Promise.all([mine.getMany(ids), theirs.getMany(ids)])
        for (const id of ids) change(versions, id)
        await mine.invalidateMany(ids)
        for (const rows of [mine, theirs])
          await until('all of it is heard of', async () => {
            const found = await rows.getMany(ids)
            return ids.every((id) => found.get(id) === versions.get(id))
          })
      }
    } finally {
      await admin.config('SET', 'tracking-table-max-keys', '1000000')
    }
  })

  it('are those that were read, and no others: Redis is not asked to tell of every key (#50, #110)', async () => {
    const { open } = fleet()
    await keep(await open(), 1)
    const clients = String(await admin.client('LIST'))
      .trim()
      .split('\n')
    const flags = clients
      .map((line) => /flags=(\S*)/.exec(line)![1]!)
      .filter((letters) => letters.includes('t'))
    expect(flags.length).toBeGreaterThan(0)
    expect(flags.filter((letters) => letters.includes('B'))).toEqual([])
  })

  it('are of their own database, though Redis tells of keys without one (#53)', async () => {
    const { versions, open } = fleet()
    const [first, third, alsoThird] = [
      await open(),
      await open(`${server.url}/3`),
      await open(`${server.url}/3`)
    ]
    for (let round = 0; round < 10; round++) {
      for (const rows of [first, third, alsoThird]) await keep(rows, 1)
      const [before, next] = [versions.get(1) ?? 0, change(versions, 1)]
      await third.invalidate(1)
      expect(await third.get(1)).toBe(next)
      await until('it is heard of in that database', async () => (await alsoThird.get(1)) === next)
      // The same key in another database is another entry, and was not declared wrong.
      expect(await first.get(1)).toBe(before)
      await first.invalidate(1)
      expect(await first.get(1)).toBe(next)
    }
  })

  it('are read again by who asks for them, and by nobody else, after a change (#57)', async () => {
    const { versions, open } = fleet()
    const all = await Promise.all(Array.from({ length: 5 }, () => open()))
    for (const rows of all) await keep(rows, 1)
    const next = change(versions, 1)
    await all[0]!.invalidate(1)
    await until('all have heard of it', () => all.every((rows) => rows.peekMemory(1) === undefined))
    await admin.config('RESETSTAT')
    const found = await Promise.all(Array.from({ length: 100 }, () => all[1]!.get(1)))
    expect(new Set(found)).toEqual(new Set([next]))
    const { mget = 0 } = Object.fromEntries(await commands())
    // One look before the load; the callers share it, and the other processes were not asked.
    expect(mget).toBeGreaterThan(0)
    expect(mget).toBeLessThan(5)
  })
})
