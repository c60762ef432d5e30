import { execFileSync } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'
import { Cluster, Redis, type RedisOptions } from 'ioredis'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createCache, type Cache, type CacheOptions, type Collection } from '../../src/index.js'
import { startProxy, type Proxy } from '../support/proxy.js'
import { startRedisServer, type RedisServer } from '../support/redis-server.js'
import { until } from '../support/until.js'

/** Nothing old is served for longer than this after the way of the news is broken. */
const TWO_HEARTBEATS_MS = 2_000
/** What comes by itself is there before the next one could find that it did not. */
const HEARTBEAT_MS = 1_000

let server: RedisServer
let proxy: Proxy
let admin: Redis
const caches: Cache[] = []

beforeEach(async () => {
  server = await startRedisServer()
  proxy = await startProxy(server.port)
  admin = new Redis(server.url)
})
afterEach(async () => {
  await Promise.all(caches.splice(0).map((cache) => cache.close({ timeout: '1s' })))
  admin.disconnect()
  await proxy.stop()
  await server.stop()
})

const open = (options: Partial<CacheOptions<'optional'>> = {}): Cache => {
  const cache = createCache({
    redis: `redis://127.0.0.1:${proxy.port}`,
    namespace: 'shop',
    commandTimeout: '1s',
    memory: { maxBytes: 8_000_000 },
    ...options
  })
  caches.push(cache)
  return cache
}

/** The source: its rows are numbers that grow. */
const source = (cache: Cache, rows: number[]) =>
  cache.collection('rows', { ttl: '1h', earlyRefresh: 0, load: async (id: number) => rows[id]! })

type Rows = Collection<number, number>

const inMemory = (rows: Rows, ids: readonly number[]): Promise<void> =>
  until('they are in memory', async () => {
    await rows.getMany(ids)
    return ids.every((id) => rows.peekMemory(id) !== undefined)
  })

describe('an answer and the news of its change', () => {
  it('that arrive together, in either order, leave nothing old in memory: 0 of 1,000 (#42)', async () => {
    const values = Array.from({ length: 50 }, () => 1)
    const ids = values.map((_, id) => id)
    const rows = source(open(), values)
    const other = source(createdDirectly(), values)
    await caches[0]!.ready()
    await other.getMany(ids)
    let stale = 0
    let kept = 0
    for (let round = 0; round < 20; round++) {
      // What is asked now is answered with the old values, and the answer waits on the wire, and so do the news.
      const before = proxy.received
      proxy.hold()
      const reading = rows.getMany(ids)
      await until('Redis has answered', () => proxy.received - before > 50 * 20)
      for (const id of ids) values[id]!++
      await other.invalidateMany(ids)
      await other.getMany(ids)
      await until('Redis has told', () => proxy.received - before > 50 * 35)
      proxy.release(round % 2 === 0)
      await reading
      await sleep(20)
      for (const id of ids) {
        const held = rows.peekMemory(id)
        if (held !== undefined && held !== values[id]) stale++
        if ((await rows.get(id)) !== values[id]) stale++
      }
      // The race is forced only if it would have been kept otherwise.
      await inMemory(rows, ids)
      kept += ids.filter((id) => rows.peekMemory(id) === values[id]).length
      await other.invalidateMany(ids)
      await until('all are dropped', () => ids.every((id) => rows.peekMemory(id) === undefined))
      await other.getMany(ids)
    }
    expect(stale).toBe(0)
    expect(kept).toBe(1_000)
  })
})

describe('an invalidation that Redis would not take, and that is remembered', () => {
  it('leaves nothing in memory for who comes after it, also not of a read that is under way', async () => {
    await admin.call('ACL', 'SETUSER', 'careful', 'on', '>pw', '~*', '&*', '+@all', '-unlink')
    const values = [0, 1]
    const [cache, other] = [
      open({
        redis: { host: '127.0.0.1', port: proxy.port, username: 'careful', password: 'pw' },
        commandTimeout: '30s'
      }),
      createdDirectly()
    ]
    const [rows, elsewhere] = [cache, other].map((one) =>
      one.collection('rows', {
        ttl: '1h',
        earlyRefresh: 0,
        // So it is asked for twice: the first answer tells which counters belong to it.
        tags: () => ['tagged'],
        whenRedisAway: 'remember',
        load: async (id: number) => values[id]!
      })
    ) as [Rows, Rows]
    await cache.ready()
    await elsewhere.get(1)
    await admin.config('RESETSTAT')
    proxy.hold()
    const reading = rows.get(1)
    await until('it asks', async () => (await admin.info('commandstats')).includes('cmdstat_mget'))
    values[1] = 2
    const invalidating = rows.invalidate(1)
    await until('it is refused', async () => (await admin.info('errorstats')).includes('NOPERM'))
    // The refusal first, and then what was read.
    proxy.release()
    expect(await invalidating).toBe('pending')
    await reading
    expect(rows.peekMemory(1)).toBeUndefined()
    expect(await rows.get(1)).toBe(2)
  })
})

