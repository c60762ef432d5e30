import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { request } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { Redis } from 'ioredis'
import pg from 'pg'
import { type PostgresServer, startPostgresServer } from '../../../test/support/postgres-server.js'
import { type RedisServer, startRedisServer } from '../../../test/support/redis-server.js'
import { until } from '../../../test/support/until.js'
import { startApi } from './api.js'
import { loadStore } from './seed/load.js'
import { type ApiServer, serve } from './server.js'
import { StartError } from './start-error.js'
import { openDatabase } from './store/database.js'

const ADMIN_TOKEN = 'only for this test'

let postgres: PostgresServer
let redis: RedisServer
let admin: Redis
let database: pg.Client
/** Two, as there would be behind a load balancer. */
let apis: ApiServer[]

beforeAll(async () => {
  ;[postgres, redis] = await Promise.all([
    startPostgresServer({ durable: false, settings: { shared_preload_libraries: 'pg_stat_statements' } }),
    startRedisServer()
  ])
  await loadStore(postgres.url, { customers: 200, orders: 3000 })
  admin = new Redis(redis.url)
  database = new pg.Client(postgres.url)
  await database.connect()
  await database.query('create extension pg_stat_statements')
  const options = { databaseUrl: postgres.url, redisUrl: redis.url, adminToken: ADMIN_TOKEN }
  apis = await Promise.all([startApi(options), startApi(options)])
  for (const instance of apis.keys()) await usesRedis(instance)
})

afterAll(async () => {
  await Promise.all((apis ?? []).map((api) => api.close()))
  admin?.disconnect()
  await database?.end()
  await Promise.all([redis?.stop(), postgres?.stop()])
})

beforeEach(async () => {
  await admin.flushall()
  // A flush takes the counters of what can be cleared as well, and for 2 ms a process believes its copies of them.
  await sleep(5)
})

interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly body: Body
}

interface Body {
  readonly source?: string
  readonly data?: unknown
  readonly error?: string
  readonly missing?: readonly number[]
  readonly [name: string]: unknown
}

async function get(path: string, headers: Record<string, string> = {}, instance = 0): Promise<Answer> {
  return ask(path, { headers }, instance)
}

async function put(path: string, body: unknown, headers: Record<string, string> = {}, instance = 0) {
  const json = { 'Content-Type': 'application/json', ...headers }
  return ask(path, { method: 'PUT', headers: json, body: JSON.stringify(body) }, instance)
}

async function remove(path: string, headers: Record<string, string> = {}, instance = 0): Promise<Answer> {
  return ask(path, { method: 'DELETE', headers }, instance)
}

async function ask(path: string, init: RequestInit, instance = 0): Promise<Answer> {
  const response = await fetch(`${apis[instance]?.url}${path}`, init)
  return { status: response.status, headers: response.headers, body: (await response.json()) as Body }
}

/** It may have done without, as it may when it starts. */
async function usesRedis(instance: number): Promise<void> {
  const isUsed = async (): Promise<boolean> => (await get('/health', {}, instance)).body['redis'] === 'ready'
  await until('it uses Redis', isUsed, 60_000)
}

interface OfferRow {
  readonly priceCents: number
  readonly stock: number
  readonly version: number
}

async function inDatabase(id: number, shop = 'main'): Promise<OfferRow | undefined> {
  const { rows } = await database.query<OfferRow>(
    'select price_cents as "priceCents", stock, version from movie_store.offers where product_id = $1 and shop_id = $2',
    [id, shop]
  )
  return rows[0]
}

