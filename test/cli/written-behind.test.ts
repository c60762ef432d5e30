import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { Redis } from 'ioredis'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Cache } from '../../src/index.js'
import { startPostgresServer, type PostgresServer } from '../support/postgres-server.js'
import { startRedisServer, type RedisServer } from '../support/redis-server.js'
import { until } from '../support/until.js'
import { corral } from './command-line.js'

let redis: RedisServer
let postgres: PostgresServer
let pool: pg.Pool
let folder: string

/** A program's own file with its cache, as `corral worker` is given. */
const program = (table: string): string => `
  import pg from ${JSON.stringify(import.meta.resolve('pg'))}
  import { createCache, postgresSink } from ${JSON.stringify(new URL('../../src/index.ts', import.meta.url).href)}
  const pool = new pg.Pool({ connectionString: ${JSON.stringify(postgres.url)}, allowExitOnIdle: true })
  // As a program does: its server goes before it does.
  pool.on('error', () => undefined)
  export const sink = postgresSink(pool, { table: '${table}', columns: ['path', 'ms'] })
  export const cache = createCache({ redis: ${JSON.stringify(redis.url)}, namespace: 'shop', commandTimeout: '2s' })
  export const views = cache.ingest('${table}', { sink, flushEvery: '50ms' })
`

beforeAll(async () => {
  ;[redis, postgres] = await Promise.all([startRedisServer(), startPostgresServer({ durable: false })])
  pool = new pg.Pool({ connectionString: postgres.url })
  await pool.query('CREATE TABLE page_views (path text, ms int CHECK (ms >= 0))')
  folder = await mkdtemp(join(tmpdir(), 'corral-cli-'))
})
afterAll(async () => {
  await pool.end()
  await Promise.all([redis.stop(), postgres.stop(), rm(folder, { recursive: true })])
})

interface Program {
  readonly sink: { migrate(): Promise<void> }
  readonly views: { append(event: { path: string; ms: number }): Promise<unknown> }
  readonly cache: { close(): Promise<void>; flush(options: { timeout: string }): Promise<void> }
}

interface WithWorker {
  readonly cache: Pick<Cache, 'worker' | 'deadLetters'>
}

/** Each command loads a file of its own: a module is loaded once in a process, and a command closes its cache. */
async function fileOf(name: string, table = 'page_views'): Promise<string> {
  await writeFile(join(folder, name), program(table))
  return name
}

