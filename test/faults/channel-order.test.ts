import { setTimeout as sleep } from 'node:timers/promises'
import { createConnection, type Socket } from 'node:net'
import { AbstractConnector, Redis, type ChainableCommander, type RedisOptions } from 'ioredis'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import {
  createCache,
  RedisUnavailableError,
  writeBehind,
  type Cache,
  type CacheOptions,
  type Collection
} from '../../src/index.js'
import { freePort } from '../support/free-port.js'
import { startProxy, type Proxy } from '../support/proxy.js'
import { NOBODYS } from '../support/nobodys-sink.js'
import { startRedisServer, type RedisServer } from '../support/redis-server.js'
import { until } from '../support/until.js'

/*
 * Where Redis does not tell, whoever changes something does, by a message. One that comes before its change is worse than
 * none: who hears it drops the old value, reads it once more, and keeps it.
 */

/** Long enough for a message that is under way; on a slow machine a test that lost it would pass, and none would fail. */
const MESSAGE_MS = 50

/** For what takes some heartbeats; far below what memory serves without news. */
const PATIENCE_MS = 30_000

let server: RedisServer
let proxy: Proxy
let admin: Redis
/** Keeps values in memory, and hears of changes by the channel alone. */
let listener: Cache
let rows: Collection<number, number>
let views: Collection<number, number>
const values = [0, 0, 0]
const opened: Cache[] = []
const drivers: Redis[] = []

beforeAll(async () => {
  server = await startRedisServer()
  admin = new Redis(server.url)
  await admin.call('ACL', 'SETUSER', 'plain', 'on', '>pw', '~*', '&*', '+@all', '-client|tracking')
  listener = openListener()
  opened.pop()
  rows = rowsOf(listener)
  views = viewsOf(listener)
  await listens(listener)
})
beforeEach(async () => {
  proxy = await startProxy(server.port)
})
afterEach(async () => {
  proxy.release()
  await Promise.all(opened.splice(0).map((cache) => cache.close({ timeout: '1s' })))
  for (const driver of drivers.splice(0)) driver.disconnect()
  await proxy.stop()
})
afterAll(async () => {
  await listener.close({ timeout: '1s' })
  admin.disconnect()
  await server.stop()
})

const open = (options: Partial<CacheOptions<'optional'>>): Cache =>
  createCache({ namespace: 'shop', commandTimeout: '30s', ...options })

const listening = ({ host, port }: RedisServer): RedisOptions => ({
  host,
  port,
  username: 'plain',
  password: 'pw'
})

const openListener = (options: Partial<CacheOptions<'optional'>> = {}): Cache => {
  const cache = open({ redis: listening(server), memory: { maxBytes: 8_000_000 }, ...options })
  opened.push(cache)
  return cache
}

/** Keeps nothing, and what it hears can be held up. */
const openWriter = (options: Partial<CacheOptions<'optional'>> = {}): Cache => {
  const writer = open({ redis: { host: '127.0.0.1', port: proxy.port }, ...options })
  opened.push(writer)
  return writer
}

const driver = (options: Pick<RedisOptions, 'enableAutoPipelining' | 'reconnectOnError'>): Redis => {
  const redis = new Redis(proxy.port, options)
  drivers.push(redis)
  return redis
}

function rowsOf(cache: Cache): Collection<number, number> {
  return cache.collection('rows', { ttl: '1h', earlyRefresh: 0, load: async (id: number) => values[id]! })
}

function viewsOf(cache: Cache): Collection<number, number> {
  const write = writeBehind({ sink: NOBODYS, shards: 1 })
  return cache.collection('views', { ttl: '1h', earlyRefresh: 0, load: async () => 0, write })
}

const listens = (cache: Cache): Promise<void> =>
  until('it listens', () => cache.health().memory.mode === 'channel', 30_000)

const inMemory = (kept: Collection<number, number>, ids: readonly number[]): Promise<void> =>
  until('they are in memory', async () => {
    await kept.getMany(ids)
    return ids.every((id) => kept.peekMemory(id) !== undefined)
  })

/** What a message has dropped is read again, and kept. */
const readMeanwhile = async (kept: Collection<number, number>, ids: readonly number[]): Promise<void> => {
  await sleep(MESSAGE_MS)
  await inMemory(kept, ids)
}

const hears = (kept: Collection<number, number>, id: number, value: number): Promise<void> =>
  until('the old value is gone', async () => (await kept.get(id)) === value)