describe('GET /api/products/:id', () => {
  it('answers from the database once, and then from the cache, in every process', async () => {
    const first = await get('/api/products/42')
    expect(first.status).toBe(200)
    expect(first.body).toMatchObject({
      source: 'database',
      data: { id: 42, title: 'The Abyss', genre: 'Action' }
    })
    const second = await get('/api/products/42', {}, 1)
    expect(second.body).toEqual({ source: 'cache', data: first.body.data })
  })

  it('answers 404 for a product that is not there, and asks the database for it once', async () => {
    const before = await queries('products')
    expect((await get('/api/products/9999')).body).toEqual({ error: 'There is no product 9999.' })
    expect((await get('/api/products/9999', {}, 1)).status).toBe(404)
    expect(await queries('products')).toBe(before + 1)
  })

  it.each([
    '0',
    '-1',
    '1.5',
    'abc',
    '1e3',
    '0x1f',
    '%20',
    '007',
    '2147483648',
    '99999999999',
    '1%2C2',
    '42;drop'
  ])('answers 400 for the id %s', async (id) => {
    const { status, body } = await get(`/api/products/${id}`)
    expect(status).toBe(400)
    expect(body.error).toBe('The product id must be a whole number from 1 to 2147483647.')
  })

  it('answers 400 for a path that cannot be decoded', async () => {
    expect((await get('/api/products/%ZZ')).status).toBe(400)
  })
})

describe('GET /api/products?ids=', () => {
  it('answers with those that are there and names those that are not, with one query for all', async () => {
    await get('/api/products/1')
    const before = await queries('products')
    const { status, body } = await get('/api/products?ids=3,1,9999,3,2')
    expect(status).toBe(200)
    expect((body.data as { id: number }[]).map(({ id }) => id)).toEqual([3, 1, 2])
    expect(body.missing).toEqual([9999])
    expect(await queries('products')).toBe(before + 1)
  })

  it.each([
    ['none', ''],
    ['an empty list', '?ids='],
    ['a list twice', '?ids=1&ids=2'],
    ['an empty id', '?ids=1,,2'],
    ['something that is no id', '?ids=1,two'],
    ['an object', '?ids[a]=1'],
    ['more than 100', `?ids=${Array.from({ length: 101 }, (_, index) => index + 1).join(',')}`]
  ])('answers 400 for %s', async (_, query) => {
    const { status, body } = await get(`/api/products${query}`)
    expect(status).toBe(400)
    expect(body.error).toEqual(expect.any(String))
  })
})

describe('GET /api/homepage', () => {
  it('answers with all parts of the page, from the database and then from the cache', async () => {
    const { body } = await get('/api/homepage')
    expect(body.source).toBe('database')
    const page = body.data as Record<string, unknown[]>
    expect(Object.keys(page).sort()).toEqual(['bestRated', 'newest', 'revenueByMonth', 'topByGenre'])
    expect(page['revenueByMonth']).toHaveLength(13)
    expect(page['bestRated']).toHaveLength(8)
    expect(await get('/api/homepage', {}, 1)).toMatchObject({ body: { source: 'cache', data: page } })
  })

  it('is built once for many readers of several processes at once', async () => {
    const before = await queries('homepage')
    const answers = await Promise.all(
      Array.from({ length: 60 }, (_, index) => get('/api/homepage', {}, index % 2))
    )
    expect(answers.every(({ status }) => status === 200)).toBe(true)
    expect(await queries('homepage')).toBe(before + 1)
  })
})

describe('a tenant', () => {
  it('has prices and a cache of its own', async () => {
    const main = await get('/api/products/42')
    const acme = await get('/api/products/42', { 'X-Tenant': 'acme' })
    expect(acme.body.source).toBe('database')
    expect((acme.body.data as { priceCents: number }).priceCents).not.toBe(
      (main.body.data as { priceCents: number }).priceCents
    )
    expect((await get('/api/products/42', { 'X-Tenant': 'acme' }, 1)).body).toEqual({
      ...acme.body,
      source: 'cache'
    })
    expect((await get('/api/products/42')).body.data).toEqual(main.body.data)
    expect((await get('/api/homepage', { 'X-Tenant': 'acme' })).body.data).not.toEqual(
      (await get('/api/homepage')).body.data
    )
    expect(acme.headers.get('vary')).toContain('X-Tenant')
  })

  it('of the name of the main shop is the main shop', async () => {
    await get('/api/products/42')
    expect((await get('/api/products/42', { 'X-Tenant': 'main' })).body.source).toBe('cache')
  })

  it('that does not exist gets 404, with one question to the database for all who try', async () => {
    const before = await queries('shops')
    for (const path of ['/api/products/42', '/api/products?ids=1', '/api/homepage']) {
      expect(await get(path, { 'X-Tenant': 'nobody' })).toMatchObject({
        status: 404,
        body: { error: 'There is no tenant "nobody".' }
      })
    }
    expect(await queries('shops')).toBe(before + 1)
  })

  it.each(['Acme', 'a b', '../main', 'acme:products', '1acme', '-', 'a'.repeat(41), 'acme, globex'])(
    'named %s gets 400',
    async (tenant) => {
      expect((await get('/api/products/42', { 'X-Tenant': tenant })).status).toBe(400)
    }
  )
})

