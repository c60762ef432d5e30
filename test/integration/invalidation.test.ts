import { execFileSync } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { beforeEach, describe, expect, it } from 'vitest'
import {
  RedisUnavailableError,
  TenantlessError,
  TenantRequiredError,
  writeThrough,
  type Cache,
  type Collection,
  type CollectionOptions
} from '../../src/index.js'
import { lateAfter } from '../support/late-after.js'
import { usePrivateRedis } from '../support/private-redis.js'
import { startRedisServer } from '../support/redis-server.js'
import { until } from '../support/until.js'

interface Film {
  readonly id: number
  readonly genre: string
  readonly version: number
}

const redis = usePrivateRedis({ lease: '10s' })
const { open } = redis

/** The source of record: every row tells by its version how often it was changed. */
class Films {
  version = 1
  loads: string[] = []
  gate: Promise<void> = Promise.resolve()
  readonly options = (
    more: Partial<CollectionOptions<number, Film, 'optional'>> = {}
  ): CollectionOptions<number, Film, 'optional'> => ({
    ttl: '1h',
    stale: '1h',
    jitter: 0,
    earlyRefresh: 0,
    tags: (film) => [`genre:${film.genre}`, 'films'],
    load: async (id: number, { tenant }) => {
      this.loads.push(tenant === undefined ? String(id) : `${String(tenant)}/${id}`)
      const { version } = this
      await this.gate
      return { id, genre: id % 2 === 0 ? 'drama' : 'comedy', version }
    },
    ...more
  })
}

const modes = [
  ['in Redis', () => ({ redis: redis.server.url })],
  ['in one process', () => ({})]
] as const

