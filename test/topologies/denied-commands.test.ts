import { Redis } from 'ioredis'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createCache, postgresSink, writeBehind, type CacheStats } from '../../src/index.js'
import { startRedisServer, type RedisServer } from '../support/redis-server.js'
import { spoilingProxy } from '../doctor/examined.js'
import { until } from '../support/until.js'

/*
 * Users that may not send what some services do not know stand in for those services: the reply is an error in both cases.
 */
let server: RedisServer
let admin: Redis
let users = 0

beforeAll(async () => {
  server = await startRedisServer()
  admin = new Redis(server.url)
})
afterAll(async () => {
  admin.disconnect()
  await server.stop()
})

interface Seen {
  readonly wrong: number
  readonly loads: number
  readonly sources: readonly string[]
  readonly redis: CacheStats['redis']
}

/** What two caches that are a fleet make of a server that denies these. */
async function withDenied(...denied: string[]): Promise<Seen> {
  const name = `user${++users}`
  await admin.acl(
    'SETUSER',
    name,
    'on',
    '>pw',
    '~*',
    '&*',
    '+@all',
    ...denied.map((command) => `-${command}`)
  )
  const open = () =>
    createCache({
      redis: `redis://${name}:pw@127.0.0.1:${server.port}`,
      namespace: name,
      commandTimeout: '10s'
    })
  const [first, second] = [open(), open()]
  for (const cache of [first, second]) cache.on('redisConnectionFailed', () => undefined)
  try {
    let loads = 0
    const options = {
      ttl: '1h',
      load: async (id: number) => {
        loads++
        await new Promise((resolve) => setTimeout(resolve, 30))
        return { id }
      }
    } as const
    const [here, there] = [first.collection('rows', options), second.collection('rows', options)]
    let wrong = 0
    const check = (id: number, row: { id: number } | undefined): void => {
      if (row?.id !== id) wrong++
    }
    const all = await Promise.all([
      ...Array.from({ length: 20 }, () => here.get(1)),
      ...Array.from({ length: 20 }, () => there.get(1))
    ])
    for (const row of all) check(1, row)
    const loadsOfOne = loads
    for (const [id, row] of await here.getMany([2, 3, 4])) check(id, row)
    const sources = [(await there.lookup(1)).source, (await there.lookup(2)).source]
    return { wrong, loads: loadsOfOne, sources, redis: first.stats().redis }
  } finally {
    await Promise.all([first.close(), second.close()])
  }
}