describe('GET /api/genres/:genre', () => {
  const drama = (instance = 0, headers = {}): Promise<Answer> =>
    get('/api/genres/Drama?page=1', headers, instance)

  it('answers with a page of films, from the database and then from the cache', async () => {
    const { body } = await drama()
    expect(body).toMatchObject({ source: 'database', data: { genre: 'Drama', page: 1 } })
    expect((body.data as { films: unknown[] }).films).toHaveLength(20)
    expect((await drama(1)).body.source).toBe('cache')
    const second = await get('/api/genres/Drama?page=2')
    expect(second.body.data).not.toEqual(body.data)
  })

  it('has every page of a genre dropped by a change of any of its films, and no other genre', async () => {
    const [film] = ((await drama()).body.data as { films: { id: number }[] }).films
    await Promise.all([
      get('/api/genres/Drama?page=2'),
      get('/api/genres/Comedy'),
      drama(0, { 'X-Tenant': 'acme' })
    ])
    await put(`/api/products/${film?.id}`, { priceCents: 5432, stock: 1 })
    const changed = (await drama(1)).body
    expect(changed.source).toBe('database')
    expect((changed.data as { films: unknown[] }).films[0]).toMatchObject({ id: film?.id, priceCents: 5432 })
    expect((await get('/api/genres/Drama?page=2', {}, 1)).body.source).toBe('database')
    expect((await get('/api/genres/Comedy', {}, 1)).body.source).toBe('cache')
    expect((await drama(1, { 'X-Tenant': 'acme' })).body.source).toBe('cache')
  })

  it('answers 404 where there is nothing, and 400 for what is no genre or no page', async () => {
    expect((await get('/api/genres/Western%20Noir')).status).toBe(404)
    expect((await get('/api/genres/Drama?page=9999')).status).toBe(404)
    for (const path of ['Drama?page=0', 'Drama?page=x', 'Drama?page=1&page=2', 'a%00b', 'x'.repeat(41)]) {
      expect((await get(`/api/genres/${path}`)).status).toBe(400)
    }
  })
})

