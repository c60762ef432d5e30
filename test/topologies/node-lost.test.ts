import { setTimeout as sleep } from 'node:timers/promises'
import { Cluster } from 'ioredis'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createCache, postgresSink, writeBehind, type Cache } from '../../src/index.js'
import { systemClock } from '../../src/clock.js'
import { openClient } from '../../src/redis/client.js'
import { keySlot } from '../../src/redis/key-slot.js'
import { RedisLink } from '../../src/redis/link.js'
import { RedisLedger } from '../../src/tiers/redis-ledger.js'
import { startRedisCluster, type RedisCluster } from '../support/redis-cluster.js'
import type { RedisServer } from '../support/redis-server.js'
import { until } from '../support/until.js'

/*
 * Three primaries and nobody to take over, so that what is lost stays lost until the test gives it back.
 */
let servers: RedisCluster
const opened: Cluster[] = []

beforeAll(async () => {
  servers = await startRedisCluster({
    primaries: 3,
    replicasEach: 0,
    args: ['--cluster-require-full-coverage', 'no', '--appendonly', 'yes']
  })
})
afterAll(async () => {
  for (const cluster of opened) cluster.disconnect()
  await servers.stop()
})

function connect(): Cluster {
  const cluster = new Cluster(
    servers.nodes.map(({ host, port }) => ({ host, port })),
    { redisOptions: { maxRetriesPerRequest: 0 }, slotsRefreshTimeout: 5_000 }
  )
  cluster.on('error', () => undefined)
  opened.push(cluster)
  return cluster
}

async function connected(): Promise<Cluster> {
  const cluster = connect()
  await until('the driver knows the slots', () => cluster.status === 'ready')
  return cluster
}

const portOf = (cluster: Cluster, key: string): number =>
  Number(cluster.slots[keySlot(key)]![0]!.split(':')[1])

/** A namespace of which these keys lie on the node or, with `on` false, all on others. */
function namespaceWith(cluster: Cluster, node: RedisServer, names: readonly string[], on: boolean): string {
  for (let number = 0; ; number++) {
    const namespace = `ns${number}`
    if (names.every((name) => (portOf(cluster, `${namespace}:${name}`) === node.port) === on))
      return namespace
  }
}

const COUNTERS = ['#gen', '#gen:rows']
/** Beside them what the memory tier and the link ask for. */
const ALL_OWN = [...COUNTERS, '#changes', '#listeners', '#probe']

const IDS = Array.from({ length: 60 }, (_, id) => id)

interface Row {
  readonly id: number
  readonly version: number
}

const ways: readonly [string, (node: RedisServer) => Promise<void>, (node: RedisServer) => Promise<void>][] =
  [
    ['killed', (node) => node.kill(), (node) => node.restart()],
    ['frozen', async (node) => node.pause(), async (node) => node.resume()]
  ]

