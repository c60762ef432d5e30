import { Cluster } from 'ioredis'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { createCache, writeBehind, type Cache, type CacheOptions, type Collection } from '../../src/index.js'
import { systemClock } from '../../src/clock.js'
import { shardKeys } from '../../src/keys/key-schema.js'
import { openClient } from '../../src/redis/client.js'
import { ConfirmedCalls } from '../../src/redis/confirmed-calls.js'
import { keySlot } from '../../src/redis/key-slot.js'
import { RedisLink } from '../../src/redis/link.js'
import { ask } from '../support/cut-off.js'
import { moveOf as moveOfKey, movingSlot, type MovingSlot } from '../support/moving-slot.js'
import { startRedisCluster, type RedisCluster } from '../support/redis-cluster.js'
import { NOBODYS } from '../support/nobodys-sink.js'
import { startRedisServer, type RedisServer } from '../support/redis-server.js'
import { until } from '../support/until.js'

const PATIENCE_MS = 100_000

let servers: RedisCluster
let opened: { cache: Cache; driver: Cluster }[] = []

beforeAll(async () => {
  servers = await startRedisCluster({
    // Nobody is to take over because a busy machine keeps a node waiting.
    nodeTimeoutMs: 15_000,
    args: ['--cluster-require-full-coverage', 'no']
  })
}, PATIENCE_MS)
afterEach(async () => {
  for (const { cache, driver } of opened) {
    await cache.close({ timeout: '100ms' })
    driver.disconnect()
  }
  opened = []
})
afterAll(() => servers.stop())

interface Connecting {
  readonly keyPrefix?: string
  readonly username?: string
}

function connect({ keyPrefix = '', username = 'default' }: Connecting = {}): Cluster {
  const driver = new Cluster(
    servers.nodes.map(({ host, port }) => ({ host, port })),
    {
      redisOptions: { maxRetriesPerRequest: 0, username, password: 'any' },
      slotsRefreshTimeout: 20_000,
      keyPrefix
    }
  )
  driver.on('error', () => undefined)
  return driver
}

async function open(
  options: Omit<CacheOptions<'none'>, 'redis'>,
  connecting?: Connecting
): Promise<{ cache: Cache; driver: Cluster }> {
  const driver = connect(connecting)
  const cache = createCache({ redis: driver, commandTimeout: '10s', ...options })
  opened.push({ cache, driver })
  await cache.ready()
  return { cache, driver }
}

const moveOf = (key: string, to?: RedisServer): Promise<MovingSlot> => moveOfKey(servers, key, to)

const LINK = { timeoutMs: 10_000, probeKey: 'scripts:#probe', clock: systemClock }
const ignored = (): void => undefined
const NO_REPORTS = {
  stateChanged: ignored,
  breakerChanged: ignored,
  callFailed: ignored,
  connectionFailed: ignored,
  misconfigured: ignored
}

const isDone = (work: Promise<unknown>): Promise<boolean> =>
  work.then(
    () => true,
    () => false
  )

const existsOn = (node: MovingSlot['from'], key: string): Promise<unknown> =>
  ask(node, async (redis) => ((await redis.keys(key)).length === 1 ? key : undefined))

/** How often both nodes have refused something so. */
async function refusals({ from, to }: MovingSlot, word: string): Promise<number> {
  const counts = await Promise.all(
    [from, to].map(async (node) => {
      const stats = await ask(node, (redis) => redis.info('errorstats'))
      return Number(new RegExp(`errorstat_${word}:count=(\\d+)`).exec(stats)?.[1] ?? 0)
    })
  )
  return counts.reduce((sum, count) => sum + count, 0)
}