describe('DELETE /api/admin/cache', () => {
  const admins = { Authorization: `Bearer ${ADMIN_TOKEN}` }
  const acme = { 'X-Tenant': 'acme' }

  it('clears one shop in every process, and leaves the others', async () => {
    await Promise.all([get('/api/products/42'), get('/api/products/42', acme), get('/api/homepage', acme)])
    // Prices that were changed past the API.
    await database.query(
      "update movie_store.offers set price_cents = 4711 where product_id = 42 and shop_id = 'acme'"
    )
    const { status, body } = await remove('/api/admin/cache', { ...admins, ...acme })
    expect([status, body]).toEqual([200, { cleared: { tenant: 'acme' } }])
    const seen = await get('/api/products/42', acme, 1)
    expect(seen.body).toMatchObject({ source: 'database', data: { priceCents: 4711 } })
    expect((await get('/api/homepage', acme, 1)).body.source).toBe('database')
    expect((await get('/api/products/42', {}, 1)).body.source).toBe('cache')
  })

  it('clears the listings of one genre, or everything', async () => {
    const sources = async (): Promise<unknown[]> =>
      Promise.all(
        ['/api/genres/Drama', '/api/genres/Comedy', '/api/products/42'].map(
          async (path) => (await get(path)).body.source
        )
      )
    await sources()
    await remove('/api/admin/cache?genre=Drama', admins)
    expect(await sources()).toEqual(['database', 'cache', 'cache'])
    await remove('/api/admin/cache', admins)
    expect(await sources()).toEqual(['database', 'database', 'database'])
  })

  it('answers 401 without a token, 403 with another, 404 for a shop that there is not', async () => {
    expect((await remove('/api/admin/cache')).status).toBe(401)
    expect((await remove('/api/admin/cache', { Authorization: 'Basic eDp5' })).status).toBe(401)
    expect((await remove('/api/admin/cache', { Authorization: 'Bearer guess' })).status).toBe(403)
    expect((await remove('/api/admin/cache', { ...admins, 'X-Tenant': 'nobody' })).status).toBe(404)
    expect((await remove('/api/admin/cache?genre=%00', admins)).status).toBe(400)
  })
})

