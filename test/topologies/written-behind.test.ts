import { setTimeout as sleep } from 'node:timers/promises'
import { Cluster } from 'ioredis'
import pg from 'pg'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import {
  CorralError,
  createCache,
  postgresSink,
  writeBehind,
  type Cache,
  type Collection,
  type Durability,
  type Ingest,
  type RedisInput
} from '../../src/index.js'
import { shardKeys } from '../../src/keys/key-schema.js'
import { differences, readLog } from '../faults/behind-model.js'
import { readTables, TABLES } from '../faults/behind-storm.js'
import { ask, cutOff, letIn, replicationOf, untilInStep } from '../support/cut-off.js'
import { moveOf } from '../support/moving-slot.js'
import { startPostgresServer, type PostgresServer } from '../support/postgres-server.js'
import { startRedisCluster, type RedisCluster } from '../support/redis-cluster.js'
import { startSentinelTrio, type SentinelTrio } from '../support/redis-sentinel.js'
import type { RedisServer } from '../support/redis-server.js'
import { until } from '../support/until.js'

/** Several servers of which one can be lost. */
interface Topology {
  readonly servers: readonly RedisServer[]
  connect(): RedisInput
  primaries(): Promise<RedisServer[]>
  /** Asks for another primary in place of each, with all of them alive. */
  handOver(): Promise<void>
  /** Of a Cluster: gives the slot of a key to another primary. */
  move?(key: string): Promise<void>
  /** All that are there serve, and every primary has a replica in step. */
  settled(): Promise<void>
  stop(): Promise<void>
}

const PATIENCE_MS = 100_000
const opened: Cluster[] = []

async function startSentinels(): Promise<Topology> {
  const trio: SentinelTrio = await startSentinelTrio()
  const primaries = async (): Promise<RedisServer[]> => [await trio.primary()]
  return {
    servers: trio.servers,
    connect: () => ({ sentinels: [...trio.sentinels], name: trio.masterName }),
    primaries,
    handOver: () => trio.failOver(),
    settled: () => trio.settled(),
    stop: () => trio.stop()
  }
}

async function startCluster(): Promise<Topology> {
  const cluster: RedisCluster = await startRedisCluster({
    args: ['--cluster-require-full-coverage', 'no']
  })
  return {
    servers: cluster.nodes,
    connect: () => {
      const client = new Cluster(
        cluster.nodes.map(({ host, port }) => ({ host, port })),
        { redisOptions: { maxRetriesPerRequest: 0 }, slotsRefreshTimeout: 5_000 }
      )
      client.on('error', () => undefined)
      opened.push(client)
      return client
    },
    primaries: () => cluster.primaries(),
    handOver: async () => {
      const primaries = await cluster.primaries()
      const replicas = cluster.nodes.filter((node) => !primaries.includes(node))
      for (const replica of replicas) await ask(replica, (redis) => redis.call('CLUSTER', 'FAILOVER'))
    },
    move: async (key) => {
      const move = await moveOf(cluster, key)
      await move.begin()
      // What needs some of its keys here and some there has to be made again meanwhile.
      await move.moveKeys(key)
      await sleep(100)
      await move.end()
    },
    settled: async () => {
      await cluster.settled(true)
      await until(
        'every primary has a replica in step',
        async () => {
          const all = await Promise.all((await cluster.primaries()).map(replicationOf))
          return all.length === 3 && all.every((info) => info.includes('state=online'))
        },
        PATIENCE_MS
      )
    },
    stop: () => cluster.stop()
  }
}

let postgres: PostgresServer
let pool: pg.Pool
beforeAll(async () => {
  postgres = await startPostgresServer({ durable: false })
  pool = new pg.Pool({ connectionString: postgres.url, max: 10 })
  pool.on('error', () => undefined)
})
afterAll(async () => {
  for (const cluster of opened) cluster.disconnect()
  await pool?.end()
  await postgres?.stop()
})

beforeEach(async () => {
  await pool.query(
    'DROP TABLE IF EXISTS events, counters, rows, history, corral_shards, corral_marks; DROP FUNCTION IF EXISTS remember'
  )
  await pool.query(TABLES)
  await postgresSink(pool, { table: 'events', value: 'id' }).migrate()
})

interface Behind {
  readonly cache: Cache
  readonly counters: Collection<number, number>
  readonly rows: Collection<string, number>
  readonly events: Ingest<string>
}

let caches: Cache[] = []
let namespaces = 0
afterEach(async () => {
  await Promise.all(caches.map((cache) => cache.close({ timeout: '100ms' })))
  caches = []
})

