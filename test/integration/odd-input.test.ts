import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { expect, it } from 'vitest'
import {
  createCache,
  InvalidKeyError,
  InvalidOptionError,
  postgresSink,
  RedisUnavailableError,
  type CacheOptions,
  type RedisInput
} from '../../src/index.js'
import { usePrivateRedis } from '../support/private-redis.js'
import { until } from '../support/until.js'

const redis = usePrivateRedis()
const { open } = redis
const overRedis = (): Partial<CacheOptions<'optional'>> => ({ redis: redis.server.url })

const unspeakable: Record<string, unknown> = {
  'an object without a prototype': Object.create(null),
  'an object whose toString throws': {
    toString: () => {
      throw new Error('no text')
    }
  },
  'an error whose message throws': Object.defineProperty(new Error('replaced'), 'message', {
    get: () => {
      throw new Error('no message')
    }
  }),
  'a frozen error': Object.freeze(new Error('frozen')),
  nothing: undefined,
  'a symbol': Symbol('thrown')
}

it.each(Object.entries(unspeakable))(
  'hands on %s that a loader throws, and tells the other processes',
  async (_what, thrown) => {
    const fail = async (): Promise<string> => {
      throw thrown
    }
    const options = { ttl: '1h', failedTtl: '1m', load: fail } as const
    const [first, second] = [open(overRedis()), open(overRedis())]
    const outcome = await first
      .collection('rows', options)
      .get(1)
      .then(
        () => 'a value',
        (error: unknown) => [error]
      )
    expect(Array.isArray(outcome) && Object.is(outcome[0], thrown)).toBe(true)
    await expect(second.collection('rows', options).get(1)).rejects.toMatchObject({
      code: 'LOAD_FAILED_ELSEWHERE'
    })
  }
)

it.each(Object.entries(unspeakable))('reads on when a listener throws %s', async (_what, thrown) => {
  const cache = open(overRedis())
  const rows = cache.collection('rows', { ttl: '1h', load: async (id: number) => `row ${id}` })
  cache.on('miss', () => {
    throw thrown
  })
  // oxlint-disable-next-line typescript/no-misused-promises -- what a listener may not be, and is
  cache.on('miss', async () => {
    throw thrown
  })
  expect(await rows.get(1)).toBe('row 1')
})

it('refuses as `redis` what is neither a URL as text, nor plain options, nor an instance', () => {
  // Each would be a connection to localhost.
  const others = [new URL('redis://127.0.0.1:1'), new Map(), [], new (class NodeRedisClient {})()]
  for (const other of others)
    expect(() => createCache({ namespace: 'shop', redis: other as RedisInput })).toThrow(InvalidOptionError)
})

it('refuses a URL that cannot be read without telling its password', () => {
  for (const url of ['redis://:hush@127.0.0.1:99999', 'redis://:hush%zz@127.0.0.1:6379']) {
    let refusal: unknown
    try {
      createCache({ namespace: 'shop', redis: url })
    } catch (error) {
      refusal = error
    }
    expect(refusal).toBeInstanceOf(InvalidOptionError)
    expect(Object.values(refusal as object).join() + String(refusal)).not.toContain('hush')
  }
})

it('reads numbers as numbers when options ask the driver for strings, and refuses an instance that gives strings', async () => {
  const { host, port } = redis.server
  const cache = open({ redis: { host, port, stringNumbers: true } })
  const rows = cache.collection('rows', { ttl: '1h', load: async (id: number) => `row ${id}` })
  expect((await rows.lookup(1)).source).toBe('loader')
  expect((await rows.lookup(1)).source).toBe('redis')
  const instance = new Redis({ host, port, lazyConnect: true, stringNumbers: true })
  expect(() => createCache({ namespace: 'shop', redis: instance })).toThrow('"redis.stringNumbers" is true')
})

it('works in the database that an instance has selected, with its own connections as well', async () => {
  const instance = new Redis(redis.server.url)
  try {
    await instance.select(2)
    const cache = open({ redis: instance, memory: { maxBytes: 1_000_000 } })
    // From here on leases are taken over a connection of its own.
    await cache.ready()
    const rows = cache.collection('rows', { ttl: '1h', load: async (id: number) => `row ${id}` })
    expect((await rows.lookup(1)).source).toBe('loader')
    expect((await rows.lookup(1)).source).not.toBe('loader')
    expect(await redis.admin.dbsize()).toBe(0)
  } finally {
    instance.disconnect()
  }
})

it('does without Redis while an instance is in another database than it was when it was first used', async () => {
  const instance = new Redis(redis.server.url)
  try {
    const cache = open({ redis: instance, memory: { maxBytes: 1_000_000 } })
    await cache.ready()
    let version = 1
    const rows = cache.collection('rows', { ttl: '1h', load: async () => version })
    await rows.get(1)
    await until('it is kept', () => rows.get(1).then(() => rows.peekMemory(1) === 1))
    await instance.select(3)
    version = 2
    expect(await rows.lookup(1)).toMatchObject({ value: 2, source: 'loader' })
    await expect(rows.invalidate(1)).rejects.toThrow(RedisUnavailableError)
    expect(cache.health().problems.join()).toContain('database 3')
    expect(await redis.admin.info('keyspace')).not.toContain('db3')
    await instance.select(0)
    await until('it is used again', () => cache.health().redis.state === 'ready')
    await rows.invalidate(1)
    expect(await rows.get(1)).toBe(2)
  } finally {
    instance.disconnect()
  }
})