describe('PUT /api/products/:id', () => {
  it('saves the row, answers with it, and the next read in another process is from the cache', async () => {
    const before = (await get('/api/products/43')).body.data as OfferRow
    const { status, body } = await put('/api/products/43', { priceCents: 1234, stock: 7 })
    expect(status).toBe(200)
    expect(body).toEqual({
      cache: 'published',
      data: { ...before, priceCents: 1234, stock: 7, version: expect.any(Number) }
    })
    expect(await inDatabase(43)).toEqual({
      priceCents: 1234,
      stock: 7,
      version: (body.data as OfferRow).version
    })
    expect((await get('/api/products/43', {}, 1)).body).toEqual({ source: 'cache', data: body.data })
  })

  it('is seen by the next reader of every process, however writers and readers race', async () => {
    for (let round = 1; round <= 40; round++) {
      const readers = [0, 1].map((instance) => get('/api/products/44', {}, instance))
      await Promise.all([
        put('/api/products/44', { priceCents: 1000 + round, stock: 1 }, {}, 0),
        put('/api/products/44', { priceCents: 2000 + round, stock: 1 }, {}, 1)
      ])
      const row = await inDatabase(44)
      const seen = await Promise.all([0, 1].map((instance) => get('/api/products/44', {}, instance)))
      for (const { body } of seen) expect(body.data).toMatchObject({ ...row })
      await Promise.all(readers)
    }
  })

  it('changes the home page, which shows prices', async () => {
    const [best] = ((await get('/api/homepage')).body.data as { bestRated: { id: number }[] }).bestRated
    await put(`/api/products/${best?.id}`, { priceCents: 4321, stock: 5 })
    const page = await get('/api/homepage', {}, 1)
    expect(page.body.source).toBe('database')
    expect((page.body.data as { bestRated: unknown[] }).bestRated[0]).toMatchObject({
      id: best?.id,
      priceCents: 4321
    })
  })

  it('is about the row of the tenant alone', async () => {
    const main = await get('/api/products/45')
    await get('/api/products/45', { 'X-Tenant': 'acme' })
    const saved = await put('/api/products/45', { priceCents: 77, stock: 0 }, { 'X-Tenant': 'acme' })
    expect(saved.body).toMatchObject({ cache: 'published', data: { priceCents: 77, stock: 0 } })
    expect(await get('/api/products/45', {}, 1)).toMatchObject({
      body: { source: 'cache', data: main.body.data }
    })
    expect((await get('/api/products/45', { 'X-Tenant': 'acme' }, 1)).body).toEqual({
      source: 'cache',
      data: saved.body.data
    })
    expect(await inDatabase(45)).toMatchObject({ priceCents: (main.body.data as OfferRow).priceCents })
    expect(
      await put('/api/products/45', { priceCents: 1, stock: 1 }, { 'X-Tenant': 'nobody' })
    ).toMatchObject({
      status: 404,
      body: { error: 'There is no tenant "nobody".' }
    })
  })

  it('with the version it was edited from answers 409 when the row has moved on, and changes nothing', async () => {
    const { version } = (await get('/api/products/46')).body.data as OfferRow
    const first = await put('/api/products/46', { priceCents: 500, stock: 1, version })
    expect(first.status).toBe(200)
    const second = await put('/api/products/46', { priceCents: 600, stock: 2, version }, {}, 1)
    expect(second).toMatchObject({
      status: 409,
      body: { error: `Product 46 is not at version ${version} any more: read it again.` }
    })
    expect((await get('/api/products/46')).body.data).toEqual(first.body.data)
    const again = (first.body.data as OfferRow).version
    expect((await put('/api/products/46', { priceCents: 600, stock: 2, version: again })).status).toBe(200)
  })

  it('lets one of many editors of the same version through', async () => {
    const { version } = (await get('/api/products/47')).body.data as OfferRow
    const answers = await Promise.all(
      Array.from({ length: 10 }, (_, index) =>
        put('/api/products/47', { priceCents: 100 + index, stock: 1, version }, {}, index % 2)
      )
    )
    const statuses = answers.map(({ status }) => status)
    expect(statuses.sort((a, b) => a - b)).toEqual([200, ...Array.from({ length: 9 }, () => 409)])
    const saved = answers.find(({ status }) => status === 200)?.body.data
    expect((await get('/api/products/47', {}, 1)).body.data).toEqual(saved)
  })

  it('answers 404 for a film that is not there, however it is asked', async () => {
    for (const more of [{}, { version: 1 }]) {
      expect(await put('/api/products/9999', { priceCents: 1, stock: 1, ...more })).toMatchObject({
        status: 404,
        body: { error: 'There is no product 9999.' }
      })
    }
  })

  it.each<[string, unknown, string]>([
    ['no object', 42, 'Send a JSON object'],
    ['a list', [], 'Send a JSON object'],
    ['null', null, 'Send a JSON object'],
    ['nothing in it', {}, '"priceCents" must be a whole number from 1 to 2147483647.'],
    ['a price of 0', { priceCents: 0, stock: 1 }, '"priceCents"'],
    ['a price that is text', { priceCents: '5', stock: 1 }, '"priceCents"'],
    ['half a cent', { priceCents: 1.5, stock: 1 }, '"priceCents"'],
    ['a price too large for the column', { priceCents: 2_147_483_648, stock: 1 }, '"priceCents"'],
    ['a stock below 0', { priceCents: 1, stock: -1 }, '"stock" must be a whole number from 0'],
    ['no stock', { priceCents: 1 }, '"stock"'],
    ['a version that is none', { priceCents: 1, stock: 1, version: null }, '"version"'],
    ['a field that cannot be changed', { priceCents: 1, stock: 1, title: 'Mine' }, '"title" is not']
  ])('answers 400 for %s', async (_, body, error) => {
    const answer = await put('/api/products/42', body)
    expect([answer.status, answer.body.error]).toEqual([400, expect.stringContaining(error)])
  })

  it('answers 400 for what is no JSON, no body and a bad id; 415 for another type; 413 for too much', async () => {
    const raw = (body: string | undefined, type?: string): Promise<Answer> =>
      ask('/api/products/42', {
        method: 'PUT',
        headers: type === undefined ? {} : { 'Content-Type': type },
        ...(body === undefined ? {} : { body })
      })
    expect((await raw('{"priceCents":', 'application/json')).status).toBe(400)
    expect((await raw(undefined, 'application/json')).status).toBe(400)
    expect((await raw(undefined)).status).toBe(415)
    expect((await raw('priceCents=1', 'application/x-www-form-urlencoded')).status).toBe(415)
    expect((await raw('{"priceCents":1,"stock":1}', 'text/plain')).status).toBe(415)
    expect((await raw('{"priceCents":1,"stock":1}', 'application/json; charset=latin1')).status).toBe(415)
    const long = `{"priceCents":1,"stock":1${' '.repeat(20_000)}}`
    expect((await raw(long, 'application/json')).status).toBe(413)
    expect((await put('/api/products/0', { priceCents: 1, stock: 1 })).status).toBe(400)
    expect((await raw('{"priceCents":1,"stock":1,"__proto__":{}}', 'application/json')).status).toBe(400)
  })
})