function open(redis: RedisInput, durability: Durability): Behind {
  const cache = createCache({ redis, namespace: `behind${namespaces}`, commandTimeout: '1s' })
  caches.push(cache)
  const common = { flushEvery: '50ms', shards: 6, durability, writeTimeout: '5s' } as const
  const read = async (text: string, id: unknown): Promise<number | undefined> => {
    const { rows } = await pool.query(text, [id])
    return rows[0] && Number(rows[0].n)
  }
  return {
    cache,
    counters: cache.collection('counters', {
      ttl: '1h',
      load: (id: number) => read('SELECT n FROM counters WHERE id = $1', id),
      write: writeBehind({
        ...common,
        sink: postgresSink(pool, { table: 'counters', key: 'id', value: 'n' })
      })
    }),
    rows: cache.collection('rows', {
      ttl: '1h',
      load: (id: string) => read('SELECT n FROM rows WHERE id = $1', id),
      write: writeBehind({ ...common, sink: postgresSink(pool, { table: 'rows', key: 'id', value: 'n' }) })
    }),
    events: cache.ingest('events', {
      ...common,
      sink: postgresSink<never, string>(pool, { table: 'events', value: 'id' })
    })
  }
}

/** Writers that note what they begin, and what was acknowledged. */
class Writers {
  readonly lines: string[] = []
  /** By lane, how many were acknowledged. */
  readonly acknowledged: number[]
  /** By lane, what was refused last. */
  readonly #refused: string[] = []
  #stopped = false
  readonly #running: Promise<unknown>

  constructor({ counters, rows, events }: Behind, lanes: number) {
    const kinds: ((lane: number, n: number) => Promise<boolean>)[] = [
      (lane, n) => this.#attempt(lane, `E ${lane}/${n}`, () => events.append(`${lane}/${n}`)),
      (lane, n) => this.#attempt(lane, `C ${n % 20} ${lane}/${n}`, () => counters.increment(n % 20)),
      (lane, n) =>
        this.#attempt(lane, `R ${lane} ${n}`, () =>
          n % 7 === 0 ? rows.delete(String(lane)) : rows.put(String(lane), n)
        )
    ]
    this.acknowledged = Array.from({ length: lanes }, () => 0)
    this.#running = Promise.all(
      this.acknowledged.map(async (_, lane) => {
        for (let n = 1; !this.#stopped; n++) {
          if (await kinds[lane % kinds.length]!(lane, n)) this.acknowledged[lane]!++
          await sleep(1)
        }
      })
    )
  }

  /** Until every lane has so many more. */
  async untilMore(count: number, what: string): Promise<void> {
    const before = [...this.acknowledged]
    const isShort = (done: number, lane: number): boolean => done < before[lane]! + count
    await until(what, () => !this.acknowledged.some(isShort), PATIENCE_MS).catch((error: Error) => {
      const short = this.acknowledged.flatMap((done, lane) =>
        isShort(done, lane) ? [`lane ${lane}: ${done - before[lane]!} more, last ${this.#refused[lane]}`] : []
      )
      throw new Error(`${error.message}\n${short.join('\n')}`)
    })
  }

  async stop(): Promise<void> {
    this.#stopped = true
    await this.#running
  }

  async #attempt(lane: number, what: string, work: () => Promise<unknown>): Promise<boolean> {
    this.lines.push(`+${what}`)
    try {
      await work()
      this.lines.push(`!${what}`)
      return true
    } catch (error) {
      const cause = error instanceof Error && error.cause instanceof Error ? ` (${error.cause.message})` : ''
      this.#refused[lane] = `${new Date().toISOString()} ${what}: ${String(error)}${cause}`
      // With these nothing was accepted; with any other it may have been.
      const isRefused =
        error instanceof CorralError &&
        ['REDIS_UNAVAILABLE', 'BACKLOG_FULL', 'DURABILITY_UNMET'].includes(error.code)
      this.lines.push(isRefused ? `?${what}` : `# ${what} ${String(error)}`)
      await sleep(20)
      return false
    }
  }
}

