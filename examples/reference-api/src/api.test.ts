import { request } from 'node:http'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { Redis } from 'ioredis'
import pg from 'pg'
import { type PostgresServer, startPostgresServer } from '../../../test/support/postgres-server.js'
import { type RedisServer, startRedisServer } from '../../../test/support/redis-server.js'
import { startApi } from './api.js'
import { loadStore } from './seed/load.js'
import type { ApiServer } from './server.js'

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
  const options = { databaseUrl: postgres.url, redisUrl: redis.url }
  apis = await Promise.all([startApi(options), startApi(options)])
})

afterAll(async () => {
  await Promise.all((apis ?? []).map((api) => api.close()))
  admin?.disconnect()
  await database?.end()
  await Promise.all([redis?.stop(), postgres?.stop()])
})

beforeEach(async () => {
  await admin.flushall()
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
  const response = await fetch(`${apis[instance]?.url}${path}`, { headers })
  return { status: response.status, headers: response.headers, body: (await response.json()) as Body }
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
    await expect.poll(async () => (await get('/health')).body['redis'], { timeout: 10_000 }).toBe('ready')
  })

  it('fails the request under way when its connection to the database breaks, and goes on', async () => {
    await get('/api/homepage', { 'X-Tenant': 'acme' })
    await admin.flushall()
    const answer = get('/api/homepage')
    const isRunning =
      "select pid from pg_stat_activity where state = 'active' and query like '%revenue_by_month%'"
    await expect
      .poll(
        async () =>
          (
            await database.query(
              `select pg_terminate_backend(pid) from (${isRunning} and pid <> pg_backend_pid()) as running`
            )
          ).rowCount,
        { interval: 1 }
      )
      .toBe(1)
    expect((await answer).status).toBe(500)
    // For a second nobody tries again.
    await expect.poll(async () => (await get('/api/homepage')).status, { timeout: 10_000 }).toBe(200)
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
const MARKS = { products: 'mpaa_rating', homepage: 'revenue_by_month', shops: 'movie_store.shops where' }

/** How often a query has reached PostgreSQL: what the cache is there to keep low. */
async function queries(name: keyof typeof MARKS): Promise<number> {
  const { rows } = await database.query<{ calls: string }>(
    'select coalesce(sum(calls), 0) as calls from pg_stat_statements where query like $1',
    [`%${MARKS[name]}%`]
  )
  return Number(rows[0]?.calls)
}