describe('while a slot of a Cluster is moved', () => {
  it('a change that waits for replicas is confirmed where the key is: moved, not moved yet, or nowhere', async () => {
    await servers.settled(true)
    const waitForReplicas = { count: 1, timeout: '20s' } as const
    const { cache } = await open({ namespace: 'asked', waitForReplicas })
    let version = 1
    const rows = cache.collection('rows', {
      ttl: '1h',
      load: async (id: number) => ({ id, version }),
      write: async (_id: number, row: { id: number; version: number }) => {
        version = row.version
        return row
      }
    })
    const key = 'asked:rows:1'
    await until('it is cached', async () => (await rows.lookup(1)).source === 'redis')
    // Its connection is made when it is needed first, which may take too long for one change.
    await until('changes are confirmed', () => isDone(rows.invalidate(2)), PATIENCE_MS)
    const move = await moveOf(key)
    await move.begin()
    try {
      // Nobody has the scripts: the node that is asked neither.
      for (const node of servers.nodes) await ask(node, (redis) => redis.script('FLUSH'))
      expect(await rows.invalidate(1)).toBe('confirmed')
      expect(await existsOn(move.from, key)).toBeUndefined()
      await until('it is cached on the other node', async () => (await rows.lookup(1)).source === 'redis')
      expect(await existsOn(move.to, key)).toBe(key)
      version = 2
      expect(await rows.invalidate(1)).toBe('confirmed')
      expect(await existsOn(move.to, key)).toBeUndefined()
      expect((await rows.get(1))?.version).toBe(2)
      expect((await rows.put(1, { id: 1, version: 3 })).cache).toBe('published')
      expect((await rows.lookup(1)).value?.version).toBe(3)
    } finally {
      await move.end()
    }
    expect(await rows.invalidate(1)).toBe('confirmed')
    expect((await rows.get(1))?.version).toBe(3)
  }, 120_000)

  it('and a driver adds a prefix to keys, a change that waits for replicas is made to the key that is read', async () => {
    const waitForReplicas = { count: 1, timeout: '20s' } as const
    const { cache } = await open({ namespace: 'prefixed', waitForReplicas }, { keyPrefix: 'theirs:' })
    let version = 1
    const rows = cache.collection('rows', { ttl: '1h', load: async (id: number) => ({ id, version }) })
    for (let id = 0; id < 20; id++) {
      await until('it is cached', async () => (await rows.lookup(id)).source === 'redis')
    }
    await until('changes are confirmed', () => isDone(rows.invalidate(20)), PATIENCE_MS)
    version = 2
    for (let id = 0; id < 20; id++) {
      expect(await rows.invalidate(id)).toBe('confirmed')
      expect((await rows.get(id))?.version).toBe(2)
    }
  }, 120_000)

  it('a script over keys of which some have moved is tried again until all have, or its time is over', async () => {
    const driver = connect()
    const link = new RedisLink(openClient(driver, systemClock), LINK, NO_REPORTS)
    const confirmed = new ConfirmedCalls(link)
    const keys = ['scripts:{tag}:entry', 'scripts:{tag}:unflushed']
    const move = await moveOf(keys[0]!)
    const takeLease = (timeoutMs: number): Promise<unknown> =>
      confirmed.by({ command: 'wait', timeoutMs, follows: true })('take-lease', keys, [
        Buffer.alloc(8, 1),
        60_000,
        '',
        ''
      ])
    try {
      await link.whenReady()
      await until('changes are confirmed', () => isDone(takeLease(20_000)), PATIENCE_MS)
      await ask(move.from, async (redis) => {
        await redis.set(keys[0]!, 'some bytes')
        await redis.hset(keys[1]!, 'stays', 'for now')
      })
      await move.begin()
      await move.moveKeys(keys[0]!)
      await expect(takeLease(1_000)).rejects.toMatchObject({
        code: 'REDIS_UNAVAILABLE',
        cause: { message: expect.stringMatching(/TRYAGAIN|ASK/) }
      })
      const before = await refusals(move, 'TRYAGAIN')
      const taking = takeLease(60_000)
      // Awaited below, whatever else fails first.
      taking.catch(ignored)
      await until(
        'it is tried again and again',
        async () => (await refusals(move, 'TRYAGAIN')) > before + 3,
        PATIENCE_MS
      )
      await move.end()
      expect(await taking).toBeInstanceOf(Array)
    } finally {
      await move.end()
      await ask(move.to, (redis) => redis.del(...keys))
      confirmed.close()
      await link.close()
      driver.disconnect()
    }
  }, 120_000)

  it('what is written behind at "replicated" is accepted once its slot has been moved, and once only', async () => {
    await servers.settled(true)
    const { cache } = await open({ namespace: 'behind' })
    const counters = cache.collection('counters', {
      ttl: '1h',
      load: async () => 0,
      write: writeBehind({ sink: NOBODYS, shards: 1, durability: 'replicated', writeTimeout: '90s' })
    })
    expect(await counters.increment(1)).toBe(1)
    const { stream } = shardKeys('behind', 'counters', 0)
    const move = await moveOf(stream)
    await move.begin()
    await move.moveKeys(stream)
    const before = await refusals(move, 'TRYAGAIN')
    const incrementing = Promise.all([counters.increment(1), counters.increment(2)])
    await until('it is refused', async () => (await refusals(move, 'TRYAGAIN')) > before + 2, PATIENCE_MS)
    await move.end()
    expect(await incrementing).toEqual([2, 1])
    expect(await counters.increment(1)).toBe(3)
  }, 120_000)
})

