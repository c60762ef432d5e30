import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { createCache, InvalidOptionError, TenantRequiredError, type Cache } from '../../src/index.js'
import { systemClock } from '../../src/clock.js'
import { openClient } from '../../src/redis/client.js'
import { RedisLink } from '../../src/redis/link.js'
import { RedisLedger } from '../../src/tiers/redis-ledger.js'
import { usePrivateRedis } from '../support/private-redis.js'
import { until } from '../support/until.js'

const redis = usePrivateRedis()
const { open } = redis

const nothing = (): void => {}

const PAGE = 'x'.repeat(1_000)

describe.each([
  ['in Redis', () => ({ redis: redis.server.url })],
  ['in one process', () => ({})]
])('%s', (_, redis) => {
  it('counts what a tenant takes, and no other', async () => {
    // So that all are stored however busy the machine is.
    const cache = open({ ...redis(), lease: '1m', commandTimeout: '30s' })
    const pages = cache.collection('pages', { ttl: '1h', load: () => PAGE })
    const ids = Array.from({ length: 600 }, (_, id) => id)
    await pages.tenant('1').getMany(ids)
    await pages.tenant('10').getMany([1])
    await pages.get(1)
    const usage = await cache.tenant('1').usage()
    expect(usage.entries).toBe(600)
    expect(usage.bytes).toBeGreaterThan(600 * 1_000)
    expect(usage.bytes).toBeLessThan(600 * 1_300)
    expect((await cache.tenant('10').usage()).entries).toBe(1)
    expect(await cache.tenant('absent').usage()).toEqual({ entries: 0, bytes: 0 })
  })

  it('runs what loads or changes an entry for the tenant of the entry, whoever asked for it inside runAs', async () => {
    const cache = open(redis())
    const prices = cache.collection('prices', { ttl: '1h', load: (_id, { tenant }) => `${tenant}'s price` })
    const shared = cache.collection('shared', {
      ttl: '1h',
      tenancy: 'none',
      load: () => prices.get(1),
      loadMany: (ids) => Promise.all(ids.map(() => prices.get(1)))
    })
    const changed: unknown[] = []
    const change = async (): Promise<string> => {
      changed.push(await prices.get(1))
      return 'changed'
    }
    const offers = cache.collection('offers', {
      ttl: '1h',
      load: () => prices.get(1),
      write: change,
      remove: change
    })
    await cache.runAs('acme', async () => {
      expect(await shared.get(1)).toBe("undefined's price")
      expect([...(await shared.getMany([0, 1])).values()]).toEqual(["undefined's price", "undefined's price"])
      expect(await offers.get(1)).toBe("acme's price")
      const globex = offers.tenant('globex')
      expect(await globex.get(1)).toBe("globex's price")
      const load = (): Promise<string | undefined> => prices.get(1)
      expect(await cache.tenant('globex').getOrLoad('home', load, { ttl: '1h' })).toBe("globex's price")
      await globex.put(1, 'changed')
      await globex.delete(1)
      await offers.put(1, 'changed')
    })
    expect(changed).toEqual(["globex's price", "globex's price", "acme's price"])
    expect(await cache.runAs('globex', () => shared.get(1))).toBe("undefined's price")
  })

  it.each(['before runAs is ever used', 'where runAs is used'])(
    'runs what loads or changes an entry of a tenant that was named for that tenant, %s',
    async (when) => {
      const cache = open(redis())
      const prices = cache.collection('prices', {
        ttl: '1h',
        tenancy: 'required',
        load: (_id: number, { tenant }) => `${tenant}'s price`
      })
      const priceOfMine = (): Promise<string | undefined> => prices.tenant().get(1)
      const change = async (): Promise<string> => `changed at ${await priceOfMine()}`
      const offers = cache.collection('offers', {
        ttl: '1h',
        load: priceOfMine,
        loadMany: (ids) => Promise.all(ids.map(priceOfMine)),
        write: change
      })
      if (when !== 'before runAs is ever used') await cache.runAs('initech', priceOfMine)
      const [globex, acme] = [offers.tenant('globex'), offers.tenant('acme')]
      expect(await Promise.all([globex.get(1), acme.get(1)])).toEqual(["globex's price", "acme's price"])
      expect([...(await acme.getMany([2, 3])).values()]).toEqual(["acme's price", "acme's price"])
      expect(await globex.put(4, 'any')).toMatchObject({ value: "changed at globex's price" })
      expect(await cache.tenant('acme').getOrLoad('home', priceOfMine, { ttl: '1h' })).toBe("acme's price")
      expect(() => prices.tenant()).toThrow(TenantRequiredError)
    }
  )

  it('runs a load that another one of the tenant has begun for that tenant, also when the other one is over', async () => {
    const cache = open(redis())
    const prices = cache.collection('prices', {
      ttl: '1h',
      load: (_id: number, { tenant }) => `${tenant}'s price`
    })
    let goOn = (): void => undefined
    const gone = new Promise<void>((resolve) => (goOn = resolve))
    let isBegun = false
    const pages = cache.collection('pages', {
      ttl: '1h',
      load: async (_id: number) => {
        isBegun = true
        await gone
        return prices.get(1)
      }
    })
    let page: Promise<unknown> | undefined
    const offers = cache.collection('offers', {
      ttl: '1h',
      load: async (id: number) => {
        page = pages.get(1)
        await until('that runs too', () => isBegun)
        return id
      }
    })
    await offers.tenant('acme').get(1)
    goOn()
    expect(await page).toBe("acme's price")
  })

  it('runs what a load began and did not end for no tenant, whoever else is loaded for by then', async () => {
    const cache = open(redis())
    const prices = cache.collection('prices', {
      ttl: '1h',
      load: (_id: number, { tenant }) => `${tenant}'s price`
    })
    let goOn = (): void => undefined
    const gone = new Promise<void>((resolve) => (goOn = resolve))
    let letGo = (): void => undefined
    const held = new Promise<void>((resolve) => (letGo = resolve))
    let later: Promise<unknown> | undefined
    const offers = cache.collection('offers', {
      ttl: '1h',
      load: async (id: number) => {
        if (id === 2) await held
        else later = gone.then(() => prices.get(1))
        return id
      }
    })
    await offers.tenant('acme').get(1)
    const loading = offers.tenant('globex').get(2)
    await until('the other load runs', () => cache.stats().loads.running === 1)
    goOn()
    expect(await later).toBe("undefined's price")
    letGo()
    expect(await loading).toBe(2)
  })

  it('stores nothing more for a tenant beyond its budget, and everything for the others (#109)', async () => {
    const cache = open({ ...redis(), tenantBudget: { maxBytes: 50_000 } })
    const rejected: string[] = []
    cache.on('fillRejected', ({ key, reason }) => rejected.push(`${reason} ${key}`))
    const pages = cache.collection('pages', { ttl: '1h', load: () => PAGE })
    for (let id = 0; id < 100; id++) expect(await pages.tenant('noisy').get(id)).toBe(PAGE)
    await pages.tenant('quiet').getMany([1, 2, 3])
    expect((await cache.tenant('noisy').usage()).bytes).toBeLessThanOrEqual(50_000 + 100 * 250)
    expect(rejected.length).toBeGreaterThan(40)
    expect(new Set(rejected.map((line) => line.split(':')[2]))).toEqual(new Set(['noisy']))
    expect(rejected[0]).toMatch(/^over-budget /)
    expect(await pages.tenant('quiet').peek(1)).toBe(PAGE)
    // What is there already is refreshed all the same.
    expect(await pages.tenant('noisy').refresh(0)).toBe(PAGE)
    expect(await pages.tenant('noisy').set(500, PAGE)).toBe(false)
    expect(await pages.tenant('quiet').set(500, PAGE)).toBe(true)
    expect(await pages.set(500, PAGE)).toBe(true)
  })

  it('stores no more than that of ids that are not there, however many somebody thinks up (#18)', async () => {
    const cache = open({ ...redis(), tenantBudget: { maxBytes: 10_000 } })
    const pages = cache.collection('pages', {
      ttl: '1h',
      notFoundTtl: '10m',
      load: () => undefined as string | undefined
    })
    const store = async (from: number): Promise<number> => {
      const ids = Array.from({ length: 300 }, (_, id) => from + id)
      expect((await pages.tenant('noisy').getMany(ids)).size).toBe(0)
      let entries = 0
      for (const id of ids) if ((await pages.tenant('noisy').lookup(id)).source !== 'loader') entries++
      return entries
    }
    const first = await store(0)
    expect(first).toBeGreaterThan(0)
    expect(first).toBeLessThan(150)
    expect(await store(300)).toBe(0)
  })

  it('has room again once something expired, or was counted', async () => {
    const cache = open({
      ...redis(),
      tenantBudget: { maxBytes: (tenant) => (tenant === 'a' ? 5_000 : 0), recountEvery: '1s' }
    })
    const pages = cache.tenant('a')
    const set = (key: string, ttl: number): Promise<boolean> => pages.set(key, PAGE, { ttl, jitter: 0 })
    expect(await cache.tenant('b').set('x', PAGE, { ttl: 1_000 })).toBe(false)
    const stored = await Promise.all(['1', '2', '3', '4', '5', '6'].map((key) => set(key, 300)))
    expect(stored.filter(Boolean).length).toBeLessThan(6)
    await expect.poll(() => set('7', 60_000), { timeout: 5_000 }).toBe(true)
    await cache.tenant('a').clear()
    await expect
      .poll(async () => Promise.all(['8', '9', '10'].map((key) => set(key, 60_000))), { timeout: 8_000 })
      .toEqual([true, true, true])
  }, 20_000)
})