describe.each(modes)('%s', (_, redis) => {
  let cache: Cache
  let source: Films
  let films: Collection<number, Film>

  beforeEach(() => {
    source = new Films()
    cache = open(redis())
    films = cache.collection('films', source.options())
  })

  const version = async (id = 1, of = films): Promise<number | undefined> => (await of.get(id))?.version

  describe('clear', () => {
    it.each([
      ['the collection', () => films.clear()],
      ['the cache', () => cache.clear()]
    ])('of %s: the next read of each key loads, once', async (_, clear) => {
      await Promise.all([version(1), version(2)])
      source.version = 2
      await clear()
      const found = await Promise.all([1, 2, 1, 2, 1, 2].map((id) => version(id)))
      expect(found).toEqual([2, 2, 2, 2, 2, 2])
      expect(source.loads).toHaveLength(4)
    })

    it('of a tenant, of its collection: its entries only, whatever the ids look like (#107, #108)', async () => {
      const tenants = ['1', '10', 1, 'a:b', 'a*', '{x}', 'x', 'tenant', 'a']
      const orders = cache.collection('orders', source.options())
      const all = async (): Promise<(number | undefined)[]> =>
        Promise.all(
          tenants.flatMap((tenant) => [
            version(1, films.tenant(tenant) as never),
            version(1, orders.tenant(tenant) as never)
          ])
        )
      const untouched = tenants.flatMap(() => [1, 1])
      expect(await all()).toEqual(untouched)
      expect(await version()).toBe(1)
      source.version = 2
      await (await cache.tenant('1').clear()).finished
      expect(await all()).toEqual([2, 2, ...untouched.slice(2)])
      await (await films.tenant('a*').clear()).finished
      expect(await all()).toEqual([2, 2, ...untouched.slice(2).map((old, index) => (index === 6 ? 2 : old))])
      expect(await version()).toBe(1)
      await (await films.clear()).finished
      expect(await all()).toEqual([
        2,
        2,
        ...untouched.slice(2).map((old, index) => (index % 2 === 0 ? 2 : old))
      ])
      expect(await version()).toBe(2)
    })

    it('of what has no collection, of every tenant or of one: and of no collection', async () => {
      let at = 1
      const load = (): number => at
      const homes = (): Promise<(number | undefined)[]> =>
        Promise.all([
          cache.getOrLoad('home', load, { ttl: '1h' }),
          ...['a', 'b'].map((tenant) => cache.tenant(tenant).getOrLoad('home', load, { ttl: '1h' }))
        ])
      expect([await homes(), await version()]).toEqual([[1, 1, 1], 1])
      at = source.version = 2
      const { finished } = await cache.tenant('a').clear({ collections: false })
      expect(await homes()).toEqual([1, 2, 1])
      // It was loaded again, or is removed.
      expect((await finished).removed).toBeLessThanOrEqual(1)
      await cache.clear({ collections: false })
      expect(await homes()).toEqual([2, 2, 2])
      expect(await version()).toBe(1)
      expect(await version(1, films.tenant('a') as never)).toBe(2)
    })

    it('voids what is being loaded, and who comes after it does not join (#3, #4)', async () => {
      let letGo!: () => void
      source.gate = new Promise((resolve) => (letGo = resolve))
      const early = films.get(1)
      await until('it is loading', () => source.loads.length === 1)
      source.version = 2
      await films.clear()
      const late = films.get(1)
      await sleep(20)
      letGo()
      expect((await early)?.version).toBe(1)
      expect((await late)?.version).toBe(2)
      expect(await version()).toBe(2)
    })

    it('removes what it made worthless in the background, and nothing else', async () => {
      const ids = Array.from({ length: 1_200 }, (_, id) => id)
      await films.getMany(ids)
      const seen: number[] = []
      cache.on('cleaning', ({ scanned }) => seen.push(scanned))
      // What was stored in the very millisecond of a clear is left to its time to live.
      await sleep(2)
      const cleaning = await films.clear()
      await films.getMany(ids.slice(0, 100))
      const report = await cleaning.finished
      expect(report).toMatchObject({ outcome: 'done' })
      expect(report.removed).toBeGreaterThanOrEqual(1_100)
      expect(seen.length).toBeGreaterThan(1)
      source.loads = []
      expect((await films.getMany(ids.slice(0, 100))).size).toBe(100)
      expect(source.loads).toHaveLength(0)
      expect(await films.peek(700)).toBeUndefined()
    })

    it('softly: what is cached is served while one refresh runs', async () => {
      await version()
      source.version = 2
      await films.clear({ soft: true })
      expect(await films.lookup(1)).toMatchObject({ source: 'stale', value: { version: 1 } })
      await until('it is refreshed', async () => (await version()) === 2)
      expect(source.loads).toHaveLength(2)
      expect(await films.lookup(1)).toMatchObject({ source: expect.not.stringMatching('stale') })
    })

    it('leaves nothing to fall back on when the source fails', async () => {
      await version()
      await films.clear()
      source.gate = Promise.reject(new Error('the source is down'))
      source.gate.catch(() => undefined)
      await expect(films.get(1)).rejects.toThrow('the source is down')
    })

    it('remembers that the load after it failed, and tells who comes at once (#9)', async () => {
      let fails = false
      let loads = 0
      const failing = cache.collection('failing', {
        ttl: '1h',
        failedTtl: '5s',
        load: async () => {
          loads++
          if (fails) throw new Error('the source is down')
          return 'x'.repeat(50_000)
        },
        tags: () => ['t']
      })
      await failing.get(1)
      fails = true
      for (const clear of [() => failing.clear({ clean: false }), () => cache.invalidateTags(['t'])]) {
        await clear()
        loads = 0
        await expect(failing.get(1)).rejects.toThrow('the source is down')
        const atOnce = Promise.race([failing.get(1), lateAfter(1_500)])
        await expect(atOnce).rejects.toThrow('the source is down')
        expect(loads).toBeLessThanOrEqual(1)
        fails = false
        await failing.refresh(1)
        fails = true
      }
    })

    it('is refused after the cache was closed', async () => {
      await cache.close()
      await expect(films.clear()).rejects.toThrow('closed')
    })
  })

  describe('tags', () => {
    it('name what is invalidated together, in every collection (#41)', async () => {
      const lists = cache.collection('lists', {
        ...source.options(),
        tags: () => ['genre:drama']
      })
      await Promise.all([version(1), version(2), version(1, lists)])
      source.version = 2
      await cache.invalidateTags(['genre:drama'])
      expect(await Promise.all([version(1), version(2), version(1, lists)])).toEqual([1, 2, 2])
      source.version = 3
      await cache.invalidateTags(new Set(['films', 'unknown']))
      expect(await Promise.all([version(1), version(2), version(1, lists)])).toEqual([3, 3, 2])
    })

    it('of one tenant are its own', async () => {
      const acme = films.tenant('acme')
      await Promise.all([version(2), acme.get(2)])
      source.version = 2
      await cache.tenant('acme').invalidateTags(['genre:drama'])
      expect(await version(2)).toBe(1)
      expect((await acme.get(2))?.version).toBe(2)
    })

    it('follow the value: a row that changed its tag is found under the new one only', async () => {
      let genre = 'drama'
      const changing = cache.collection('changing', {
        ...source.options(),
        load: async (id: number) => ({ id, genre, version: source.version })
      })
      await changing.get(1)
      genre = 'comedy'
      await changing.invalidate(1)
      await changing.get(1)
      source.version = 2
      await cache.invalidateTags(['genre:drama'])
      expect((await changing.get(1))?.version).toBe(1)
      await cache.invalidateTags(['genre:comedy'])
      expect((await changing.get(1))?.version).toBe(2)
    })

    it('void a load that is under way, whose tags nobody knows yet: 0 stale of 200', async () => {
      let stale = 0
      for (let round = 0; round < 200; round++) {
        const id = round % 4
        let letGo!: () => void
        source.gate = new Promise((resolve) => (letGo = resolve))
        source.loads = []
        const early = films.get(id)
        await until('it is loading', () => source.loads.length > 0 || round === 0)
        source.version++
        const invalidated = cache.invalidateTags([id % 2 === 0 ? 'genre:drama' : 'genre:comedy'])
        if (round % 2 === 0) await invalidated
        letGo()
        await Promise.all([early, invalidated])
        if ((await version(id)) !== source.version) stale++
        await films.invalidate(id)
      }
      expect(stale).toBe(0)
    }, 60_000)

    it('that are new are stored soon, however often others are invalidated meanwhile', async () => {
      const busy = cache.collection('busy', {
        ttl: '1h',
        load: async (id: number) => {
          await sleep(30)
          source.loads.push(String(id))
          return id
        },
        tags: (id) => [`own:${id}`]
      })
      const others = setInterval(() => void cache.invalidateTags(['other']).catch(() => undefined), 15)
      try {
        for (let read = 0; read < 40; read++) await busy.get(1)
      } finally {
        clearInterval(others)
      }
      expect(source.loads.length).toBeLessThan(10)
    })

    it('softly: what carries them is served stale while it is refreshed', async () => {
      await version(2)
      source.version = 2
      await cache.invalidateTags(['genre:drama'], { soft: true })
      expect(await films.lookup(2)).toMatchObject({ source: 'stale', value: { version: 1 } })
      await until('it is refreshed', async () => (await version(2)) === 2)
    })

    it('go with what is cached without a collection', async () => {
      const get = (): Promise<number | undefined> =>
        cache.getOrLoad('home', async () => source.version, { ttl: '1h', tags: ['films'] })
      expect(await get()).toBe(1)
      source.version = 2
      expect(await get()).toBe(1)
      await cache.invalidateTags(['films'])
      expect(await get()).toBe(2)
      await cache.set('home', 7, { ttl: '1h', tags: ['a:b', '*', '{x}', 'ü'] })
      expect(await cache.get('home')).toBe(7)
      await cache.invalidateTags(['a', 'b', 'x'])
      expect(await cache.get('home')).toBe(7)
      await cache.invalidateTags(['{x}'])
      expect(await cache.get('home')).toBeUndefined()
    })

    it.each([
      ['a text', 'films', /an array or a set/],
      ['an empty tag', [''], /not empty/],
      ['a number', [7], /a string that is not empty/]
    ])('are refused as %s', async (_, tags, message) => {
      await expect(cache.invalidateTags(tags as never)).rejects.toThrow(message)
    })

    it('that are no text are refused where the value is stored', async () => {
      const wrong = cache.collection('wrong', { ...source.options(), tags: () => [7 as never] })
      await expect(wrong.get(1)).rejects.toThrow(/The tag/)
    })

    it('are refused as one text, whose letters would be the tags: invalidating what it says would do nothing', async () => {
      const wrong = cache.collection('letters', {
        ...source.options(),
        // @ts-expect-error -- an array of it is meant
        tags: ({ genre }) => `genre:${genre}`
      })
      await expect(wrong.get(1)).rejects.toThrow(
        /^Option "tags\(…\)" is "genre:.+"; needed: an array or a set of tags\.$/
      )
    })
  })

  describe('in one write with entries', () => {
    it('a tag stands for all that carries it', async () => {
      await Promise.all([version(1), version(2), version(4)])
      const { value, cache: outcome } = await cache.write(
        [films.key(2), cache.tag('genre:drama')],
        async ({ publish }) => {
          source.version = 2
          publish(films.key(2), { id: 2, genre: 'drama', version: 2 })
          return 'done'
        }
      )
      // What was read of the tag before the change is over must not be stored, its own row included.
      expect([value, outcome]).toEqual(['done', 'dropped'])
      expect(await Promise.all([version(1), version(2), version(4)])).toEqual([1, 2, 2])
    })

    it('stores nothing under the tag that was loaded before the change was made', async () => {
      await version(2)
      let commit!: () => void
      const committed = new Promise<void>((resolve) => (commit = resolve))
      const writing = cache.write([cache.tag('genre:drama')], async () => {
        await committed
        source.version = 2
      })
      await sleep(30)
      expect(await version(2)).toBe(1)
      expect(await version(4)).toBe(1)
      commit()
      await writing
      expect([await version(2), await version(4)]).toEqual([2, 2])
    })

    it('a change that threw leaves what carries the tag to be loaded', async () => {
      await version(2)
      const boom = cache.write([cache.tag('genre:drama')], async () => {
        source.version = 2
        throw new Error('boom')
      })
      await expect(boom).rejects.toThrow('boom')
      expect(await version(2)).toBe(2)
    })
  })

  describe('by predicate', () => {
    it('drops the entries whose ids it picks, of this collection and tenant', async () => {
      const ids = Array.from({ length: 50 }, (_, id) => id)
      const acme = films.tenant('acme')
      await films.getMany(ids)
      await acme.getMany(ids)
      source.version = 2
      expect(await films.invalidateWhere((id) => id >= 10 && id < 20)).toBe(10)
      expect(await Promise.all([version(9), version(10), version(19), version(20)])).toEqual([1, 2, 2, 1])
      expect((await acme.get(10))?.version).toBe(1)
      expect(await acme.invalidateWhere((id) => id === 10)).toBe(1)
      expect((await acme.get(10))?.version).toBe(2)
    })

    it('hands over ids of every kind as they were given', async () => {
      const ids = [
        1,
        '1',
        7n,
        true,
        'a:b*{x}',
        ['de', 7],
        { page: 2, brand: "o'hare" },
        [],
        {},
        '',
        'ü',
        -1.5,
        1e21
      ]
      const any = cache.collection('any', { ttl: '1h', load: (id: (typeof ids)[number]) => typeof id })
      await any.getMany(ids)
      const seen: unknown[] = []
      await any.invalidateWhere((id) => seen.push(id) < 0)
      const sorted = (list: unknown[]): string[] =>
        list.map((id) => (typeof id === 'bigint' ? 'big' : JSON.stringify(id))).sort()
      expect(sorted(seen)).toEqual(
        sorted(
          ids.map((id) =>
            id !== null && typeof id === 'object' && 'page' in id ? { brand: "o'hare", page: 2 } : id
          )
        )
      )
    })

    it('picks an id that is too long to be read from its key', async () => {
      const long = cache.collection('long', { ttl: '1h', load: (id: string) => id.length })
      await long.get('x'.repeat(500))
      expect(await long.invalidateWhere(() => false)).toBe(1)
    })
  })

  it('softens one entry, and many', async () => {
    await films.getMany([1, 2, 3])
    source.version = 2
    await films.invalidate(1, { soft: true })
    await films.invalidateMany([2], { soft: true })
    const found = await Promise.all([1, 2, 3].map((id) => films.lookup(id)))
    expect(found.map(({ source: from, value }) => [from === 'stale', value?.version])).toEqual([
      [true, 1],
      [true, 1],
      [false, 1]
    ])
    await until('they are refreshed', async () => (await version(1)) === 2 && (await version(2)) === 2)
    expect(await version(3)).toBe(1)
  })

  it('runs a piece of code for a tenant, whatever it awaits', async () => {
    const shared = cache.collection('currencies', source.options({ tenancy: 'none' } as never))
    const found = await cache.runAs('acme', async () => {
      await sleep(1)
      await Promise.all([films.get(1), films.getMany([2]), shared.get(3)])
      await cache.getOrLoad('home', ({ tenant }) => String(tenant), { ttl: '1h' })
      await films.put?.(9, {} as Film).catch(() => undefined)
      return films.key(1).key
    })
    expect(found).toBe('shop:tenant:acme:films:1')
    expect(source.loads.sort()).toEqual(['3', 'acme/1', 'acme/2'])
    expect(await cache.tenant('acme').get('home')).toBe('acme')
    expect(await cache.get('home')).toBeUndefined()
    await version()
    source.version = 2
    await cache.runAs('acme', () => films.clear())
    expect(await version()).toBe(1)
    expect((await films.tenant('acme').get(1))?.version).toBe(2)
    await cache.runAs('acme', () => cache.invalidateTags(['films']))
    expect(await version()).toBe(1)
    for (const missing of ['', undefined, null]) {
      expect(() => cache.runAs(missing as never, () => 1)).toThrow(/The tenant/)
    }
  })

  it('has tenants of the running code where they are required, and none where they are shared', async () => {
    const strict = cache.collection(
      'strict',
      source.options({ tenancy: 'required' } as never)
    ) as unknown as Collection<number, Film, 'required'>
    expect(() => strict.tenant()).toThrow(TenantRequiredError)
    expect(await cache.runAs(7, () => strict.tenant().get(1))).toMatchObject({ version: 1 })
    expect(source.loads).toEqual(['7/1'])
    const shared = cache.collection(
      'shared',
      source.options({ tenancy: 'none' } as never)
    ) as unknown as Collection<number, Film>
    expect(() => shared.tenant('acme')).toThrow(TenantlessError)
  })
})