describe('a Redis that is far away', () => {
  it('keeps memory true, though what is asked for that takes longer than any one call may', async () => {
    proxy.delay(150)
    const cache = open({ commandTimeout: '400ms' })
    const tells = (): boolean => cache.health().memory.mode === 'tracking'
    await until('Redis tells of changes', tells, 60_000)
    const values = [1]
    const rows = source(cache, values)
    await inMemory(rows, [0])
    values[0] = 2
    await source(createdDirectly(), values).invalidate(0)
    await until('the news has come all the way', async () => (await rows.get(0)) === 2)
  }, 90_000)
})

describe('when the way of the news breaks', () => {
  const breaks: [string, () => Promise<unknown> | void][] = [
    ['the subscriber is killed', () => admin.call('CLIENT', 'KILL', 'TYPE', 'pubsub')],
    ['every connection is killed', () => admin.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')],
    ['connections are reset', () => proxy.reset()],
    ['nothing arrives any more, though the connections stand', () => proxy.swallow('to-client')],
    ['nothing is sent any more, though the connections stand', () => proxy.swallow('to-server')],
    ['nothing passes either way', () => proxy.swallow()]
  ]
  for (const [name, break_] of breaks) {
    it(`${name}: never past two heartbeats, and memory serves again later (#43, #44, #45)`, async () => {
      const values = [0, 1, 1, 1]
      const cache = open()
      const rows = source(cache, values)
      await cache.ready()
      await inMemory(rows, [1, 2, 3])
      await break_()
      values[1] = 2
      await admin.unlink('shop:rows:1')
      const changedAt = performance.now()
      let lastOldAt = 0
      while (performance.now() - changedAt < TWO_HEARTBEATS_MS + 1_500) {
        const startedAt = performance.now()
        const value = await rows.get(1)
        if (value !== 2) lastOldAt = startedAt
        await sleep(3)
      }
      expect(lastOldAt - changedAt).toBeLessThan(TWO_HEARTBEATS_MS)
      await until('news come again', () => cache.health().memory.mode === 'tracking', 10_000)
      await inMemory(rows, [1, 2, 3])
      expect(rows.peekMemory(1)).toBe(2)
      await admin.unlink('shop:rows:2')
      await until('it is heard of', () => rows.peekMemory(2) === undefined, HEARTBEAT_MS)
    })
  }

  it('one side alone, the tracked connection: its keys are forgotten by Redis without a word (#45)', async () => {
    const values = [0, 1]
    const cache = open()
    const rows = source(cache, values)
    const other = source(createdDirectly(), values)
    await cache.ready()
    await inMemory(rows, [1])
    // The one with tracking on, by its redirection.
    const list = String(await admin.client('LIST'))
    const tracked = list
      .split('\n')
      .filter((line) => /redir=[0-9]/.test(line) && line.includes('resp=2') && line.includes(`flags=t`))
    expect(tracked.length).toBeGreaterThan(0)
    for (const line of tracked) await admin.call('CLIENT', 'KILL', 'ID', /id=(\d+)/.exec(line)![1]!)
    values[1] = 2
    await other.invalidate(1)
    await until('the old value is gone', async () => (await rows.get(1)) === 2, TWO_HEARTBEATS_MS)
  })
})

describe('behind a name that leads to several servers', () => {
  it('a connection is not believed about changes that are made on another server', async () => {
    const other = await startRedisServer()
    try {
      const values = [0, 1]
      // Each has it, so that whoever reads there finds it.
      await source(open({ redis: other.url }), values).get(1)
      const elsewhere = source(createdDirectly(), values)
      await elsewhere.get(1)
      const cache = open()
      // The first connection is for commands; what tells of changes is connected behind it.
      const stopWatching = cache.on('redisState', ({ state }) => {
        if (state === 'ready') proxy.leadTo(other.port)
      })
      const rows = source(cache, values)
      const isTried = (): boolean =>
        rows.peekMemory(1) !== undefined || /different servers/.test(cache.health().memory.reason ?? '')
      await until('it is tried', async () => (await rows.get(1), isTried()))
      values[1] = 2
      await elsewhere.invalidate(1)
      expect(await rows.get(1)).toBe(2)
      stopWatching()
      proxy.leadTo(server.port)
      await until('they lead to one', () => cache.health().memory.mode === 'tracking')
      await inMemory(rows, [1])
    } finally {
      await other.stop()
    }
  })
})

describe('more news at once than Redis holds back for a client', () => {
  it('end its connection: everything kept is dropped, nothing old is served, and memory serves again (#48)', async () => {
    const ids = Array.from({ length: 600 }, (_, id) => id)
    const values = ids.map(() => 1)
    const cache = open()
    const rows = source(cache, values)
    await cache.ready()
    await inMemory(rows, ids)
    const limitOf = (bytes: number): Promise<unknown> =>
      admin.config('SET', 'client-output-buffer-limit', `pubsub ${bytes} 0 0`)
    await limitOf(4_096)
    for (const id of ids) values[id] = 2
    // One command, so Redis has all of its news to send before it may send any.
    await admin.unlink(...ids.map((id) => `shop:rows:${id}`))
    await until('Redis has ended it', () => server.log().includes('output buffer limits'))
    await limitOf(0)
    const old = async (): Promise<number> =>
      [...(await rows.getMany(ids)).values()].filter((value) => value !== 2).length
    await until('nothing old is served', async () => (await old()) === 0)
    await until('news come again', () => cache.health().memory.mode === 'tracking')
    await inMemory(rows, [1, 2, 3])
    expect(await old()).toBe(0)
    await admin.unlink('shop:rows:2')
    await until('it is heard of', () => rows.peekMemory(2) === undefined)
  })
})

describe('where client tracking is refused', () => {
  const plain = async (): Promise<Partial<CacheOptions<'optional'>>> => {
    await admin.call('ACL', 'SETUSER', 'plain', 'on', '>pw', '~*', '&*', '+@all', '-client|tracking')
    return { redis: { host: '127.0.0.1', port: proxy.port, username: 'plain', password: 'pw' } }
  }
  /** In each of them who listens says so. */
  const beats = async (): Promise<number> =>
    Number(/cmdstat_pexpire:calls=(\d+)/.exec(await admin.info('commandstats'))?.[1] ?? 0)
  const inChannelMode = (cache: Cache): Promise<void> =>
    until('it listens to the channel', () => cache.health().memory.mode === 'channel', 10_000)

  it('processes tell one another by a channel, also those that are told by Redis themselves, and while it is full (#106)', async () => {
    const values = [0, 1, 1]
    const [cache, other] = [open(await plain()), createdDirectly()]
    const [rows, elsewhere] = [source(cache, values), source(other, values)]
    await inChannelMode(cache)
    expect(cache.health().memory.reason).toMatch(/NOPERM.*tracking/)
    expect(other.health().memory.mode).toBe('tracking')
    for (let round = 0; round < 20; round++) {
      await inMemory(rows, [1, 2])
      values[1]!++
      if (round % 4 === 0) await elsewhere.clear()
      else if (round % 4 === 1) await rows.invalidate(1)
      else if (round % 4 === 2) await elsewhere.set(1, values[1]!)
      else await elsewhere.invalidate(1)
      await until('it is heard of', async () => (await rows.get(1)) === values[1], HEARTBEAT_MS)
    }
    await inMemory(rows, [1])
    const modes: string[] = []
    cache.on('coherence', ({ mode }) => void modes.push(mode))
    await admin.config('RESETSTAT')
    await admin.config('SET', 'maxmemory', '1')
    await until('it has said a few times that it listens', async () => (await beats()) > 2)
    expect(rows.peekMemory(1)).toBe(values[1])
    values[1]!++
    await elsewhere.invalidate(1)
    await until('it is heard of', async () => (await rows.get(1)) === values[1])
    expect(modes).toEqual([])
  })

  it('of a change that Redis carries out only at the second sending nobody keeps what was read between the two', async () => {
    const values = [0, 1]
    const { redis } = await plain()
    const reader = open({ redis: { ...(redis as RedisOptions), port: server.port } })
    const rows = source(reader, values)
    const elsewhere = source(open({ memory: false }), values)
    await inChannelMode(reader)
    for (const change of [() => elsewhere.clear(), () => elsewhere.invalidate(1, { soft: true })]) {
      await inMemory(rows, [1])
      // Redis knows the script that tells, and not the one that changes: so the news come first, and then the change.
      await admin.script('FLUSH')
      await elsewhere.invalidate(0)
      proxy.hold()
      values[1]!++
      const changing = change()
      await until('it is heard of', () => rows.peekMemory(1) === undefined)
      await inMemory(rows, [1])
      expect(rows.peekMemory(1)).toBe(values[1]! - 1)
      proxy.release()
      await changing
      await until('the old value is gone', async () => (await rows.get(1)) === values[1], HEARTBEAT_MS)
    }
  })

  it('the channel serves again when tracking was granted for a while, and is refused anew', async () => {
    const cache = open(await plain())
    const rows = source(cache, [0, 1])
    await inChannelMode(cache)
    const tracking = (granted: boolean): Promise<unknown> =>
      admin.call('ACL', 'SETUSER', 'plain', `${granted ? '+' : '-'}client|tracking`)
    /** The connection that is to be tracked; it asks for it again when it is made anew. */
    const endTracked = async (): Promise<void> => {
      const lines = String(await admin.client('LIST')).split('\n')
      const tracked = lines.filter((line) => / flags=t |cmd=client\|tracking/.test(line))
      for (const line of tracked) await admin.call('CLIENT', 'KILL', 'ID', /id=(\d+)/.exec(line)![1]!)
    }
    const endChannel = async (): Promise<void> => {
      const lines = String(await admin.client('LIST')).split('\n')
      for (const line of lines.filter((one) => / sub=1 .* cmd=subscribe /.test(one)))
        await admin.call('CLIENT', 'KILL', 'ID', /id=(\d+)/.exec(line)![1]!)
    }
    await tracking(true)
    await until('it is tracked', async () => {
      if (cache.health().memory.mode === 'tracking') return true
      await endTracked()
      await sleep(200)
      return false
    })
    const modes: string[] = []
    const stopWatching = cache.on('coherence', ({ mode }) => void modes.push(mode))
    await admin.config('RESETSTAT')
    await endChannel()
    // So many heartbeats, of which each says that somebody listens, and what it hears by the channel would be believed.
    await until('it listens to the channel again', async () => (await beats()) > 5)
    expect(modes).toEqual([])
    stopWatching()
    await tracking(false)
    await endTracked()
    await inChannelMode(cache)
    await inMemory(rows, [1])
  })

  it('a message that was lost is noticed by its number, and everything kept is dropped (#47)', async () => {
    const values = [0, 1, 1]
    const cache = open(await plain())
    const rows = source(cache, values)
    await inChannelMode(cache)
    await inMemory(rows, [1, 2])
    // As if a message had been published that did not arrive.
    await admin.incr('shop:#changes')
    await until('it is noticed', () => cache.health().memory.mode === 'paused', TWO_HEARTBEATS_MS + 500)
    expect(rows.peekMemory(1)).toBeUndefined()
    await inChannelMode(cache)
    await inMemory(rows, [1, 2])
    // The counter itself is lost: numbers begin anew, higher than any before.
    await admin.del('shop:#changes')
    await source(createdDirectly(), values).invalidate(1)
    await until('it is noticed', () => rows.peekMemory(2) === undefined, TWO_HEARTBEATS_MS + 500)
    await inChannelMode(cache)
  })

  it('a lost or silent subscription is noticed within two heartbeats', async () => {
    for (const break_ of [
      () => admin.call('CLIENT', 'KILL', 'TYPE', 'pubsub'),
      () => proxy.swallow('to-client')
    ]) {
      const values = [0, 1]
      const cache = open(await plain())
      const rows = source(cache, values)
      const direct = createdDirectly()
      const other = source(direct, values)
      await inChannelMode(cache)
      await inMemory(rows, [1])
      await Promise.resolve(break_())
      values[1] = 2
      await other.invalidate(1)
      await until('the old value is gone', async () => (await rows.get(1)) === 2, TWO_HEARTBEATS_MS)
      await Promise.all([cache.close({ timeout: 100 }), direct.close()])
    }
  })
})

describe('on a Cluster', () => {
  it('the channel keeps memory true, also with a driver that connects when it is asked to', async () => {
    const node = await startRedisServer({
      args: ['--cluster-enabled', 'yes', '--cluster-announce-ip', '127.0.0.1']
    })
    execFileSync('redis-cli', ['-p', String(node.port), 'CLUSTER', 'ADDSLOTSRANGE', '0', '16383'])
    const cluster = new Cluster([{ host: node.host, port: node.port }], { lazyConnect: true })
    const probe = new Redis(node.url)
    try {
      await until('the cluster is up', async () =>
        String(await probe.cluster('INFO')).includes('cluster_state:ok')
      )
      const values = [0, 1, 1, 1]
      const here = open({ redis: cluster })
      const there = open({ redis: cluster, memory: false })
      const [rows, others] = [source(here, values), source(there, values)]
      await until('it listens', () => here.health().memory.mode === 'channel', 10_000)
      for (let round = 0; round < 10; round++) {
        await inMemory(rows, [1, 2, 3])
        values[1]!++
        await others.invalidate(1)
        await until('it is heard of', async () => (await rows.get(1)) === values[1], HEARTBEAT_MS)
      }
      await Promise.all([here.close(), there.close()])
    } finally {
      cluster.disconnect()
      probe.disconnect()
      await node.stop()
    }
  })
})

/** A process beside the one that is looked at, whose own connections are well. */
function createdDirectly(): Cache {
  return open({ redis: server.url })
}