describe('DELETE /api/products/:id', () => {
  it('takes the film out of the shop, is remembered by the cache, and a PUT brings it back as new', async () => {
    const { version } = (await get('/api/products/48')).body.data as OfferRow
    expect(await remove('/api/products/48')).toMatchObject({ status: 200, body: { cache: 'published' } })
    expect(await inDatabase(48)).toBeUndefined()
    const before = await queries('products')
    expect((await get('/api/products/48', {}, 1)).status).toBe(404)
    expect(await queries('products')).toBe(before)
    expect((await get('/api/products/48', { 'X-Tenant': 'acme' })).status).toBe(200)

    expect((await put('/api/products/48', { priceCents: 5, stock: 1, version })).status).toBe(409)
    const back = await put('/api/products/48', { priceCents: 5, stock: 1 })
    expect([back.status, back.body.cache]).toEqual([201, 'published'])
    expect((back.body.data as OfferRow).version).toBeGreaterThan(version)
    expect((await get('/api/products/48', {}, 1)).body).toEqual({ source: 'cache', data: back.body.data })
  })

  it('answers 404 for what is not there, the second time as well, and 400 for a bad id', async () => {
    expect(await remove('/api/products/9999')).toMatchObject({
      status: 404,
      body: { error: 'There is no product 9999.' }
    })
    await remove('/api/products/49', { 'X-Tenant': 'acme' })
    expect((await remove('/api/products/49', { 'X-Tenant': 'acme' })).status).toBe(404)
    expect((await remove('/api/products/x')).status).toBe(400)
  })
})