describe.each(ways)('when one node of a Cluster is %s', (_, lose, giveBack) => {
  it('what lies on the others is served from them, what lay there is loaded, and nobody waits for it any more', async () => {
    const cluster = await connected()
    const victim = servers.nodes[0]!
    const namespace = namespaceWith(cluster, victim, ALL_OWN, false)
    const cache = createCache({ redis: cluster, namespace, commandTimeout: '1s' })
    let loads = 0
    const rows = cache.collection('rows', {
      ttl: '1h',
      load: async (id: number) => {
        loads++
        return { id }
      }
    })
    const isLost = (id: number): boolean => portOf(cluster, `${namespace}:rows:${id}`) === victim.port
    const lost = IDS.filter(isLost)
    const living = IDS.filter((id) => !isLost(id))
    expect(Math.min(lost.length, living.length)).toBeGreaterThan(5)
    await until('all is cached', async () => {
      const before = loads
      await rows.getMany(IDS)
      return loads === before
    })

    await lose(victim)
    try {
      await until(
        'it is known that the node does not answer',
        async () => {
          const found = await rows.getMany(IDS)
          for (const id of IDS) expect(found.get(id)).toEqual({ id })
          return cache.health().problems.some((problem) => problem.includes(String(victim.port)))
        },
        30_000
      )
      expect(cache.health()).toMatchObject({ status: 'degraded', redis: { state: 'ready' } })
      const silences: unknown[] = []
      const stopListening = cache.on('redisFailed', ({ action, error }) => {
        if (/no answer within/.test(String(error))) silences.push([action, error])
      })
      await until('what lies on the others is a hit', async () => {
        loads = 0
        const found = await rows.getMany(IDS)
        for (const id of IDS) expect(found.get(id)).toEqual({ id })
        return loads === lost.length
      })
      for (const id of lost) expect((await rows.lookup(id)).source).toBe('loader')
      await until('each alone is a hit too', async () => {
        const sources = await Promise.all(living.map(async (id) => (await rows.lookup(id)).source))
        return sources.every((source) => source === 'redis')
      })
      stopListening()
      expect(silences).toEqual([])
    } finally {
      await giveBack(victim)
    }
    await until(
      'the node is well again, and what lies there is a hit',
      async () => {
        const sources = await Promise.all(IDS.map(async (id) => (await rows.lookup(id)).source))
        return sources.every((source) => source === 'redis') && cache.health().status === 'ok'
      },
      60_000
    )
    await cache.close()
  }, 120_000)

  it('and it has the counters of a collection, all of that is loaded under the limit, and nothing is stale', async () => {
    const cluster = await connected()
    const victim = servers.nodes[1]!
    const namespace = namespaceWith(cluster, victim, COUNTERS, true)
    const source = new Map<number, number>()
    let [running, most] = [0, 0]
    const open = (): Cache =>
      createCache({ redis: cluster, namespace, commandTimeout: '1s', maxConcurrentLoads: 4 })
    const caches = [open(), open()]
    const [here, there] = caches.map((cache) =>
      cache.collection('rows', {
        ttl: '1h',
        load: async (id: number): Promise<Row> => {
          most = Math.max(most, ++running)
          await new Promise((resolve) => setTimeout(resolve, 2))
          running--
          return { id, version: source.get(id) ?? 1 }
        },
        write: async (id: number, row: Row) => {
          source.set(id, row.version)
          return row
        },
        whenRedisAway: 'remember'
      })
    )
    const isOnVictim = (id: number): boolean => portOf(cluster, `${namespace}:rows:${id}`) === victim.port
    await until('all is cached', async () => {
      const sources = await Promise.all(IDS.map(async (id) => (await there!.lookup(id)).source))
      return sources.every((one) => one === 'redis')
    })

    await lose(victim)
    // Copies of counters are believed for two milliseconds.
    await sleep(50)
    try {
      most = 0
      const readAll = async (collection: typeof here, version: (id: number) => number): Promise<void> => {
        const found = await Promise.all(IDS.map((id) => collection!.lookup(id)))
        for (const [id, { value, source: from }] of found.entries()) {
          expect([id, value?.version]).toEqual([id, version(id)])
          expect(from).toBe('loader')
        }
      }
      await readAll(there, () => 1)
      const written = IDS.filter((id) => id % 10 === 0)
      for (const id of written) {
        const { cache } = await here!.put(id, { id, version: 2 })
        expect(cache).toBe(isOnVictim(id) ? 'pending' : 'dropped')
      }
      // Each of a kind: by whom it was written, and by another process.
      for (const collection of [here, there]) await readAll(collection, (id) => (id % 10 === 0 ? 2 : 1))
      expect(most).toBe(4)
      await expect(here!.clear()).rejects.toMatchObject({ code: 'REDIS_UNAVAILABLE' })
    } finally {
      await giveBack(victim)
    }
    await until(
      'everything is delivered and served from the Cluster again',
      async () => {
        const found = await Promise.all(IDS.map((id) => here!.lookup(id)))
        const isRight = found.every(({ value }, id) => value?.version === (source.get(id) ?? 1))
        expect(isRight).toBe(true)
        return (
          found.every(({ source: from }) => from === 'redis') &&
          caches[0]!.health().pendingInvalidations === 0
        )
      },
      60_000
    )
    const found = await Promise.all(IDS.map((id) => there!.lookup(id)))
    for (const [id, { value }] of found.entries()) expect(value?.version).toBe(source.get(id) ?? 1)
    await Promise.all(caches.map((cache) => cache.close()))
  }, 120_000)
})

