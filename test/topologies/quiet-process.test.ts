import { Cluster } from 'ioredis'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { createCache, writeBehind, type Cache, type CacheOptions, type Collection } from '../../src/index.js'
import { shardKeys } from '../../src/keys/key-schema.js'
import { keySlot } from '../../src/redis/key-slot.js'
import { ask, replicationOf, untilInStep } from '../support/cut-off.js'
import { startProxy } from '../support/proxy.js'
import { startRedisCluster, type RedisCluster } from '../support/redis-cluster.js'
import { NOBODYS } from '../support/nobodys-sink.js'
import { startRedisServer, type RedisServer } from '../support/redis-server.js'
import { until } from '../support/until.js'

/*
 * A process finds its way after a change of servers although nothing else in it asks anything meanwhile: each of its
 * connections has to learn by itself where it leads.
 */
const PATIENCE_MS = 100_000
/** Replicas are not waited for to come together. */
const AT_ONCE = ['--repl-diskless-sync-delay', '0']
const IDS = Array.from({ length: 60 }, (_, id) => id)

interface Row {
  readonly id: number
  readonly version: number
}

const caches: Cache[] = []
const drivers: Cluster[] = []
afterEach(async () => {
  await Promise.all(caches.splice(0).map((cache) => cache.close({ timeout: '100ms' })))
  for (const driver of drivers.splice(0)) driver.disconnect()
})

function open(options: CacheOptions<'none'>): Cache {
  const cache = createCache({ commandTimeout: '5s', ...options })
  caches.push(cache)
  return cache
}

/** @param version what the source has now */
function rowsOf(cache: Cache, version = (): number => 1): Collection<number, Row> {
  return cache.collection('rows', {
    ttl: '1h',
    load: async (id: number): Promise<Row> => ({ id, version: version() }),
    write: async (_id, row: Row) => row
  })
}

const isConfirmed = (rows: Collection<number, Row>, id: number): Promise<boolean> =>
  rows.invalidate(id).then(
    () => true,
    () => false
  )