describe('the rest', () => {
  it('tells its health', async () => {
    expect(await get('/health')).toMatchObject({
      status: 200,
      body: { status: 'ok', database: 'ready', redis: 'ready' }
    })
  })

  it('counts reads for Prometheus', async () => {
    await get('/api/products/7')
    await get('/api/products/7')
    const text = await (await fetch(`${apis[0]?.url}/metrics`)).text()
    expect(Number(/^cache_hits_total\{collection="products"\} (\d+)$/m.exec(text)?.[1])).toBeGreaterThan(0)
    expect(text).toContain('# TYPE cache_redis_up gauge\ncache_redis_up 1\n')
  })

  it('answers 404 in JSON for a path it does not have', async () => {
    expect(await get('/api/nothing')).toMatchObject({
      status: 404,
      body: { error: 'There is no GET /api/nothing.' }
    })
  })

  it('serves while Redis is away, and says so', async () => {
    await redis.kill()
    try {
      expect((await get('/api/products/42')).body).toMatchObject({ source: 'database', data: { id: 42 } })
      expect((await get('/health')).body).toMatchObject({ status: 'ok', redis: 'away' })
    } finally {
      await redis.restart()
    }
    await usesRedis(0)
  })

  it('refuses changes while Redis is away, and makes them again when it is back', async () => {
    const before = await inDatabase(50)
    await redis.kill()
    try {
      const refused = [
        await put('/api/products/50', { priceCents: 31, stock: 3 }),
        await remove('/api/products/50', {}, 1)
      ]
      for (const { status, headers } of refused) {
        expect([status, headers.get('retry-after')]).toEqual([503, '1'])
      }
      expect(await inDatabase(50)).toEqual(before)
    } finally {
      await redis.restart()
    }
    const again = async (): Promise<number> =>
      (await put('/api/products/50', { priceCents: 31, stock: 3 })).status
    await expect.poll(again, { timeout: 10_000 }).toBe(200)
  })

  it('says "pending" when Redis is lost after the change was made, and no reader gets the old row', async () => {
    await get('/api/products/51')
    // What the change waits for in the database while Redis goes away.
    const release = await lock('select 1 from movie_store.offers where product_id = 51 for update')
    const change = put('/api/products/51', { priceCents: 41, stock: 4 })
    await expect.poll(waitingForLocks, { timeout: 10_000, interval: 5 }).toBe(1)
    redis.pause()
    await release()
    try {
      expect(await change).toMatchObject({
        status: 200,
        body: { cache: 'pending', data: { priceCents: 41 } }
      })
      for (const instance of [0, 1]) {
        expect((await get('/api/products/51', {}, instance)).body.data).toMatchObject({ priceCents: 41 })
      }
    } finally {
      redis.resume()
    }
    for (const instance of [0, 1]) {
      expect((await get('/api/products/51', {}, instance)).body.data).toMatchObject({ priceCents: 41 })
      await usesRedis(instance)
    }
  })

  it('fails the request under way when its connection to the database breaks, and goes on', async () => {
    await get('/api/homepage', { 'X-Tenant': 'acme' })
    await admin.flushall()
    const release = await lock('lock table movie_store.orders')
    const answer = get('/api/homepage')
    await expect.poll(waitingForLocks, { timeout: 10_000, interval: 5 }).toBe(1)
    await database.query(
      "select pg_terminate_backend(pid) from pg_stat_activity where wait_event_type = 'Lock'"
    )
    expect((await answer).status).toBe(500)
    await release()
    // For a second nobody tries again.
    await expect.poll(async () => (await get('/api/homepage')).status, { timeout: 10_000 }).toBe(200)
  })

  it('is healthy, and says so, while every connection to the database has something to do', async () => {
    const busy = await startApi({
      databaseUrl: postgres.url,
      redisUrl: redis.url,
      connections: 1,
      worker: false
    })
    try {
      await database.query('begin; lock table movie_store.offers in access exclusive mode')
      const waiting = fetch(`${busy.url}/api/products/60`)
      await until('its only connection waits for the table', async () => {
        const { rows } = await database.query('select from pg_locks where not granted')
        return rows.length > 0
      })
      const health = await fetch(`${busy.url}/health`)
      expect([health.status, await health.json()]).toMatchObject([200, { database: 'ready' }])
      await database.query('commit')
      expect((await waiting).status).toBe(200)
    } finally {
      await database.query('rollback')
      await busy.close()
    }
  })

  it('cancels in PostgreSQL what its caller gave up, also when that has the last connection', async () => {
    const store = openDatabase(postgres.url, { connections: 1, applicationName: 'gives up' })
    try {
      const caller = new AbortController()
      const statement = store.query('select pg_sleep(25)', [], caller.signal)
      const running = async (): Promise<boolean> => {
        const { rows } = await database.query(
          "select from pg_stat_activity where application_name = 'gives up' and state = 'active'"
        )
        return rows.length > 0
      }
      await until('it runs', running)
      caller.abort(new Error('enough'))
      await expect(statement).rejects.toThrow('due to user request')
    } finally {
      await store.close()
    }
  })

  it('has a worker that ends in order, though npm and the terminal both tell it to', async () => {
    const worker = spawn(
      process.execPath,
      ['--import', 'tsx', fileURLToPath(new URL('./worker.ts', import.meta.url))],
      {
        env: { ...process.env, DATABASE_URL: postgres.url, REDIS_URL: redis.url, PORT: undefined },
        stdio: ['ignore', 'pipe', 'pipe']
      }
    )
    const ended = once(worker, 'close')
    let [out, err] = ['', '']
    worker.stdout.setEncoding('utf8').on('data', (text: string) => {
      out += text
    })
    worker.stderr.setEncoding('utf8').on('data', (text: string) => {
      err += text
    })
    await until('it works', () => out.includes('Worker '), 30_000)
    worker.kill('SIGINT')
    const again = setInterval(() => worker.kill('SIGINT'), 10)
    const how: unknown[] = await ended
    clearInterval(again)
    expect([...how, err]).toEqual([0, null, ''])
  })

  it('says in a line that its port is in use', async () => {
    const port = Number(new URL(apis[0]!.url).port)
    const second = serve([], { port })
    await expect(second).rejects.toThrow(StartError)
    await expect(second).rejects.toThrow(
      `Port ${port} is in use: set PORT to another, or to 0 for a free one.`
    )
  })

  it('goes on when a client leaves before its answer', async () => {
    const leaving = request(`${apis[0]?.url}/api/homepage`)
    leaving.on('error', () => undefined)
    leaving.end()
    setTimeout(() => leaving.destroy(), 5)
    expect((await get('/api/homepage')).status).toBe(200)
  })
})

