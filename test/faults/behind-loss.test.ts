import { copyFile, readdir, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import pg from 'pg'
import {
  createCache,
  postgresSink,
  writeBehind,
  type Cache,
  type Collection,
  type Durability,
  type PostgresSink
} from '../../src/index.js'
import { decodeRecords } from '../../src/behind/record.js'
import { startPostgresServer, type PostgresServer } from '../support/postgres-server.js'
import { startRedisServer, type RedisServer } from '../support/redis-server.js'
import { until } from '../support/until.js'

let postgres: PostgresServer
let pool: pg.Pool
let sink: PostgresSink
const servers: RedisServer[] = []
const caches: Cache[] = []

beforeAll(async () => {
  postgres = await startPostgresServer({ durable: false })
  pool = new pg.Pool({ connectionString: postgres.url })
})
afterAll(async () => {
  await pool?.end()
  await postgres?.stop()
})

beforeEach(async () => {
  await pool.query(
    'DROP TABLE IF EXISTS views, corral_shards, corral_marks; CREATE TABLE views (id int PRIMARY KEY, n bigint)'
  )
  sink = postgresSink(pool, { table: 'views', key: 'id', value: 'n' })
  await sink.migrate()
})
afterEach(async () => {
  await Promise.all(caches.splice(0).map((cache) => cache.close({ timeout: '500ms' })))
  await Promise.all(servers.splice(0).map((server) => server.stop()))
})

async function server(...args: string[]): Promise<RedisServer> {
  const started = await startRedisServer({ args })
  servers.push(started)
  return started
}

function open(
  url: string,
  durability: Durability,
  shards = 2
): { cache: Cache; views: Collection<number, number> } {
  const cache = createCache({ redis: url, namespace: 'shop', commandTimeout: '1s' })
  caches.push(cache)
  const views = cache.collection('views', {
    ttl: '1h',
    load: async (id: number) => tableOf().then((rows) => rows.get(id)),
    write: writeBehind({ sink, flushEvery: '50ms', shards, durability, writeTimeout: '2s' })
  })
  return { cache, views }
}

async function tableOf(): Promise<Map<number, number>> {
  const { rows } = await pool.query('SELECT id, n FROM views')
  return new Map(rows.map(({ id, n }) => [Number(id), Number(n)]))
}

describe('power is lost', () => {
  it('and at durability "fsync" nothing that was acknowledged is', async () => {
    const before = await server('--appendonly', 'yes', '--appendfsync', 'always')
    const { views } = open(before.url, 'fsync')
    const acknowledged = new Map<number, number>()
    let isCut = false
    const writing = Promise.all(
      Array.from({ length: 50 }, async (_, id) => {
        for (let n = 1; !isCut; n++) {
          await views.put(id, n)
          if (!isCut) acknowledged.set(id, n)
        }
      })
    ).catch(() => undefined)
    await until('all of them have some', () => acknowledged.size === 50)
    await sleep(300)
    // What the disk is known to have: with "always" Redis answers after its fsync, so all that is acknowledged by now lies
    // within what the file holds by now. Everything that comes later is taken away.
    isCut = true
    const known = new Map(acknowledged)
    const after = await restartedWithPrefix(before)
    await writing
    const { cache } = open(after.url, 'fsync')
    cache.worker()
    await cache.flush()
    const table = await tableOf()
    expect(known.size).toBe(50)
    for (const [id, n] of known) expect(table.get(id), `row ${id}`).toBeGreaterThanOrEqual(n)
  })

  async function restartedWithPrefix(before: RedisServer): Promise<RedisServer> {
    const from = join(before.folder, 'appendonlydir')
    const after = await startRedisServer({ args: ['--appendonly', 'yes', '--appendfsync', 'always'] })
    servers.push(after)
    await after.kill()
    const to = join(after.folder, 'appendonlydir')
    for (const file of await readdir(to)) await rm(join(to, file))
    for (const file of await readdir(from)) {
      await copyFile(join(from, file), join(to, file))
    }
    await before.kill()
    await after.restart()
    return after
  }

  it('and with everysec what lay beyond the last fsync is, which "fsync" refuses to promise', async () => {
    const weak = await server('--appendonly', 'yes', '--appendfsync', 'everysec')
    const { views } = open(weak.url, 'fsync')
    await expect(views.put(1, 1)).rejects.toMatchObject({ code: 'DURABILITY_UNMET' })
    expect(
      await readFile(join(weak.folder, 'appendonlydir', 'appendonly.aof.1.incr.aof'), 'utf8')
    ).not.toContain('XADD')
  })
})

describe('durability "replicated"', () => {
  it('acknowledges what a replica has, and nothing while none answers (#69)', async () => {
    const master = await server()
    const replica = await server('--replicaof', '127.0.0.1', String(master.port))
    const onReplica = new Redis(replica.url)
    try {
      await until('the replica follows', async () =>
        /master_link_status:up/.test(await onReplica.info('replication'))
      )
      const { views } = open(master.url, 'replicated')
      await Promise.all(Array.from({ length: 100 }, (_, id) => views.put(id, id)))
      replica.pause()
      await expect(views.put(500, 1)).rejects.toMatchObject({ code: 'WRITE_UNKNOWN' })
      await master.kill()
      replica.resume()
      await onReplica.replicaof('NO', 'ONE')
      const { cache } = open(replica.url, 'memory')
      cache.worker()
      await cache.flush()
      const table = await tableOf()
      for (let id = 0; id < 100; id++) expect(table.get(id)).toBe(id)
    } finally {
      onReplica.disconnect()
    }
  })

  it('keeps what is put aside, too: it counts as dealt with when a replica has it', async () => {
    const master = await server()
    const replica = await server('--replicaof', '127.0.0.1', String(master.port))
    const onReplica = new Redis(replica.url)
    try {
      await until('the replica follows', async () =>
        /master_link_status:up/.test(await onReplica.info('replication'))
      )
      const first = open(master.url, 'replicated')
      await first.views.put(1, 'many' as unknown as number)
      // From here on it hears nothing.
      await onReplica.replicaof('NO', 'ONE')
      const tried = new Promise<void>((resolve) => {
        first.cache.on('deadLettered', () => resolve())
        first.cache.on('flushFailed', () => resolve())
        first.cache.on('redisFailed', () => resolve())
      })
      first.cache.worker()
      await tried
      await sleep(500)
      await master.kill()

      const second = open(replica.url, 'memory')
      second.cache.worker()
      await second.cache.flush()
      expect(await second.cache.deadLetters.list('views')).toMatchObject([{ id: 1, code: '22P02' }])
    } finally {
      onReplica.disconnect()
    }
  })
})

describe('a replica is promoted that lacks the end of the stream', () => {
  it('and nothing that is accepted after it is taken for something that was applied before (#68)', async () => {
    const master = await server()
    const replica = await server('--replicaof', '127.0.0.1', String(master.port))
    const [onMaster, onReplica] = [new Redis(master.url), new Redis(replica.url)]
    onMaster.on('error', () => undefined)
    try {
      const first = open(master.url, 'memory')
      first.cache.worker()
      for (let id = 0; id < 20; id++) await first.views.increment(id, 1)
      await first.cache.flush()
      await until('the replica has it all', async () => {
        const offset = async (redis: Redis, name: string): Promise<string | undefined> =>
          new RegExp(`${name}:(\\d+)`).exec(await redis.info('replication'))?.[1]
        return (
          (await offset(onMaster, 'master_repl_offset')) === (await offset(onReplica, 'slave_repl_offset'))
        )
      })
      // From here on the replica hears nothing: what comes now is applied, and lost by Redis.
      await onReplica.replicaof('NO', 'ONE')
      for (let round = 0; round < 5; round++) {
        for (let id = 0; id < 20; id++) await first.views.increment(id, 1)
        await first.cache.flush()
      }
      const applied = await tableOf()
      expect([...applied.values()]).toEqual(Array.from({ length: 20 }, () => 6))
      await master.kill()

      const second = open(replica.url, 'memory')
      await second.views.clear()
      for (let id = 0; id < 20; id++) await second.views.increment(id, 10)
      await lowerIds(onReplica, Date.now() - 3_600_000)
      second.cache.worker()
      await second.cache.flush()
      expect([...(await tableOf()).values()]).toEqual(Array.from({ length: 20 }, () => 16))
    } finally {
      onMaster.disconnect()
      onReplica.disconnect()
    }
  })

  /** The same streams with the ids that a server gives whose clock is behind: below those that were applied. */
  async function lowerIds(redis: Redis, fromMs: number): Promise<void> {
    for (const stream of await redis.keys('shop:#behind:{*}:stream')) {
      const entries = await redis.xrangeBuffer(stream, '-', '+')
      await redis.del(stream)
      for (const [index, [, fields]] of entries.entries())
        await redis.xadd(stream, `${fromMs}-${index + 1}`, ...fields)
    }
  }

  it('and what is sent again to it is not applied again', async () => {
    const master = await server()
    const replica = await server('--replicaof', '127.0.0.1', String(master.port))
    const [onMaster, onReplica] = [new Redis(master.url), new Redis(replica.url)]
    onMaster.on('error', () => undefined)
    try {
      const { cache, views } = open(master.url, 'memory')
      await views.increment(1, 1)
      await until('the replica follows', async () => (await onReplica.keys('*stream')).length > 0)
      await onReplica.replicaof('NO', 'ONE')
      await views.increment(1, 1)
      const [stream] = await onMaster.keys('shop:#behind:{*}:stream')
      const entries = await onMaster.xrangeBuffer(stream!, '-', '+')
      expect(entries).toHaveLength(2)
      cache.worker()
      await cache.flush()
      expect((await tableOf()).get(1)).toBe(2)
      await cache.close()

      // The producer never heard of it, and the promoted server does not know it: the very same batch comes again.
      expect(await onMaster.xlen(stream!)).toBe(0)
      await onReplica.xadd(stream!, '*', ...entries[1]![1])
      const second = open(replica.url, 'memory')
      second.cache.worker()
      await sleep(500)
      expect((await tableOf()).get(1)).toBe(2)
    } finally {
      onMaster.disconnect()
      onReplica.disconnect()
    }
  })

  it('and of a batch that the old one took in part, what it refused is not taken for applied', async () => {
    const { url } = await server()
    const redis = new Redis(url)
    try {
      const { cache, views } = open(url, 'memory', 1)
      const both = (): Promise<number[]> => Promise.all([1, 2].map((id) => views.increment(id, 1)))
      await both()
      const stream = 'shop:#behind:{views.0}:stream'
      expect(await redis.del(stream)).toBe(1)
      await both()
      const [[, whole]] = (await redis.xrangeBuffer(stream, '-', '+')) as [[Buffer, Buffer[]]]
      const at = whole.findIndex((field) => field.equals(Buffer.from('o'))) + 1
      expect(decodeRecords(whole[at]!).map(({ id }) => id)).toEqual([1, 2])

      // The old server had refused the first of the two, a counter that was not in it; its answer was lost.
      const part = whole.with(at, whole[at]!.subarray(4 + whole[at]!.readUInt32BE(0)))
      await redis.del(stream)
      await redis.xadd(stream, '*', ...part)
      cache.worker()
      await until('it is applied', async () => (await tableOf()).get(2) === 1)
      await until('and settled', async () => (await redis.xlen(stream)) === 0)

      // The other one knows nothing of it, and takes all of it.
      await redis.hincrby('shop:#behind:{views.0}:state', 'total', 2)
      await redis.xadd(stream, '*', ...whole)
      await until('it is settled', async () => (await redis.xlen(stream)) === 0)
      const each = new Map([
        [1, 1],
        [2, 1]
      ])
      expect(await tableOf()).toEqual(each)
    } finally {
      redis.disconnect()
    }
  })
})