describe('on a Cluster, a process that asks nothing meanwhile', () => {
  let servers: RedisCluster
  beforeAll(async () => {
    servers = await startRedisCluster({
      replicasEach: 2,
      args: ['--cluster-require-full-coverage', 'no', '--appendonly', 'yes']
    })
  }, PATIENCE_MS)
  afterAll(() => servers.stop())

  async function connect(): Promise<Cluster> {
    const driver = new Cluster(
      servers.nodes.map(({ host, port }) => ({ host, port })),
      { redisOptions: { maxRetriesPerRequest: 0 } }
    )
    driver.on('error', () => undefined)
    drivers.push(driver)
    await until('the driver knows the slots', () => driver.status === 'ready', PATIENCE_MS)
    return driver
  }

  const portOf = (driver: Cluster, key: string): number =>
    Number(driver.slots[keySlot(key)]![0]!.split(':')[1])

  /** A namespace whose own keys, which are asked for all the time, lie on other nodes than that. */
  function namespaceOff(driver: Cluster, purpose: string, portOfNode: (namespace: string) => number): string {
    const own = ['#gen', '#gen:rows', '#changes', '#listeners', '#probe']
    for (let number = 0; ; number++) {
      const namespace = `${purpose}${number}`
      const port = portOfNode(namespace)
      if (own.every((name) => portOf(driver, `${namespace}:${name}`) !== port)) return namespace
    }
  }

  const isReplica = async (node: RedisServer): Promise<boolean> =>
    (await replicationOf(node)).includes('role:slave')

  async function untilServedWithout(lost: RedisServer): Promise<void> {
    await until(
      'a replica has taken over',
      async () => {
        const others = servers.nodes.filter((node) => node !== lost)
        const infos = await Promise.all(others.map(replicationOf))
        return infos.filter((info) => info.includes('role:master')).length === 3
      },
      PATIENCE_MS
    )
  }

  async function untilInOrder(): Promise<void> {
    await servers.settled(true)
    const primaries = await servers.primaries()
    await untilInStep(
      primaries,
      servers.nodes.filter((node) => !primaries.includes(node))
    )
  }

  it('makes its next changes and appends at once after a hand-over, over connections for nothing else', async () => {
    await untilInOrder()
    const changing = open({
      redis: await connect(),
      namespace: 'changing',
      waitForReplicas: { count: 1, timeout: '10s' }
    })
    const rows = rowsOf(changing)
    const appending = open({ redis: await connect(), namespace: 'appending' })
    const counters = appending.collection('counters', {
      ttl: '1h',
      load: async () => 0,
      write: writeBehind({ sink: NOBODYS, shards: 6, durability: 'replicated', writeTimeout: '20s' })
    })
    const beginning = open({ redis: await connect(), namespace: 'beginning' })
    const events = beginning.ingest('events', {
      sink: NOBODYS,
      durability: 'replicated',
      writeTimeout: '20s'
    })
    for (const id of IDS) expect(await rows.invalidate(id)).toBe('confirmed')
    expect(await Promise.all(IDS.map((id) => counters.increment(id)))).toEqual(IDS.map(() => 1))
    const before = await servers.primaries()
    const heirs = await Promise.all(
      servers.nodes
        .filter((node) => !before.includes(node))
        .map(async (node) => ({ node, of: /master_port:(\d+)/.exec(await replicationOf(node))?.[1] }))
    )
    for (const old of before) {
      const { node } = heirs.find(({ of }) => of === String(old.port))!
      await until(
        'it is handed over',
        async () => {
          // What does not come about within five seconds Redis gives up.
          await ask(node, (redis) => redis.call('CLUSTER', 'FAILOVER')).catch(() => undefined)
          await until('it is a replica', () => isReplica(old), 6_000).catch(() => undefined)
          return isReplica(old)
        },
        PATIENCE_MS
      )
    }
    await untilInOrder()
    await events.append('the first')
    expect(await Promise.all(IDS.map((id) => counters.increment(id)))).toEqual(IDS.map(() => 2))
    for (const id of IDS) expect(await rows.invalidate(id)).toBe('confirmed')
  }, 300_000)

  it('finds what it has to invalidate on a primary that it has never spoken to', async () => {
    await untilInOrder()
    const driver = await connect()
    const [victim] = (await servers.primaries()) as [RedisServer]
    const rows = rowsOf(open({ redis: driver, namespace: namespaceOff(driver, 'where', () => victim.port) }))
    for (const id of IDS) await rows.set(id, { id, version: 1 })
    await untilInOrder()
    await victim.kill()
    try {
      await untilServedWithout(victim)
      await servers.settled()
      expect(await rows.invalidateWhere(() => true)).toBe(IDS.length)
    } finally {
      await victim.restart()
    }
  }, 300_000)

  it('goes to the successor of a primary that says nothing any more, and is well again', async () => {
    await untilInOrder()
    const driver = await connect()
    const [victim] = (await servers.primaries()) as [RedisServer]
    const namespace = namespaceOff(driver, 'frozen', () => victim.port)
    const cache = open({
      redis: driver,
      namespace,
      commandTimeout: '500ms',
      waitForReplicas: { count: 1, timeout: '500ms' }
    })
    const rows = rowsOf(cache)
    for (const id of IDS) await until('a change is confirmed', () => isConfirmed(rows, id), PATIENCE_MS)
    const lost = IDS.filter((id) => portOf(driver, `${namespace}:rows:${id}`) === victim.port)
    expect(lost.length).toBeGreaterThan(5)
    victim.pause()
    try {
      await untilServedWithout(victim)
      await until(
        'what lay there is read and kept again',
        async () =>
          (await Promise.all(lost.map((id) => rows.lookup(id)))).every(({ source }) => source === 'redis'),
        PATIENCE_MS
      )
      await until('it is well', () => cache.health().status === 'ok', PATIENCE_MS)
      await until(
        'changes are confirmed again',
        async () => (await Promise.all(lost.map((id) => isConfirmed(rows, id)))).every(Boolean),
        PATIENCE_MS
      )
    } finally {
      victim.resume()
    }
  }, 300_000)

  it('hears of changes again when the node that told it of them says nothing any more', async () => {
    await untilInOrder()
    const reader = open({
      redis: await connect(),
      namespace: 'heard',
      memory: { maxBytes: 1 << 20, ttl: '1h' }
    })
    const rows = rowsOf(reader)
    const writing = rowsOf(open({ redis: await connect(), namespace: 'heard' }))
    const primaries = await servers.primaries()
    const tellers = async (nodes: readonly RedisServer[]): Promise<RedisServer[]> => {
      const counts = await Promise.all(
        nodes.map((node) => ask(node, (redis) => redis.call('PUBSUB', 'NUMSUB', 'heard:#changes')))
      )
      return nodes.filter((_, index) => Number((counts[index] as [string, number])[1]) > 0)
    }
    let teller: RedisServer | undefined
    await until(
      'a replica tells it',
      async () => {
        ;[teller] = await tellers(servers.nodes)
        if (teller === undefined || !primaries.includes(teller)) return teller !== undefined
        await ask(teller, (redis) => redis.call('CLIENT', 'KILL', 'TYPE', 'pubsub'))
        return false
      },
      PATIENCE_MS
    )
    await untilKept(rows)
    teller!.pause()
    try {
      const others = servers.nodes.filter((node) => node !== teller)
      let version = 1
      await until(
        'another node tells it',
        async () => {
          await writing.set(0, { id: 0, version: ++version })
          return (await tellers(others)).length > 0
        },
        PATIENCE_MS
      )
      await untilKept(rows)
      await writing.set(0, { id: 0, version: ++version })
      await until('it hears', async () => (await rows.get(0))?.version === version, PATIENCE_MS)
    } finally {
      teller!.resume()
    }
  }, 300_000)

  it('keeps nothing that was changed while nobody knew that it listens', async () => {
    await untilInOrder()
    const driver = await connect()
    const reader = open({ redis: driver, namespace: 'unheard', memory: { maxBytes: 1 << 20, ttl: '1h' } })
    const rows = rowsOf(reader)
    const writing = rowsOf(open({ redis: await connect(), namespace: 'unheard' }))
    await untilKept(rows)
    // As a node that is started anew without its data, and that everybody asks once a second.
    let version = 1
    const end = performance.now() + 2_000
    while (performance.now() < end) {
      await driver.del('unheard:#listeners')
      await writing.set(0, { id: 0, version: ++version })
      await rows.get(0)
    }
    await until('it has the last of them', async () => (await rows.get(0))?.version === version, PATIENCE_MS)
  }, 300_000)

  it('looks at a node again before it appends over a new connection', async () => {
    await untilInOrder()
    const driver = await connect()
    const ownerOf = (namespace: string): number => portOf(driver, shardKeys(namespace, 'events', 0).stream)
    const namespace = namespaceOff(driver, 'looking', ownerOf)
    const events = open({ redis: driver, namespace }).ingest('events', {
      sink: NOBODYS,
      shards: 1,
      durability: 'memory',
      writeTimeout: '20s'
    })
    await events.append('first')
    const owner = ownerOf(namespace)
    const node = servers.nodes.find(({ port }) => port === owner)!
    // As one that was started anew with other settings, before anybody took over.
    await ask(node, async (redis) => {
      await redis.config('SET', 'maxmemory-policy', 'allkeys-lru')
      await redis.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')
    })
    try {
      // What is under way when a connection ends may have been carried out, and is no refusal.
      await until(
        'the driver knows that the connection is lost',
        () => driver.nodes('master').every(({ options: { port } }) => port !== owner),
        PATIENCE_MS
      )
      await expect(events.append('second')).rejects.toMatchObject({ code: 'DURABILITY_UNMET' })
    } finally {
      await ask(node, (redis) => redis.config('SET', 'maxmemory-policy', 'noeviction'))
    }
  }, 300_000)
})