it('what was remembered for the nodes of a Cluster that answer is delivered, whatever waits for one that does not', async () => {
  const cluster = await connected()
  const victim = servers.nodes[0]!
  const namespace = namespaceWith(cluster, victim, ALL_OWN, false)
  const cache = createCache({ redis: cluster, namespace, commandTimeout: '1s' })
  const rows = cache.collection('rows', {
    ttl: '1h',
    load: async (id: number) => ({ id }),
    whenRedisAway: 'remember'
  })
  const all = Array.from({ length: 3_000 }, (_, id) => id)
  const isLost = (id: number): boolean => portOf(cluster, `${namespace}:rows:${id}`) === victim.port
  // More than are delivered in one go, and before the others.
  const lost = all.filter(isLost).slice(0, 600)
  const living = all.filter((id) => !isLost(id)).slice(0, 100)
  expect(lost.length).toBe(600)
  await cache.ready()
  victim.pause()
  try {
    expect(await rows.invalidateMany([...lost, ...living])).toBe('pending')
    await until(
      'what others have is delivered',
      () => cache.health().pendingInvalidations === lost.length,
      60_000
    )
  } finally {
    victim.resume()
  }
  await until('all is delivered', () => cache.health().pendingInvalidations === 0, 60_000)
  await cache.close()
}, 150_000)

it('what is counted of tenants lies on one node, whose silence says nothing of the others', async () => {
  const cluster = await connected()
  const victim = servers.nodes[0]!
  const ignored = (): void => undefined
  const reports = {
    stateChanged: ignored,
    breakerChanged: ignored,
    callFailed: ignored,
    connectionFailed: ignored,
    misconfigured: ignored
  }
  const options = { timeoutMs: 500, probeKey: 'counted:#probe', clock: systemClock }
  const link = new RedisLink(openClient(cluster, systemClock), options, reports)
  await link.whenReady()
  const ledger = new RedisLedger(link, `${namespaceWith(cluster, victim, ['usage'], true)}:usage`)
  victim.pause()
  try {
    // More than it takes for all of Redis to count as away.
    for (let time = 0; time < 4; time++)
      await expect(ledger.update(new Map([['a tenant', 1]]))).rejects.toMatchObject({
        code: 'REDIS_UNAVAILABLE'
      })
    expect(link.state).toBe('ready')
    expect(link.problems().join()).toContain(String(victim.port))
  } finally {
    victim.resume()
  }
  await until(
    'it is counted again',
    () =>
      ledger.update(new Map([['a tenant', 1]])).then(
        ({ bytes }) => bytes.has('a tenant'),
        () => false
      ),
    60_000
  )
  await link.close()
}, 120_000)