it('keeps the room of a tenant for what is stored, and takes none for what Redis refuses', async () => {
  const cache = open({ redis: redis.server.url, tenantBudget: { maxBytes: 10 * PAGE.length } })
  const pages = cache.collection('pages', { ttl: '1h', load: () => PAGE }).tenant('noisy')
  expect(await pages.set(0, PAGE)).toBe(true)
  await redis.admin.config('SET', 'maxmemory', '1')
  try {
    for (let id = 1; id <= 20; id++)
      await expect(pages.set(id, PAGE)).rejects.toThrow('Redis did not store a value')
  } finally {
    await redis.admin.config('SET', 'maxmemory', '0')
  }
  expect(await pages.set(1, PAGE)).toBe(true)
})

it('shares what a tenant takes among processes', async () => {
  const [one, two] = [0, 1].map(() => open({ redis: redis.server.url, tenantBudget: { maxBytes: 20_000 } }))
  const store = (cache: Cache, from: number): Promise<boolean[]> =>
    Promise.all(
      Array.from({ length: 15 }, (_, at) => cache.tenant('acme').set(from + at, PAGE, { ttl: '1h' }))
    )
  await store(one!, 0)
  const noted = async (): Promise<number> => {
    const [countedAt, bytes] = await redis.admin.hmget('shop:#usage', '', 'acme')
    return countedAt === null ? 0 : Number(bytes)
  }
  await until('it is counted and told', async () => (await noted()) > 15 * PAGE.length)
  const before = await noted()
  expect(await two!.tenant('acme').set('warm', 'x', { ttl: '1h' })).toBe(true)
  // What a process tells is answered with what all of them have stored.
  await until('the other has told its own', async () => (await noted()) > before)
  await sleep(50)
  const stored = await store(two!, 100)
  expect(stored.filter(Boolean).length).toBeLessThanOrEqual(5)
})