describe('invalidateWhere, while slots of a Cluster are moved', () => {
  const IDS = Array.from({ length: 90 }, (_, id) => id)

  interface Held {
    readonly cache: Cache
    readonly rows: Collection<number, { id: number }>
    /** Some id whose key lies there. */
    readonly idOn: (port: number) => number
    readonly move: (id: number, from: number, to: number) => MovingSlot
    readonly ports: readonly number[]
  }

  /** @param before what happens before a node is scanned from its beginning; `scanned` are the nodes before it */
  async function hold(
    namespace: string,
    before: (all: Held, port: number, scanned: readonly number[]) => Promise<void>,
    connecting?: Connecting
  ): Promise<Held> {
    const { cache, driver } = await open({ namespace }, connecting)
    const rows = cache.collection('rows', { ttl: '1h', load: async (id: number) => ({ id }) })
    await until('all is cached', async () => (await keptOf(rows)).length === IDS.length, PATIENCE_MS)
    const slotOf = (id: number): number => keySlot(`${namespace}:rows:${id}`)
    const portOf = (id: number): number => Number(driver.slots[slotOf(id)]![0]!.split(':')[1])
    const serverAt = (port: number): RedisServer => servers.nodes.find((server) => server.port === port)!
    const nodes = driver.nodes('master')
    const all: Held = {
      cache,
      rows,
      idOn: (port) => IDS.find((id) => portOf(id) === port)!,
      move: (id, from, to) => movingSlot(servers, slotOf(id), serverAt(from), serverAt(to)),
      ports: nodes.map(({ options }) => options.port!)
    }
    const scanned: number[] = []
    for (const node of nodes) {
      const scan = node.scan.bind(node) as (...args: unknown[]) => Promise<[string, string[]]>
      const port = node.options.port!
      const holding = async (...args: unknown[]): Promise<[string, string[]]> => {
        if (args[0] === '0') {
          await before(all, port, scanned)
          scanned.push(port)
        }
        return scan(...args)
      }
      Object.assign(node, { scan: holding })
    }
    return all
  }

  async function keptOf(rows: Held['rows']): Promise<number[]> {
    const found = await Promise.all(IDS.map((id) => rows.lookup(id)))
    return IDS.filter((id) => found[id]!.source === 'redis')
  }

  /** All that is searched for is found, though these moves are not over. */
  async function searchDuring(rows: Held['rows'], moves: readonly { move: MovingSlot }[]): Promise<void> {
    for (const { move } of moves) await move.begin()
    try {
      await rows.invalidateWhere(() => true)
      expect(await keptOf(rows)).toEqual([])
    } finally {
      for (const { move } of moves) await move.handOver()
      await servers.settled()
    }
  }

  async function moveAll(move: MovingSlot): Promise<void> {
    await move.begin()
    await move.end()
  }

  it('finds what goes from a node that is not scanned yet to one that was', async () => {
    const { rows } = await hold('travels', async (all, port, scanned) => {
      if (scanned.length === 1) await moveAll(all.move(all.idOn(port), port, scanned[0]!))
    })
    await rows.invalidateWhere(() => true)
    expect(await keptOf(rows)).toEqual([])
  }, 120_000)

  it('finds what went away and came back', async () => {
    let [id, from, to] = [0, 0, 0]
    const { rows } = await hold('returns', async (all, port, scanned) => {
      if (scanned.length === 1) {
        ;[id, from, to] = [all.idOn(port), port, scanned[0]!]
        await moveAll(all.move(id, from, to))
      }
      if (scanned.length === 2) await moveAll(all.move(id, to, from))
    })
    await rows.invalidateWhere(() => true)
    expect(await keptOf(rows)).toEqual([])
  }, 120_000)

  it('finds what goes while the moves of its slots take longer than the search', async () => {
    const moves: { move: MovingSlot; key: string }[] = []
    let isDone = false
    const all = await hold('slow', async ({ ports }, port, scanned) => {
      const isOneOfTwo = (one: number): boolean => ports.indexOf(one) < 2
      if (isDone || !isOneOfTwo(port) || !scanned.some(isOneOfTwo)) return
      isDone = true
      for (const { move, key } of moves) await move.moveKeys(key)
    })
    // Crosswise: whichever of the two nodes is scanned first, one key goes to where nobody would look again.
    const [one, other] = all.ports as [number, number]
    for (const [from, to] of [
      [one, other],
      [other, one]
    ] as const) {
      const id = all.idOn(from)
      moves.push({ move: all.move(id, from, to), key: `slow:rows:${id}` })
    }
    await searchDuring(all.rows, moves)
    expect(isDone).toBe(true)
  }, 120_000)

  it('rejects rather than leave something out, when slots are moved without an end', async () => {
    let begun: MovingSlot | undefined
    let passes = 0
    const { rows } = await hold('endless', async (all, port) => {
      const [from, to] = all.ports as [number, number]
      if (port !== from) return
      passes++
      if (begun === undefined) {
        begun = all.move(all.idOn(from), from, to)
        await begun.begin()
      } else {
        await begun.cancel()
        begun = undefined
      }
    })
    await expect(rows.invalidateWhere(() => false)).rejects.toMatchObject({
      code: 'REDIS_UNAVAILABLE',
      cause: { message: '1 slots of the Cluster were moved in each of 10 passes' }
    })
    expect(passes).toBe(10)
    await begun?.cancel()
  }, 120_000)

  it('asks nobody who is not needed: replicas that say nothing hold nobody up', async () => {
    await servers.settled(true)
    const { rows } = await hold('silent', async () => undefined)
    const primaries = await servers.primaries()
    const replicas = servers.nodes.filter((node) => !primaries.includes(node))
    for (const replica of replicas) replica.pause()
    try {
      // A driver asks for slots at random until somebody answers; here two of five times one that does not.
      for (let time = 0; time < 20; time++) await rows.invalidateWhere(() => false)
      expect(await rows.invalidateWhere(() => true)).toBe(IDS.length)
    } finally {
      for (const replica of replicas) replica.resume()
    }
    await servers.settled(true)
  }, 120_000)

  describe('by a user that may not ask the nodes what they have', () => {
    const UNASKED = { username: 'unasked' }

    beforeAll(async () => {
      const rights = ['on', 'nopass', '~*', '&*', '+@all', '-cluster|nodes']
      for (const node of servers.nodes)
        await ask(node, (redis) => redis.acl('SETUSER', UNASKED.username, ...rights))
    })

    it('finds what goes from node to node all the same, and says in health() what is denied', async () => {
      const { cache, rows } = await hold(
        'unasked',
        async (all, port, scanned) => {
          if (scanned.length === 1) await moveAll(all.move(all.idOn(port), port, scanned[0]!))
        },
        UNASKED
      )
      await until('it is known', () => cache.health().problems.join().includes('+cluster|nodes'))
      expect(cache.health()).toMatchObject({ status: 'degraded', redis: { state: 'ready' } })
      expect(await rows.invalidateWhere(() => true)).toBe(IDS.length)
      expect(await keptOf(rows)).toEqual([])
      // Its right is given to it: the next search says so.
      for (const node of servers.nodes)
        await ask(node, (redis) => redis.acl('SETUSER', UNASKED.username, '+cluster|nodes'))
      await rows.invalidateWhere(() => true)
      expect(cache.health().problems.join()).not.toContain('CLUSTER NODES is denied')
      for (const node of servers.nodes)
        await ask(node, (redis) => redis.acl('SETUSER', UNASKED.username, '-cluster|nodes'))
    }, 120_000)

    it('finds what goes while the moves of its slots take longer than the search', async () => {
      let isDone = false
      const moves: { move: MovingSlot; key: string }[] = []
      const all = await hold(
        'unasked-slow',
        async (_all, _port, scanned) => {
          if (isDone || scanned.length !== 1) return
          isDone = true
          for (const { move, key } of moves) await move.moveKeys(key)
        },
        UNASKED
      )
      // Round about: whichever node is scanned first, a key goes to it.
      for (const [index, from] of all.ports.entries()) {
        const to = all.ports[(index + 1) % all.ports.length]!
        const id = all.idOn(from)
        moves.push({ move: all.move(id, from, to), key: `unasked-slow:rows:${id}` })
      }
      await searchDuring(all.rows, moves)
      expect(isDone).toBe(true)
    }, 120_000)

    it('rejects when owners change without an end', async () => {
      let passes = 0
      const { rows } = await hold(
        'unasked-endless',
        async (all, port) => {
          const [one, other] = all.ports as [number, number]
          if (port !== one) return
          passes++
          await moveAll(all.move(all.idOn(one), one, other))
        },
        UNASKED
      )
      await expect(rows.invalidateWhere(() => false)).rejects.toMatchObject({
        code: 'REDIS_UNAVAILABLE',
        cause: { message: 'slots of the Cluster were moved in each of 10 passes' }
      })
      expect(passes).toBe(10)
    }, 120_000)
  })
})