describe('what is written behind, from the command line', () => {
  it('is brought to its sink by a worker, until it is told to end', async () => {
    const mine = (await import(join(folder, await fileOf('app.ts')))) as Program
    await mine.sink.migrate()
    const told = new AbortController()
    const working = corral(['worker', await fileOf('worker.ts'), '--drain', '2s'], {
      folder,
      interrupted: told.signal
    })
    for (let ms = 0; ms < 50; ms++) await mine.views.append({ path: '/', ms })
    await until('all of it is in the table', async () => {
      return (await pool.query<{ n: string }>('SELECT count(*) AS n FROM page_views')).rows[0]?.n === '50'
    })
    told.abort()
    const { code, out } = await working
    expect([code, out]).toEqual([0, expect.stringMatching(/ works\n.* has stopped\n$/s)])

    // One that the table refuses.
    await mine.views.append({ path: '/broken', ms: -1 })
    const again = new AbortController()
    const second = corral(['worker', await fileOf('worker-2.ts')], { folder, interrupted: again.signal })
    await mine.cache.flush({ timeout: '10s' })
    again.abort()
    expect((await second).code).toBe(0)

    const listed = await corral(['dead-letters', await fileOf('letters.ts'), '--json'], { folder })
    expect(listed.code).toBe(0)
    expect(JSON.parse(listed.out)).toMatchObject([
      { queue: 'page_views', reason: expect.stringMatching(/check/) }
    ])
    expect(listed.out).not.toContain('/broken')
    const dropped = await corral(['dead-letters', await fileOf('letters-2.ts'), 'drop', '--yes'], { folder })
    expect([dropped.code, dropped.out]).toEqual([0, '1 dead letter forgotten.\n'])
    const none = await corral(['dead-letters', await fileOf('letters-3.ts')], { folder })
    expect([none.code, none.out]).toEqual([0, 'There are no dead letters.\n'])
    await mine.cache.close()
  }, 60_000)

  it('stays where it was put aside when the command was ended before it came to that', async () => {
    const mine = (await import(join(folder, await fileOf('app-2.ts')))) as Program & WithWorker
    await mine.sink.migrate()
    await mine.views.append({ path: '/broken', ms: -1 })
    const worker = mine.cache.worker()
    await mine.cache.flush({ timeout: '10s' })
    await worker.stop()
    // It is a while until this one is closed: its worker waits for its database.
    const slow = `${program('page_views')}
      import { NOBODYS } from ${JSON.stringify(new URL('../support/nobodys-sink.ts', import.meta.url).href)}
      cache.ingest('silent', { sink: { ...NOBODYS, take: () => new Promise(() => undefined) }, shards: 1 })
      cache.worker()
      await cache.ready()
      await new Promise((resolve) => setTimeout(resolve, 500))
    `
    await writeFile(join(folder, 'slow.ts'), slow)
    const interrupted = AbortSignal.abort()
    const dropping = await corral(['dead-letters', 'slow.ts', 'drop', '--yes'], { folder, interrupted })
    expect([dropping.code, dropping.out]).toEqual([130, ''])
    const left = await mine.cache.deadLetters.list('page_views')
    expect(left).toHaveLength(1)
    await mine.cache.deadLetters.drop(left)
    await mine.cache.close()
  }, 60_000)

  it.each([
    ['one Ctrl-C', 'SIGINT'],
    ['one SIGTERM', 'SIGTERM']
  ] as const)(
    'is brought there by a worker that hears of %s twice, as npm has it',
    async (_, signal) => {
      const mine = (await import(join(folder, await fileOf(`app-${signal}.ts`)))) as Program
      await mine.sink.migrate()
      await pool.query('TRUNCATE page_views')
      const main = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url))
      const file = await fileOf(`worker-${signal}.ts`)
      const child = spawn(process.execPath, ['--import', import.meta.resolve('tsx'), main, 'worker', file], {
        cwd: folder,
        stdio: ['ignore', 'pipe', 'inherit']
      })
      const ended = once(child, 'close')
      let out = ''
      child.stdout.setEncoding('utf8').on('data', (text: string) => {
        out += text
      })
      const locking = await pool.connect()
      try {
        await until('it works', () => out.includes(' works'), 30_000)
        await locking.query('BEGIN; LOCK TABLE page_views')
        await mine.views.append({ path: '/late', ms: 1 })
        for (let time = 0; time < 2; time++) {
          child.kill(signal)
          await sleep(50)
        }
      } finally {
        await locking.query('COMMIT')
        locking.release()
      }
      expect(await ended).toEqual([0, null])
      expect(out).toMatch(/ has stopped\n$/)
      expect((await pool.query('SELECT path FROM page_views')).rows).toEqual([{ path: '/late' }])
      await mine.cache.close()
    },
    60_000
  )

  it('ends when it is told to before its database has said anything', async () => {
    await writeFile(
      join(folder, 'silent.ts'),
      `
      import { createCache } from ${JSON.stringify(new URL('../../src/index.ts', import.meta.url).href)}
      import { NOBODYS } from ${JSON.stringify(new URL('../support/nobodys-sink.ts', import.meta.url).href)}
      const sink = { ...NOBODYS, check: () => new Promise(() => undefined) }
      export const cache = createCache({ redis: ${JSON.stringify(redis.url)}, namespace: 'silent' })
      cache.ingest('events', { sink })
    `
    )
    const told = new AbortController()
    const working = corral(['worker', 'silent.ts', '--drain', '0'], { folder, interrupted: told.signal })
    const client = new Redis(redis.url)
    await until(
      'it works on its shards',
      async () => (await client.keys('silent:#behind:*owner')).length > 0,
      30_000
    )
    client.disconnect()
    told.abort()
    const { code, out } = await working
    expect([code, out]).toEqual([0, expect.stringMatching(/^[^\n]+ has stopped\n$/)])

    const before = await corral(['worker', await fileOf('never.ts')], { folder, interrupted: told.signal })
    expect([before.code, before.out]).toEqual([0, expect.stringMatching(/has stopped\n$/)])
  }, 60_000)

  it('ends with a reason when a table is missing, the file is, or exports no cache', async () => {
    const unready = await corral(['worker', await fileOf('unready.ts', 'not_there')], { folder })
    expect([unready.code, unready.err]).toEqual([1, expect.stringContaining('not_there')])
    const absent = await corral(['worker', 'absent.ts'], { folder })
    expect([absent.code, absent.err]).toEqual([2, expect.stringContaining('cannot be loaded')])
    await writeFile(join(folder, 'empty.ts'), 'export const cache = 7')
    const empty = await corral(['worker', 'empty.ts'], { folder })
    expect([empty.code, empty.err]).toEqual([2, expect.stringContaining('exports no cache')])
    const drain = await corral(['worker', 'empty.ts', '--drain', 'soon'], { folder })
    expect([drain.code, drain.err]).toEqual([2, expect.stringContaining('--drain')])
  })
})