describe.each([
  ['Sentinels', startSentinels],
  ['a Cluster', startCluster]
] as const)('written behind on %s', (kind, start) => {
  let topology: Topology
  beforeAll(async () => {
    topology = await start()
  })
  afterAll(() => topology?.stop())
  beforeEach(async () => {
    namespaces++
    await topology.settled()
  })

  async function killAndReplace(): Promise<void> {
    const before = await topology.primaries()
    const [victim] = before
    await victim!.kill()
    await until(
      'another has taken over',
      async () => {
        const now = await topology.primaries()
        return now.length === before.length && !now.includes(victim!)
      },
      PATIENCE_MS
    )
    await victim!.restart()
    await topology.settled()
  }

  it('at "replicated" the death of a primary loses nothing that was acknowledged, doubles nothing, and keeps the order', async () => {
    const [writing, working] = [
      open(topology.connect(), 'replicated'),
      open(topology.connect(), 'replicated')
    ]
    working.cache.worker({ lease: '1s' })
    const writers = new Writers(writing, 12)
    await writers.untilMore(20, 'all lanes write')
    await killAndReplace()
    await writers.untilMore(20, 'all lanes write again')
    await writers.stop()
    await working.cache.flush({ timeout: PATIENCE_MS })
    const log = readLog(writers.lines)
    expect(differences(log, await readTables(pool))).toEqual([])
    expect(log.acknowledged).toBeGreaterThan(12 * 40)
  }, 400_000)

  if (kind === 'a Cluster') {
    it('at "replicated" all that is acknowledged while the slots of its shards are moved is applied once, in order', async () => {
      const [writing, working] = [
        open(topology.connect(), 'replicated'),
        open(topology.connect(), 'replicated')
      ]
      working.cache.worker({ lease: '1s' })
      const writers = new Writers(writing, 12)
      await writers.untilMore(10, 'all lanes write')
      for (const queue of ['counters', 'rows', 'events'])
        for (const shard of [0, 3])
          await topology.move!(shardKeys(`behind${namespaces}`, queue, shard).stream)
      await writers.untilMore(10, 'all lanes write again')
      await writers.stop()
      await working.cache.flush({ timeout: PATIENCE_MS })
      const log = readLog(writers.lines)
      expect(differences(log, await readTables(pool))).toEqual([])
    }, 400_000)
  }

  it('at "replicated" nothing but the lost primary is waited for: who reads from its successor writes to it', async () => {
    const { cache, counters } = open(topology.connect(), 'replicated')
    const ids = Array.from({ length: 30 }, (_, id) => id)
    const incrementAll = (): Promise<number[]> => Promise.all(ids.map((id) => counters.increment(id)))
    await incrementAll()
    const before = await topology.primaries()
    await topology.handOver()
    // Sentinels name another at once, and leave the old one a primary for some seconds: it answers until then.
    await until(
      'the old ones are replicas',
      async () => (await Promise.all(before.map(replicationOf))).every((info) => info.includes('role:slave')),
      PATIENCE_MS
    )
    await topology.settled()
    // What finds out who has a key is a connection of its own, and not the one that appends go over.
    await until(
      'reads are answered by the new ones',
      async () => {
        const found = await Promise.all(ids.map((id) => counters.lookup(id)))
        return found.every(({ source }) => source === 'redis')
      },
      PATIENCE_MS
    )
    expect(await incrementAll()).toEqual(ids.map(() => 2))
    const worker = cache.worker({ lease: '1s' })
    await cache.flush({ timeout: PATIENCE_MS })
    await worker.stop()
    const { counters: written } = await readTables(pool)
    expect([...written.values()]).toEqual(ids.map(() => 2))
  }, 400_000)

  it('at "memory" the death of a primary may lose what no replica had, and doubles and reorders nothing', async () => {
    const [writing, working] = [open(topology.connect(), 'memory'), open(topology.connect(), 'memory')]
    working.cache.worker({ lease: '1s' })
    const writers = new Writers(writing, 12)
    await writers.untilMore(20, 'all lanes write')
    await killAndReplace()
    await writers.untilMore(20, 'all lanes write again')
    await writers.stop()
    await working.cache.flush({ timeout: PATIENCE_MS })
    const log = readLog(writers.lines)
    const isLoss = (difference: string): boolean => /^(lost:|row )/.test(difference)
    expect(differences(log, await readTables(pool)).filter((one) => !isLoss(one))).toEqual([])
  }, 400_000)

  it('a replica that lacks the end is promoted: what was applied stays applied once, and what comes after is not skipped', async () => {
    const first = open(topology.connect(), 'memory')
    const ids = Array.from({ length: 30 }, (_, id) => id)
    const incrementAll = async (by: number): Promise<void> => {
      await Promise.all(ids.map((id) => first.counters.increment(id, by)))
    }
    const worker = first.cache.worker({ lease: '1s' })
    await incrementAll(1)
    await first.cache.flush({ timeout: PATIENCE_MS })
    const primaries = await topology.primaries()
    const replicas = topology.servers.filter((server) => !primaries.includes(server))
    await untilInStep(primaries, replicas)
    for (const replica of replicas) await cutOff(replica)
    // Applied, and known to the lost servers alone.
    await incrementAll(10)
    await first.cache.flush({ timeout: PATIENCE_MS })
    await worker.stop()
    const applied = (await readTables(pool)).counters
    expect(new Set(applied.values())).toEqual(new Set([11]))
    // Acknowledged, in the lost servers alone, and not applied: this is what "memory" may lose.
    await incrementAll(100)

    const victim = primaries[0]!
    await victim.kill()
    await until(
      'another has taken over',
      async () => {
        const now = await topology.primaries()
        return now.length === primaries.length && !now.includes(victim)
      },
      PATIENCE_MS
    )
    for (const replica of replicas) await letIn(replica)
    await victim.restart()
    await topology.settled()
    const second = open(topology.connect(), 'memory')
    second.cache.worker({ lease: '1s' })
    await until(
      'all can be written to',
      async () => {
        await second.cache.ready()
        return second.cache.health().status === 'ok'
      },
      PATIENCE_MS
    )
    await second.cache.flush({ timeout: PATIENCE_MS })
    const kept = (await readTables(pool)).counters
    for (const id of ids) expect([11, 111]).toContain(kept.get(id))
    // Some were on the server that was lost.
    expect([...kept.values()]).toContain(11)
    await Promise.all(ids.map((id) => second.counters.increment(id, 1_000)))
    await second.cache.flush({ timeout: PATIENCE_MS })
    const { counters } = await readTables(pool)
    for (const id of ids) expect(counters.get(id)).toBe(kept.get(id)! + 1_000)
  }, 400_000)
})