/** As in its manual, for a primary that was demoted. */
const isReadOnly = (error: Error): false | 2 => (error.message.startsWith('READONLY') ? 2 : false)

const isAway = (error: unknown): false => {
  if (error instanceof RedisUnavailableError) return false
  throw error
}

const hasCounted = async (section: 'commandstats' | 'errorstats', what: string): Promise<boolean> =>
  (await admin.info(section)).includes(what)

describe('the message of a change comes behind it', () => {
  it('when it is written behind, and Redis carries it out only at the second sending', async () => {
    const writer = openWriter()
    const [elsewhere, others] = [viewsOf(writer), rowsOf(writer)]
    await elsewhere.put(1, 1)
    await inMemory(views, [1])
    // Redis knows the script that tells, and not the one that changes.
    await admin.script('FLUSH')
    await others.invalidate(0)
    // What a write asks for first comes late, and what it hears of its own script not at all.
    proxy.delay(200)
    await admin.config('RESETSTAT')
    const changing = elsewhere.put(1, 2)
    await until('it asks', () => hasCounted('commandstats', 'cmdstat_mget'))
    proxy.hold()
    await until('it changes', () => hasCounted('errorstats', 'NOSCRIPT'))
    await readMeanwhile(views, [1])
    proxy.release()
    await changing
    await hears(views, 1, 2)
  })

  it('when the driver has its own pipelines, of which one waits for the other', async () => {
    const elsewhere = rowsOf(openWriter({ redis: driver({ enableAutoPipelining: true }) }))
    await elsewhere.get(1)
    await inMemory(rows, [1, 2])
    await admin.config('RESETSTAT')
    proxy.hold()
    const asking = elsewhere.peek(0)
    await until('it asks', () => hasCounted('commandstats', 'cmdstat_mget'))
    for (const id of [1, 2]) values[id]!++
    const changing = Promise.all([elsewhere.invalidate(1), elsewhere.invalidate(2)])
    await readMeanwhile(rows, [1, 2])
    proxy.release()
    await Promise.all([asking, changing])
    await hears(rows, 1, values[1]!)
    await hears(rows, 2, values[2]!)
  })

  const sentAgain = async (isListenedTo: boolean): Promise<void> => {
    const demoted = await startRedisServer()
    const following = new Redis(demoted.url)
    try {
      proxy.leadTo(demoted.port)
      const elsewhere = rowsOf(openWriter({ redis: driver({ reconnectOnError: isReadOnly }) }))
      await elsewhere.get(0)
      await inMemory(rows, [1])
      if (isListenedTo) await following.set('shop:#listeners', 'somebody')
      await until('it knows whether to tell', async () => {
        const told = await following.get('shop:#changes')
        await elsewhere.invalidate(0)
        return ((await following.get('shop:#changes')) !== told) === isListenedTo
      })
      await following.replicaof('127.0.0.1', await freePort())
      proxy.leadTo(server.port)
      values[1]!++
      // It may say that it could not tell. What counts is the one that says it has.
      const isTold = (): Promise<boolean> => elsewhere.invalidate(1).then(Boolean, isAway)
      await until('it is told', isTold)
      await hears(rows, 1, values[1]!)
    } finally {
      following.disconnect()
      await demoted.stop()
    }
  }
  it('when the driver sends the change again, to who has taken over', () => sentAgain(true))
  it('when it does so, and nobody listened to the one before', () => sentAgain(false))
})

describe('what Redis has lost without telling anybody', () => {
  it('goes from the memory of who invalidates it by a rule, which finds it nowhere else', async () => {
    await inMemory(rows, [1])
    values[1]!++
    // As an eviction does.
    await admin.del('shop:rows:1')
    expect(await rows.invalidateWhere((id) => id === 1)).toBe(0)
    expect(await rows.get(1)).toBe(values[1])
  })
})