/** A name that stands in one query alone; literals are replaced in the statistics, names are not. */
const MARKS = { products: 'product.id = any', homepage: 'revenue_by_month', shops: 'movie_store.shops where' }

/** Takes a lock, so that a statement can be met in the middle; gives what releases it. */
async function lock(statement: string): Promise<() => Promise<void>> {
  const holder = new pg.Client(postgres.url)
  await holder.connect()
  await holder.query('begin')
  await holder.query(statement)
  return () => holder.end()
}

async function waitingForLocks(): Promise<number> {
  const waiting = "select pid from pg_stat_activity where wait_event_type = 'Lock'"
  return (await database.query(waiting)).rowCount ?? 0
}

/** How often a query has reached PostgreSQL: what the cache is there to keep low. */
async function queries(name: keyof typeof MARKS): Promise<number> {
  const { rows } = await database.query<{ calls: string }>(
    'select coalesce(sum(calls), 0) as calls from pg_stat_statements where query like $1',
    [`%${MARKS[name]}%`]
  )
  return Number(rows[0]?.calls)
}

describe('POST /api/products/:id/views', () => {
  const post = (
    path: string,
    body?: unknown,
    headers: Record<string, string> = {},
    instance = 0
  ): Promise<Answer> => {
    const json = body === undefined ? {} : { 'Content-Type': 'application/json' }
    const init = body === undefined ? {} : { body: JSON.stringify(body) }
    return ask(path, { method: 'POST', headers: { ...json, ...headers }, ...init }, instance)
  }
  const inTables = async (id: number, shop: string): Promise<{ counted: number; events: number }> => {
    const { rows } = await database.query(
      `select (select views from movie_store.product_views where product_id = $1 and shop_id = $2) as counted,
              (select count(*) from movie_store.page_views where product_id = $1 and shop_id = $2) as events`,
      [id, shop]
    )
    return { counted: Number(rows[0].counted ?? 0), events: Number(rows[0].events) }
  }

  it('counts at once, in every process, and reaches the tables of the shop a moment later', async () => {
    const before = await inTables(70, 'main')
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, n) => post('/api/products/70/views', undefined, {}, n % 2))
    )
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([202]))
    const total = before.counted + 20
    expect((await get('/api/products/70/views', {}, 1)).body).toEqual({ data: { views: total } })
    expect(
      (await post('/api/products/70/views', { referrer: 'https://example.org' }, { 'X-Tenant': 'acme' })).body
    ).toEqual({
      data: { views: 1 }
    })
    await expect
      .poll(() => inTables(70, 'main'), { timeout: 10_000 })
      .toEqual({ counted: total, events: before.events + 20 })
    await expect.poll(() => inTables(70, 'acme'), { timeout: 10_000 }).toEqual({ counted: 1, events: 1 })
  })

  it('says what was needed', async () => {
    expect((await post('/api/products/999999/views')).status).toBe(404)
    expect((await post('/api/products/70/views', { from: 'x' })).body.error).toContain('"referrer"')
    expect((await post('/api/products/70/views', { referrer: 5 })).status).toBe(400)
    expect((await post('/api/products/70/views', { referrer: 'a\0b' })).status).toBe(400)
  })
})