it('has a ledger in Redis that takes the first of two counts that overlap, and a turn that can be kept', async () => {
  const reporter = { stateChanged: nothing, breakerChanged: nothing, connectionFailed: nothing }
  const link = new RedisLink(
    openClient(redis.server.url, systemClock),
    { timeoutMs: 10_000, probeKey: 'shop:#probe', clock: systemClock },
    { ...reporter, misconfigured: nothing, callFailed: nothing }
  )
  const ledger = new RedisLedger(link, 'shop:#usage')
  await ledger.update(new Map([['acme', 100]]))
  const { countedAt: since } = await ledger.all()
  const found = new Map([['acme', -50]])
  for (const countedAt of ['first', 'second']) await ledger.correct(found, { since, countedAt })
  expect(await ledger.all()).toEqual({ bytes: new Map([['acme', 50]]), countedAt: 'first' })
  expect([await ledger.isMyTurn(60_000), await ledger.isMyTurn(60_000)]).toEqual([true, false])
  await ledger.keepTurn(600_000)
  expect(await redis.admin.pttl('shop:#usage:turn')).toBeGreaterThan(60_000)
  // As if it had been taken, and the clock of Redis set back.
  expect([await ledger.isMyTurn(60_000), await ledger.isMyTurn(60_000)]).toEqual([true, false])
  await link.close()
})

it('asks for what tenants take at once, and not for each of those of which nothing was stored', async () => {
  const cache = open({ redis: redis.server.url, tenantBudget: { maxBytes: 20_000, recountEvery: '1h' } })
  for (const tenant of ['a', 'b', 'c'])
    expect(await cache.tenant(tenant).set('x', PAGE, { ttl: '1h' })).toBe(true)
  await until('they are counted and told', async () => {
    const noted = await redis.admin.hgetall('shop:#usage')
    return ['', 'a', 'b', 'c'].every((field) => noted[field] !== undefined && noted[field] !== '0')
  })
  await redis.admin.config('RESETSTAT')
  const commands = (): Promise<string> => redis.admin.info('commandstats')
  await until('it asks', async () => (await commands()).includes('cmdstat_hmget'))
  expect(await commands()).not.toContain('cmdstat_hincrby')
})

it.each([
  { maxBytes: -1 },
  { maxBytes: '1MB' },
  { maxBytes: Number.NaN },
  { maxBytes: 1, recountEvery: 5 },
  {}
])('refuses the budget %j', (tenantBudget) => {
  expect(() => createCache({ namespace: 'shop', tenantBudget: tenantBudget as never })).toThrow(
    InvalidOptionError
  )
})