it('does without Redis while an instance is in another database that it was sent to while Redis was asked', async () => {
  const instance = new Redis(redis.server.url)
  try {
    const cache = open({ redis: instance, commandTimeout: '5s' })
    await cache.ready()
    const rows = cache.collection('rows', {
      ttl: '1h',
      load: async (id: number) => `row ${id}`,
      whenRedisAway: 'remember'
    })
    await rows.getMany([1, 2])
    // The question whether it takes a write waits for so long.
    await redis.admin.client('PAUSE', 1_000, 'WRITE')
    instance.disconnect(true)
    await until('it is lost', () => cache.health().redis.state === 'away')
    expect(await rows.invalidate(2)).toBe('pending')
    await until('it is connected again', () => instance.status === 'ready')
    await sleep(100)
    expect(cache.health().redis.state).toBe('away')
    await instance.select(3)
    await sleep(20)
    expect(cache.health().redis.state).toBe('away')
    await instance.select(0)
    await until('it is used again', () => cache.health().redis.state === 'ready')
    // What was remembered is told where the entries are.
    expect([(await rows.lookup(1)).source, (await rows.lookup(2)).source]).toEqual(['redis', 'loader'])
  } finally {
    instance.disconnect()
  }
})

it('does without Redis when the database that it is given is not there, and refuses what is no number', async () => {
  const { url, port } = redis.server
  for (const db of ['x', '-1', 'x?family=4'])
    expect(() => createCache({ redis: `${url}/${db}`, namespace: 'shop' })).toThrow(InvalidOptionError)
  for (const db of [Number.NaN, -1, 1.5])
    expect(() => createCache({ redis: { port, db }, namespace: 'shop' })).toThrow(InvalidOptionError)
  // Of the same name, in the first database.
  const other = open({ redis: url }).collection('rows', { ttl: '1h', load: async () => 'other' })
  await other.get(1)
  const cache = open({ redis: `${url}/99` })
  await expect(cache.ready()).rejects.toMatchObject({ code: 'REDIS_UNAVAILABLE' })
  const rows = cache.collection('rows', { ttl: '1h', load: async () => 'own' })
  expect(await rows.lookup(1)).toMatchObject({ value: 'own', source: 'loader' })
  await expect(rows.invalidate(1)).rejects.toThrow(RedisUnavailableError)
  expect(cache.health()).toMatchObject({ status: 'away' })
  expect(cache.health().problems.join()).toContain('DB index is out of range')
  expect(await other.lookup(1)).toMatchObject({ value: 'other', source: 'redis' })
  const third = open({ redis: `${url}/3` })
  await third.ready()
  await third.collection('rows', { ttl: '1h', load: async () => 'third' }).get(1)
  expect(await redis.admin.info('keyspace')).toContain('db3')
})

it('does without Redis when an instance is not in the database that it was made for, which is not there', async () => {
  const instance = new Redis({ port: redis.server.port, db: 99 })
  instance.on('error', () => undefined)
  try {
    const other = open({ redis: redis.server.url }).collection('rows', {
      ttl: '1h',
      load: async () => 'other'
    })
    await other.get(1)
    const cache = open({ redis: instance })
    await expect(cache.ready()).rejects.toMatchObject({ code: 'REDIS_UNAVAILABLE' })
    const rows = cache.collection('rows', { ttl: '1h', load: async () => 'own' })
    expect(await rows.lookup(1)).toMatchObject({ value: 'own', source: 'loader' })
    await expect(rows.invalidate(1)).rejects.toThrow(RedisUnavailableError)
    expect(cache.health().problems.join()).toContain('in database 0, and was made for 99')
    expect(await other.lookup(1)).toMatchObject({ value: 'other', source: 'redis' })
  } finally {
    instance.disconnect()
  }
})