describe('behind one name for whichever server is the primary', () => {
  it('changes that wait for replicas follow the name, when the one before is demoted in place', async () => {
    await using first = await startRedisServer({ args: AT_ONCE })
    await using second = await startRedisServer({
      args: [...AT_ONCE, '--replicaof', first.host, String(first.port)]
    })
    const name = await startProxy(first.port)
    try {
      const inStep = async (primary: RedisServer): Promise<void> =>
        until(
          'the replica is in step',
          async () => (await replicationOf(primary)).includes('state=online'),
          PATIENCE_MS
        )
      await inStep(first)
      const rows = rowsOf(
        open({
          redis: `redis://127.0.0.1:${name.port}`,
          namespace: 'shop',
          waitForReplicas: { count: 1, timeout: '5s' }
        })
      )
      expect(await rows.invalidate(1)).toBe('confirmed')
      await ask(second, (redis) => redis.call('REPLICAOF', 'NO', 'ONE'))
      await ask(first, (redis) => redis.call('REPLICAOF', second.host, second.port))
      name.leadTo(second.port)
      await inStep(second)
      await until('they are confirmed again', () => isConfirmed(rows, 1), PATIENCE_MS)
    } finally {
      await name.stop()
    }
  }, 200_000)

  it('what is kept in memory is that of the server that is written to', async () => {
    await using first = await startRedisServer()
    await using second = await startRedisServer()
    const name = await startProxy(first.port)
    try {
      let version = 1
      const reader = open({
        redis: `redis://127.0.0.1:${name.port}`,
        namespace: 'shop',
        memory: { maxBytes: 1 << 20, ttl: '1h' }
      })
      const rows = rowsOf(reader, () => version)
      await untilKept(rows)
      name.leadTo(second.port)
      // Of its three connections the one for commands.
      await ask(first, async (redis) => {
        const own = String(await redis.client('ID'))
        for (const line of String(await redis.client('LIST')).split('\n')) {
          const [, id, flags] = /^id=(\d+).* flags=(\S+)/.exec(line) ?? []
          if (flags === 'N' && id !== own) await redis.client('KILL', 'ID', id!)
        }
      })
      const writing = rowsOf(open({ redis: second.url, namespace: 'shop' }))
      version = 2
      await writing.put(0, { id: 0, version })
      await until('it reads what was written', async () => (await rows.get(0))?.version === 2, PATIENCE_MS)
    } finally {
      await name.stop()
    }
  }, 200_000)
})

async function untilKept(rows: Collection<number, Row>): Promise<void> {
  await until(
    'it is served from memory',
    async () => {
      await rows.get(0)
      return (await rows.lookup(0)).source === 'memory'
    },
    PATIENCE_MS
  )
}