describe('a change of which nobody is told, because the server has lost something', () => {
  it('is not missed by who listens', async () => {
    const losses: readonly [namespace: string, lose: (step: ChainableCommander) => unknown][] = [
      // The sign that somebody listens, in whose place others have put theirs.
      ['unsigned', (step) => step.set('unsigned:#listeners', 'others')],
      // The last numbers of messages: they come twice.
      ['rewound', (step) => step.decrby('rewound:#changes', 5)]
    ]
    const kept = await Promise.all(
      losses.map(async ([namespace]) => {
        const cache = openListener({ namespace })
        await listens(cache)
        const all = rowsOf(cache)
        await inMemory(all, [1])
        return all
      })
    )
    values[1]!++
    for (const [namespace, lose] of losses) {
      // In one step, since who listens asks at any time.
      const step = admin.multi().unlink(`${namespace}:rows:1`)
      lose(step)
      await step.exec()
    }
    await Promise.all(
      kept.map((all) =>
        until('the old value is gone', async () => (await all.get(1)) === values[1], PATIENCE_MS)
      )
    )
  }, 120_000)
})

describe('who may publish nothing', () => {
  /** As users are, unless channels are granted to them. */
  const withoutChannels = async (): Promise<RedisOptions> => {
    const rights = ['on', '>pw', 'resetchannels', '~shop:*', '+@all']
    await admin.call('ACL', 'SETUSER', 'mute', ...rights)
    return { host: '127.0.0.1', port: proxy.port, username: 'mute', password: 'pw' }
  }

  it('changes things all the same, and who keeps them misses the message', async () => {
    const elsewhere = rowsOf(openWriter({ redis: await withoutChannels() }))
    await inMemory(rows, [1])
    values[1]!++
    expect(await elsewhere.invalidate(1)).toBe('confirmed')
    await until('the old value is gone', async () => (await rows.get(1)) === values[1], PATIENCE_MS)
    await listens(listener)
  })

  it('delivers what was remembered, and is named', async () => {
    const writer = openWriter({ redis: await withoutChannels(), commandTimeout: '1s' })
    const load = async (id: number): Promise<number> => values[id]!
    const elsewhere = writer.collection('rows', { ttl: '1h', whenRedisAway: 'remember', load })
    await elsewhere.get(1)
    await inMemory(rows, [1])
    proxy.swallowNew(true)
    proxy.reset()
    await until('Redis is away', () => writer.health().redis.state === 'away')
    values[1]!++
    expect(await elsewhere.invalidate(1)).toBe('pending')
    proxy.swallowNew(false)
    proxy.reset()
    await until('Redis is told', () => writer.health().pendingInvalidations === 0, PATIENCE_MS)
    expect(writer.health().problems.join()).toMatch(/publish|channel/)
    await until('the old value is gone', async () => (await rows.get(1)) === values[1], PATIENCE_MS)
  })
})

describe('who begins to listen', () => {
  it('is told of a change that was under way already, when nobody listened', async () => {
    const elsewhere = rowsOf(openWriter({ namespace: 'late' }))
    await elsewhere.get(1)
    const before = values[1]!
    await until('it knows that nobody listens', async () => {
      const told = await admin.get('late:#changes')
      await elsewhere.invalidate(0)
      return (await admin.get('late:#changes')) === told
    })
    // So many scripts as are under way at once, and one more, which waits for its turn.
    proxy.hold()
    const others = Array.from({ length: 500 }, (_, n) => elsewhere.invalidate(1_000 + n, { soft: true }))
    values[1]!++
    const changing = elsewhere.invalidate(1, { soft: true })
    const late = openListener({ namespace: 'late' })
    const lateRows = rowsOf(late)
    await listens(late)
    await inMemory(lateRows, [1])
    expect(lateRows.peekMemory(1)).toBe(before)
    proxy.release()
    await Promise.all([...others, changing])
    await hears(lateRows, 1, values[1]!)
  })

  it('keeps nothing for longer than others believe that nobody does, however late its connection came', async () => {
    let connections = 0
    let letThrough!: () => void
    const isLetThrough = new Promise<void>((resolve) => (letThrough = resolve))
    /** The first is for commands, two are refused what they are for, and with the fourth it listens. */
    class Gated extends AbstractConnector {
      constructor() {
        super(1_000)
      }
      async connect(): Promise<Socket> {
        connections++
        if (connections === 4) await isLetThrough
        return createConnection(server.port, server.host)
      }
    }
    // Others have listened before.
    await admin.set('slow:#changes', 1)
    const slow = openListener({ namespace: 'slow', redis: { ...listening(server), Connector: Gated } })
    await until('it connects', () => connections === 4)
    // Shortly before its next heartbeat.
    await sleep(800)
    const letThroughAt = performance.now()
    letThrough()
    await listens(slow)
    expect(performance.now() - letThroughAt).toBeGreaterThan(1_500)
  })
})