it('says what is wrong with what a call was given, and changes nothing for it', async () => {
  const cache = open({ ...overRedis(), memory: { maxBytes: 1_000_000 } })
  const rows = cache.collection('rows', {
    ttl: '1h',
    load: async (id: number) => `row ${id}`,
    write: async (_id, row) => row
  })
  const otherCache = open({ namespace: 'other' })
  const other = otherCache.collection('rows', { ttl: '1h', load: () => 'other' })
  // Of the same names, and in another place.
  const twinCache = open()
  const twin = twinCache.collection('rows', { ttl: '1h', load: () => 'twin' })
  await rows.get(1)
  const change = async (): Promise<void> => {}
  const wrong = (value: unknown): never => value as never
  const calls: [option: string, call: () => unknown][] = [
    ['signal', () => rows.get(1, { signal: wrong(null) })],
    ['signal', () => rows.getMany([1], { signal: wrong('now') })],
    ['entries', () => rows.putMany(wrong(undefined))],
    ['entries', () => rows.putMany(wrong([1, 2]))],
    ['tags', () => cache.invalidateTags(wrong(undefined))],
    ['refs', () => cache.write(wrong(undefined), change)],
    ['ref', () => cache.write([wrong(undefined)], change)],
    ['ref', () => cache.write([wrong('shop:rows:1')], change)],
    ['ref', () => cache.write([rows.key(1)], async ({ publish }) => publish(wrong({}), 'row'))],
    ['refs', () => cache.write([other.key(1)], change)],
    ['refs', () => cache.write([twin.key(1)], change)],
    ['refs', () => cache.write([otherCache.tag('tag')], change)],
    ['refs', () => cache.write([twinCache.tag('tag')], change)],
    ['change', () => cache.write([rows.key(1)], wrong(undefined))],
    ['timeOut', () => cache.write([rows.key(1)], change, wrong({ timeOut: '1s' }))],
    ['timeout', () => cache.write([rows.key(1)], change, wrong({ timeout: 0 }))],
    ['tenant', () => rows.clear(wrong({ tenant: 'acme' }))],
    ['tenant', () => cache.clear(wrong({ tenant: 'acme' }))],
    ['collection', () => cache.tenant('acme').clear(wrong({ collection: 'rows' }))],
    ['options of clear', () => cache.clear(wrong(null))],
    ['collections', () => cache.clear(wrong({ collections: 'no' }))],
    ['collections', () => rows.clear(wrong({ collections: false }))],
    ['work', () => cache.runAs('acme', wrong(undefined))],
    ['options of worker', () => cache.worker(wrong(null))],
    ['leese', () => cache.worker(wrong({ leese: '1s' }))],
    ['event', () => cache.on(wrong('invalidate'), () => undefined)],
    ['event', () => cache.on(wrong('toString'), () => undefined)],
    ['listener', () => cache.on('hit', wrong(undefined))]
  ]
  for (const [option, call] of calls) {
    const refusal: unknown = await Promise.resolve()
      .then(call)
      .catch((error: unknown) => error)
    expect(refusal).toBeInstanceOf(InvalidOptionError)
    expect((refusal as InvalidOptionError).option).toBe(option)
  }
  expect((await rows.lookup(2)).source).toBe('loader')
  expect((await rows.lookup(2)).source).not.toBe('loader')
})

it('rejects, and does not throw, for an id that cannot be one, whatever is in memory', async () => {
  const cache = open({ ...overRedis(), memory: { maxBytes: 1_000_000 } })
  const pages = cache.collection('pages', { ttl: '1h', load: async (id: { page: number }) => id.page })
  await cache.ready()
  await until('an id that is an object is in memory', async () => {
    await pages.get({ page: 1 })
    return pages.peekMemory({ page: 1 }) === 1
  })
  for (const id of [null, new Date(), { page: Number.NaN }]) {
    let refusal: unknown
    const read = pages.get(id as never).catch((error: unknown) => (refusal = error))
    await read
    expect(refusal).toBeInstanceOf(InvalidKeyError)
  }
})

it('refuses options that a call does not know, since a misspelt one would be a default', async () => {
  const cache = createCache({ namespace: 'shop' })
  const rows = cache.collection('rows', { ttl: '1h', load: (id: number) => id })
  const misspelt = { timeOut: 5, sotf: true } as never
  for (const call of [
    () => cache.ready(misspelt),
    () => cache.ready(5_000 as never),
    () => cache.flush(misspelt),
    () => cache.close(misspelt),
    () => cache.invalidateTags(['a'], misspelt),
    () => rows.invalidate(1, misspelt),
    () => rows.invalidateMany([1], misspelt),
    () => rows.invalidateWhere(() => true, misspelt)
  ]) {
    await expect(call()).rejects.toThrow(InvalidOptionError)
  }
  expect(await rows.get(1)).toBe(1)
  await cache.close()
})

it('refuses what is neither true nor false where it decides how wrong something is', async () => {
  const cache = createCache({ namespace: 'shop' })
  const rows = cache.collection('rows', { ttl: '1h', load: (id: number) => id })
  const soft = { soft: 'false' } as never
  for (const call of [
    () => cache.clear(soft),
    () => cache.clear({ clean: 0 as never }),
    () => rows.clear(soft),
    () => rows.invalidate(1, soft),
    () => cache.invalidateTags(['a'], soft)
  ]) {
    await expect(call()).rejects.toThrow(/^Option "(soft|clean)" is .*needed: true or false\.$/)
  }
  await cache.close()
})

it('repeats no password of a URL that was passed in the wrong place', () => {
  const options = { table: 'rows', key: 'id', value: 'row' }
  const build = (): unknown => postgresSink('postgres://user:secret@host/db' as never, options)
  expect(build).toThrow('host')
  expect(build).not.toThrow(/secret/)
})