// After all the others: this node stays in the Cluster's memory.
describe('a node that is given its first slot', () => {
  it('is asked, though it has none yet: a change is confirmed there, and a search finds what is there', async () => {
    await using added = await startRedisServer({ args: servers.args })
    const [first] = (await servers.primaries()) as [RedisServer]
    await ask(added, (redis) => redis.call('CLUSTER', 'MEET', first.host, first.port))
    await until(
      'everybody knows it, and it the Cluster',
      async () => {
        const views = await Promise.all(
          servers.nodes.map((node) => ask(node, (redis) => redis.call('CLUSTER', 'NODES')))
        )
        const info = await ask(added, (redis) => redis.cluster('INFO'))
        const isKnown = views.every((view) => String(view).includes(`:${added.port}@`))
        return isKnown && info.includes('cluster_state:ok') && info.includes('cluster_slots_ok:16384')
      },
      PATIENCE_MS
    )
    const { cache, driver } = await open({ namespace: 'first' })
    const rows = cache.collection('rows', { ttl: '1h', load: async (id: number) => ({ id }) })
    await until('all is cached', async () => (await rows.lookup(1)).source === 'redis', PATIENCE_MS)
    const move = await moveOf('first:rows:1', added)
    const link = new RedisLink(openClient(driver, systemClock), LINK, NO_REPORTS)
    const confirmed = new ConfirmedCalls(link)
    await move.begin()
    try {
      await move.moveKeys('first:rows:1')
      expect(await rows.invalidateWhere(() => true)).toBe(1)
      expect(await existsOn(added, 'first:rows:1')).toBeUndefined()
      // It has no replica.
      const drop = confirmed.by({ command: 'wait', count: 0, timeoutMs: 20_000, follows: true })
      await until(
        'changes are confirmed',
        () => isDone(drop('drop-flushed', ['first:rows:1'], [])),
        PATIENCE_MS
      )
      await until('it is cached again', async () => (await rows.lookup(1)).source === 'redis', PATIENCE_MS)
      expect(await existsOn(added, 'first:rows:1')).toBe('first:rows:1')
      expect(await drop('drop-flushed', ['first:rows:1'], [])).toBe(1)
      expect(await existsOn(added, 'first:rows:1')).toBeUndefined()
    } finally {
      confirmed.close()
      await link.close()
      await move.cancel()
    }
  }, 120_000)
})