describe('a server that denies', () => {
  it('nothing: the measure of the others', async () => {
    expect(await withDenied()).toMatchObject({ wrong: 0, loads: 1, sources: ['redis', 'redis'] })
  })

  it('CLIENT TRACKING: one load all the same, found by looking instead of being told', async () => {
    const seen = await withDenied('client|tracking')
    expect(seen).toMatchObject({
      wrong: 0,
      loads: 1,
      sources: ['redis', 'redis'],
      redis: { state: 'ready', pushes: false }
    })
  })

  it('CLIENT TRACKING in words of its own, as services do: what is kept in memory hears of changes by the channel', async () => {
    await admin.acl('SETUSER', 'elsewhere', 'on', '>pw', '~*', '&*', '+@all', '-client|tracking')
    const words = ["ERR command 'client|tracking' is not allowed", 'ERR in words that nobody has met']
    await Promise.all(
      words.map(async (word, index) => {
        const alter = (reply: Buffer): Buffer =>
          Buffer.from(
            reply.toString('latin1').replace(/-NOPERM [^\r]*'client\|tracking'[^\r]*/, `-${word}`),
            'latin1'
          )
        await using proxy = await spoilingProxy(server.port, { alter })
        const redis = proxy.url.replace('//', '//elsewhere:pw@')
        const memory = { maxBytes: 1024 * 1024 }
        const cache = createCache({ redis, namespace: `words${index}`, commandTimeout: '1s', memory })
        try {
          await until('it hears by the channel', () => cache.health().memory.mode === 'channel', 60_000)
          expect(cache.health().memory.reason).toBe(word)
        } finally {
          await cache.close()
        }
      })
    )
  }, 90_000)

  it('CLIENT, SUBSCRIBE, INFO, CONFIG, CLUSTER, ACL, SLOWLOG, MEMORY, COMMAND, KEYS and all that is dangerous: the same', async () => {
    const seen = await withDenied(
      'client',
      'subscribe',
      'cluster',
      'slowlog',
      'memory',
      'command',
      '@admin',
      '@dangerous'
    )
    expect(seen).toMatchObject({
      wrong: 0,
      loads: 1,
      sources: ['redis', 'redis'],
      redis: { state: 'ready', pushes: false }
    })
  })

  it('SCAN: reads, writes and clearing work; only the cleaning after it fails, and says so', async () => {
    await admin.acl('SETUSER', 'noscan', 'on', '>pw', '~*', '&*', '+@all', '-scan')
    const cache = createCache({
      redis: `redis://noscan:pw@127.0.0.1:${server.port}`,
      namespace: 'noscan',
      commandTimeout: '10s'
    })
    const rows = cache.collection('rows', { ttl: '1h', load: async (id: number) => ({ id }) })
    await rows.get(1)
    const { finished } = await rows.clear()
    expect((await rows.lookup(1)).source).toBe('loader')
    expect(await finished).toMatchObject({ outcome: 'failed' })
    await cache.close()
  })

  it('SCRIPT, WAIT, INFO, CONFIG: the same as ever', async () => {
    const seen = await withDenied('script', 'wait', 'info', 'config')
    expect(seen).toMatchObject({
      wrong: 0,
      loads: 1,
      sources: ['redis', 'redis'],
      redis: { state: 'ready', pushes: true }
    })
  })

  it('EVALSHA alone: scripts are sent as text', async () => {
    const seen = await withDenied('evalsha')
    expect(seen).toMatchObject({ wrong: 0, loads: 1, sources: ['redis', 'redis'] })
  })

  it('TIME: it is not used, every value is right, and what to grant is said at once', async () => {
    const seen = await withDenied('time')
    expect(seen).toMatchObject({ wrong: 0, sources: ['loader', 'loader'], redis: { state: 'away' } })
    await admin.acl('SETUSER', 'timeless', 'on', '>pw', '~*', '&*', '+@all', '-time')
    const cache = createCache({
      redis: `redis://timeless:pw@127.0.0.1:${server.port}`,
      namespace: 'timeless',
      commandTimeout: '500ms'
    })
    try {
      const misconfigured: unknown[] = []
      cache.on('redisMisconfigured', (fact) => misconfigured.push(fact))
      // No timeout: waiting would not mend it.
      const refused = await cache.ready().catch((error: unknown) => error)
      expect(refused).toMatchObject({ code: 'REDIS_UNAVAILABLE' })
      expect(String((refused as Error).cause)).toContain('ACL SETUSER <user> +time')
      expect(misconfigured).toMatchObject([{ code: 'NOPERM', advice: expect.stringContaining('+time') }])
      expect(cache.health()).toMatchObject({ status: 'away', redis: { state: 'away' } })
      expect(cache.health().problems.join()).toContain('+time')
      await admin.acl('SETUSER', 'timeless', '+time')
      await until('it is used', () => cache.health().redis.state === 'ready')
      await cache.ready()
    } finally {
      await cache.close()
    }
  })

  it('WAIT or INFO: a durability that needs them is refused with what to grant, and "memory" is kept', async () => {
    const sink = postgresSink<number, number>(new pg.Pool(), { table: 'views', key: 'id', value: 'n' })
    const cases = [
      ['wait', 'replicated', '+wait'],
      ['info', 'fsync', '+info']
    ] as const
    for (const [command, durability, advice] of cases) {
      const name = `without-${command}`
      await admin.acl('SETUSER', name, 'on', '>pw', '~*', '&*', '+@all', `-${command}`)
      const cache = createCache({
        redis: `redis://${name}:pw@127.0.0.1:${server.port}`,
        namespace: name,
        commandTimeout: '1s'
      })
      const common = { ttl: '1h', load: (_id: number): number | undefined => undefined } as const
      const strict = cache.collection('strict', { ...common, write: writeBehind({ sink, durability }) })
      const plain = cache.collection('plain', { ...common, write: writeBehind({ sink }) })
      try {
        await expect(strict.put(1, 1)).rejects.toMatchObject({
          code: 'DURABILITY_UNMET',
          message: expect.stringContaining(advice)
        })
        expect(await admin.keys(`${name}:#behind:{strict.*`)).toEqual([])
        expect((await plain.put(1, 1)).cache).toBe('accepted')
        expect(await plain.get(1)).toBe(1)
      } finally {
        await cache.close({ timeout: '100ms' })
      }
    }
  })

  it('WAIT, with waitForReplicas: reads work, writes are refused, and what to grant is said', async () => {
    await admin.acl('SETUSER', 'impatient', 'on', '>pw', '~*', '&*', '+@all', '-wait')
    const cache = createCache({
      redis: `redis://impatient:pw@127.0.0.1:${server.port}`,
      namespace: 'impatient',
      commandTimeout: '1s',
      waitForReplicas: { count: 1 }
    })
    try {
      await expect(cache.ready()).rejects.toMatchObject({ code: 'REDIS_UNAVAILABLE' })
      const rows = cache.collection('rows', { ttl: '1h', load: async (id: number) => ({ id }) })
      await rows.get(1)
      expect((await rows.lookup(1)).source).toBe('redis')
      await expect(rows.invalidate(1)).rejects.toMatchObject({ code: 'REDIS_UNAVAILABLE' })
      expect(cache.health()).toMatchObject({ status: 'degraded', redis: { state: 'ready' } })
      expect(cache.health().problems.join()).toContain('ACL SETUSER <user> +wait')
    } finally {
      await cache.close()
    }
  })

  it('scripts: nothing is stored, and every value is right', async () => {
    const seen = await withDenied('eval', 'evalsha')
    expect(seen).toMatchObject({ wrong: 0, sources: ['loader', 'loader'] })
    // One for each process, and not one for each caller.
    expect(seen.loads).toBeLessThanOrEqual(2)
  })

  it('everything, because the password was changed: values are right, and it is back when the user is', async () => {
    await admin.acl('SETUSER', 'rotated', 'on', '>old', '~*', '&*', '+@all')
    const cache = createCache({ redis: `redis://rotated:old@127.0.0.1:${server.port}`, namespace: 'rotated' })
    const failures: string[] = []
    cache.on('redisConnectionFailed', ({ error }) => failures.push(String(error)))
    const rows = cache.collection('rows', { ttl: '1h', load: async (id: number) => ({ id }) })
    await rows.get(1)
    await admin.acl('SETUSER', 'rotated', 'resetpass', '>new')
    await admin.client('KILL', 'USER', 'rotated')
    await until('it is told why', () => failures.some((failure) => failure.includes('WRONGPASS')))
    expect((await rows.lookup(1)).source).toBe('loader')
    await admin.acl('SETUSER', 'rotated', 'resetpass', '>old')
    await until('Redis is back', async () => (await rows.lookup(1)).source === 'redis')
    await cache.close()
  })
})