describe('in Redis', () => {
  it('tells every process: who reads after a clear or a tag returned elsewhere gets nothing older (#36)', async () => {
    const source = new Films()
    const caches = Array.from({ length: 3 }, () => open({ redis: redis.server.url }))
    const all = caches.map((cache) => cache.collection('films', source.options()))
    let stale = 0
    for (let round = 0; round < 100; round++) {
      await Promise.all(all.map((films) => films.get(1)))
      source.version++
      const by = round % 3
      if (round % 2 === 0) await all[by]!.clear({ clean: false })
      else await caches[by]!.invalidateTags(['films'])
      const found = await Promise.all(all.map((films) => films.get(1)))
      stale += found.filter((film) => film?.version !== source.version).length
    }
    expect(stale).toBe(0)
  })

  it('costs no command on a hit: the counters come with the entry (#58)', async () => {
    const source = new Films()
    const cache = open({ redis: redis.server.url })
    const films = cache.collection('films', source.options())
    await films.get(1)
    let info = ''
    do {
      await until('it is told of changes', () => cache.stats().redis.pushes)
      await films.get(1)
      await redis.admin.config('RESETSTAT')
      for (let read = 0; read < 200; read++) await films.get(1)
      info = await redis.admin.info('all')
      // Where the machine was too slow for a heartbeat the process has connected anew, and that is not what is counted here.
    } while (!/total_connections_received:0\b/.test(info))
    const calls = new Map(
      [...info.matchAll(/cmdstat_(\S+?):calls=(\d+)/g)].map(([, name, count]) => [name, Number(count)])
    )
    // Once a second, on two connections, the process makes sure that it is told of changes.
    const { get = 0, ping = 0, 'config|resetstat': reset, ...ofReads } = Object.fromEntries(calls)
    expect(ofReads, `and ${get} GET, ${ping} PING, ${reset} RESETSTAT`).toEqual({ mget: 200 })
    expect(Math.abs(get - ping)).toBeLessThanOrEqual(1)
  })

  it('treats a lost counter as "cleared", and one that is made anew never brings old entries back (#38)', async () => {
    const source = new Films()
    const films = open({ redis: redis.server.url }).collection('films', source.options())
    await films.get(1)
    for (const pattern of ['shop:#gen', 'shop:#gen:films', 'shop:#tag:~:films']) {
      source.version++
      await redis.admin.del(pattern)
      await sleep(5)
      expect((await films.get(1))?.version).toBe(source.version)
      expect((await films.get(1))?.version).toBe(source.version)
    }
  })

  it('takes one small key for a tag, however many entries carry it (#39)', async () => {
    const source = new Films()
    const cache = open({ redis: redis.server.url })
    const films = cache.collection('films', source.options({ tags: () => ['films'] }))
    const ids = Array.from({ length: 300 }, (_, id) => id)
    await films.getMany(ids)
    const counters = (await redis.admin.keys('shop:#tag*')).sort()
    await films.getMany(Array.from({ length: 300 }, (_, id) => 300 + id))
    expect((await redis.admin.keys('shop:#tag*')).sort()).toEqual(counters)
    for (const counter of counters) {
      expect(await redis.admin.type(counter)).toBe('string')
      expect(await redis.admin.strlen(counter)).toBeLessThan(100)
    }
    source.version = 2
    await cache.invalidateTags(['films'])
    const found = await films.getMany(ids)
    expect([...found.values()].filter(({ version }) => version !== 2)).toEqual([])
  })

  it('drops with UNLINK, never with DEL: a large value, whoever left it there, is freed beside the commands (#105)', async () => {
    const fields = Array.from({ length: 20_000 }, (_, field) => [`f${field}`, 'x']).flat()
    await redis.admin.hset('shop:films:1', ...fields)
    const films = open({ redis: redis.server.url }).collection('films', new Films().options())
    await films.getMany([2, 3])
    await redis.admin.config('RESETSTAT')
    await films.invalidate(1)
    await films.invalidateMany([2, 3])
    expect(await redis.admin.exists('shop:films:1', 'shop:films:2', 'shop:films:3')).toBe(0)
    const stats = await redis.admin.info('commandstats')
    expect(stats).toMatch(/^cmdstat_unlink:/m)
    expect(stats).not.toMatch(/^cmdstat_del:/m)
  })

  it('reads a counter of another type, or damaged, as lost', async () => {
    const source = new Films()
    const films = open({ redis: redis.server.url }).collection('films', source.options())
    await films.get(1)
    source.version = 2
    await redis.admin.del('shop:#gen:films')
    await redis.admin.hset('shop:#gen:films', 'a', 'b')
    await sleep(5)
    expect((await films.get(1))?.version).toBe(2)
    source.version = 3
    await redis.admin.set('shop:#gen', 'garbage')
    await sleep(5)
    expect((await films.get(1))?.version).toBe(3)
    expect((await films.get(1))?.version).toBe(3)
    expect(source.loads).toHaveLength(3)
  })

  it('clears when Redis is full, where no SET passes (#30)', async () => {
    const source = new Films()
    const cache = open({ redis: redis.server.url })
    const films = cache.collection('films', source.options())
    await films.get(1)
    source.version = 2
    await redis.admin.config('SET', 'maxmemory', '1', 'maxmemory-policy', 'noeviction')
    try {
      await films.clear({ clean: false })
      await cache.invalidateTags(['films'])
      expect((await films.get(1))?.version).toBe(2)
    } finally {
      await redis.admin.config('SET', 'maxmemory', '0')
    }
    expect((await films.get(1))?.version).toBe(2)
  })

  it('leaves every other key of the database alone', async () => {
    const others = ['other:films:1', 'shopping:films:1', 'shop', 'films:1']
    for (const key of others) await redis.admin.set(key, 'x')
    await redis.admin.rpush('shop:films:list', 'a')
    await redis.admin.set('shop:films:2', 'not an entry')
    const cache = open({ redis: redis.server.url })
    await cache.collection('films', new Films().options()).get(1)
    // What was stored in the very millisecond of a clear is left to its time to live.
    await sleep(2)
    expect((await (await cache.clear()).finished).outcome).toBe('done')
    expect((await redis.admin.keys('*')).filter((key) => !key.startsWith('shop:#')).sort()).toEqual(
      [...others, 'shop:films:list', 'shop:films:2'].sort()
    )
  })

  it('works under a key prefix of the driver', async () => {
    const driver = new Redis(redis.server.url, { keyPrefix: 'app[1]*:' })
    const cache = open({ redis: driver })
    const source = new Films()
    const films = cache.collection('films', source.options())
    await films.getMany([1, 2, 3])
    source.version = 2
    await redis.admin.set('app1:shop:films:1', 'x')
    expect(await films.invalidateWhere((id) => id === 1)).toBe(1)
    await sleep(2)
    const report = await (await films.clear()).finished
    expect(report).toMatchObject({ outcome: 'done', removed: 2 })
    expect((await films.get(1))?.version).toBe(2)
    expect(await redis.admin.get('app1:shop:films:1')).toBe('x')
    driver.disconnect()
  })

  it('a script without Redis may wait for what was cleared to be removed', () => {
    const script = `
      import { createCache } from ${JSON.stringify(new URL('../../src/index.js', import.meta.url).href)}
      const cache = createCache({ namespace: 'script' })
      const rows = cache.collection('rows', { ttl: '1h', load: async (id) => id })
      await rows.getMany(Array.from({ length: 600 }, (_, id) => id))
      const { finished } = await rows.clear()
      console.log((await finished).removed)`
    const args = ['--import', 'tsx', '--input-type=module', '-e', script]
    expect(execFileSync(process.execPath, args, { encoding: 'utf8' })).toBe('600\n')
  })

  it('refuses to clear what Redis cannot be told of', async () => {
    const own = await startRedisServer()
    const cache = open({ redis: own.url, commandTimeout: 100 })
    const films = cache.collection('films', new Films().options())
    await films.get(1)
    await own.stop()
    await expect(films.clear()).rejects.toThrow(RedisUnavailableError)
    await expect(cache.invalidateTags(['films'])).rejects.toThrow(RedisUnavailableError)
    await expect(films.invalidateWhere(() => true)).rejects.toThrow(RedisUnavailableError)
  })

  it('remembers a tag of a change that Redis could not be told of, and moves it first thing (#29)', async () => {
    const own = await startRedisServer()
    const source = new Films()
    const cache = open({ redis: own.url, commandTimeout: 100 })
    const films = cache.collection(
      'films',
      source.options({ write: writeThrough(async (_id: number, film: Film) => film) })
    )
    const otherCache = open({ redis: own.url })
    const other = otherCache.collection('films', source.options())
    await Promise.all([films.get(2), other.get(2)])
    own.pause()
    const changed = await cache.write(
      [cache.tag('genre:drama')],
      async () => {
        source.version = 2
      },
      { whenRedisAway: 'remember' }
    )
    expect(changed.cache).toBe('pending')
    expect(cache.stats().pendingInvalidations).toBeGreaterThan(0)
    expect((await films.get(2))?.version).toBe(2)
    own.resume()
    await until('it is delivered', () => cache.stats().pendingInvalidations === 0)
    await sleep(5)
    expect((await films.get(2))?.version).toBe(2)
    expect((await other.get(2))?.version).toBe(2)
    await Promise.all([cache, otherCache].map((one) => one.close({ timeout: 100 })))
    await own.stop()
  })
})