describe('news of a change on a Cluster', () => {
  it('come after it, though they go to another node: nobody reads the old value again and keeps it', async () => {
    // Each its own connections: on a common one a command that is held back holds up the reads behind it.
    const [cluster, other] = await Promise.all([connected(), connected()])
    const slow = servers.nodes[2]!
    const namespace = namespaceWith(cluster, slow, ALL_OWN, false)
    const id = IDS.find((one) => portOf(cluster, `${namespace}:rows:${one}`) === slow.port)!
    let version = 1
    const caches = [cluster, other].map((redis) =>
      createCache({ redis, namespace, commandTimeout: '5s', memory: { maxBytes: 1024 * 1024 } })
    )
    const [here, there] = caches.map((cache) =>
      cache.collection('rows', { ttl: '1h', load: async (one: number) => ({ id: one, version }) })
    )
    const isKept = async (): Promise<boolean> => (await there!.lookup(id)).source === 'memory'
    await until('it is kept in memory', isKept, 30_000)
    const node = other.nodes('master').find(({ options }) => options.port === slow.port)!
    version = 2
    // Commands that write are held back; who reads there is answered.
    await node.call('CLIENT', 'PAUSE', 1_000, 'WRITE')
    let isOver = false
    const invalidating = here!.invalidate(id).finally(() => (isOver = true))
    let readsOfOld = 0
    await until(
      'it is over',
      async () => {
        if ((await there!.get(id))?.version === 1) readsOfOld++
        return isOver
      },
      30_000
    )
    await invalidating
    expect(readsOfOld).toBeGreaterThan(0)
    // Before the tier's own time to live could have told it: a minute.
    await until('the other has heard of it', async () => (await there!.get(id))?.version === 2, 30_000)
    await Promise.all(caches.map((cache) => cache.close()))
  }, 60_000)

  it('are missed no less when a failover has set their counter back, so that numbers come twice', async () => {
    const cluster = await connected()
    const namespace = 'rewound'
    let version = 1
    const cache = createCache({
      redis: cluster,
      namespace,
      commandTimeout: '5s',
      memory: { maxBytes: 1024 * 1024 }
    })
    const rows = cache.collection('rows', { ttl: '1h', load: async (id: number) => ({ id, version }) })
    const admin = await connected()
    const isKept = async (): Promise<boolean> => (await rows.lookup(1)).source === 'memory'
    await until('it is kept in memory', isKept, 30_000)
    // Numbers that it has heard, and that the server has lost.
    for (let id = 100; id < 110; id++) await rows.invalidate(id)
    await until('it is kept in memory again', isKept, 30_000)
    // At once, as one step of a server that took over: the change, and its number, whose message goes astray.
    version = 2
    await admin.unlink(`${namespace}:rows:1`)
    await admin.decrby(`${namespace}:#changes`, 5)
    await until('it is not served any more', async () => (await rows.get(1))?.version === 2, 30_000)
    await cache.close()
  }, 90_000)
})

it('what was written behind, and could not be announced, is not called refused', async () => {
  const cluster = await connected()
  const victim = servers.nodes[2]!
  const isLost = (key: string): boolean => portOf(cluster, key) === victim.port
  let queue = 0
  while (isLost(`{q${queue}.0}`)) queue++
  const name = `q${queue}`
  const ownKeys = ['#gen', `#gen:${name}`, `#behind:${name}:shards`, '#probe']
  let number = 0
  const namespace = (): string => `told${number}`
  const isRight = (): boolean =>
    ['#changes', '#listeners'].every((key) => isLost(`${namespace()}:${key}`)) &&
    ownKeys.every((key) => !isLost(`${namespace()}:${key}`))
  while (!isRight()) number++
  const sink = postgresSink<number, number>(new pg.Pool(), { table: 'views', key: 'id', value: 'n' })
  const cache = createCache({ redis: cluster, namespace: namespace(), commandTimeout: '1s' })
  const views = cache.collection(name, {
    ttl: '1h',
    load: (_id: number): number | undefined => undefined,
    write: writeBehind({ sink, shards: 1, writeTimeout: '3s' })
  })
  expect((await views.put(1, 1)).cache).toBe('accepted')
  await victim.kill()
  try {
    // It is in the stream, once, however often it was sent; others could not be told of it.
    await expect(views.put(1, 2)).rejects.toMatchObject({ code: 'WRITE_UNKNOWN' })
    expect(await cluster.xlen(`${namespace()}:#behind:{${name}.0}:stream`)).toBe(2)
  } finally {
    await victim.restart()
  }
  await until(
    'all is accepted again',
    () =>
      views.put(1, 3).then(
        () => true,
        () => false
      ),
    60_000
  )
  expect(await views.get(1)).toBe(3)
  await cache.close({ timeout: '100ms' })
}, 120_000)

it('a Cluster that reads from replicas is refused: they may be behind what was invalidated (#55)', () => {
  for (const scaleReads of ['slave', 'all'] as const) {
    const cluster = new Cluster([{ host: '127.0.0.1', port: 1 }], { scaleReads, lazyConnect: true })
    expect(() => createCache({ redis: cluster, namespace: 'shop' })).toThrow(/scaleReads 'master'/)
    cluster.disconnect()
  }
})
