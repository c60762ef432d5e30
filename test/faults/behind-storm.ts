/**
 * Writers at full speed while processes, Redis and PostgreSQL are killed and stopped and answers are lost; then the
 * tables are compared with what was acknowledged.
 *
 *     npx tsx test/faults/behind-storm.ts [faults] [seed]
 */
import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { fork, type ChildProcess } from 'node:child_process'
import { Redis } from 'ioredis'
import pg from 'pg'
import { createCache, postgresSink, writeBehind, type Cache } from '../../src/index.js'
import { LUA } from '../../src/redis/lua.generated.js'
import { startCuttingProxy } from '../support/cutting-proxy.js'
import { startPostgresServer } from '../support/postgres-server.js'
import { startRedisServer } from '../support/redis-server.js'
import { createTemporaryFolder } from '../support/temporary-folder.js'
import { until } from '../support/until.js'
import { differences, readLog, type Tables } from './behind-model.js'

export interface StormReport {
  readonly faults: Readonly<Record<string, number>>
  readonly acknowledged: number
  readonly unknown: number
  readonly wrongReads: readonly string[]
  readonly differences: readonly string[]
  /** Processes that ended on their own, which nothing that strikes here is a reason for. */
  readonly crashes: readonly string[]
  readonly durationMs: number
}

const WRITERS = 2
const WORKERS = 2
/** The statement as it travels; not the words of BEGIN, which say READ COMMITTED. */
const COMMIT = 'COMMIT\0'
const APPEND_SHA = createHash('sha1').update(LUA['append-operations']).digest('hex')

export const TABLES = `
  CREATE TABLE events (id text NOT NULL);
  CREATE TABLE counters (id int PRIMARY KEY, n bigint NOT NULL);
  CREATE TABLE rows (id text PRIMARY KEY, n bigint NOT NULL);
  CREATE TABLE history (at bigserial, id text, n bigint);
  CREATE FUNCTION remember() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN INSERT INTO history (id, n) VALUES (NEW.id, NEW.n); RETURN NEW; END';
  CREATE TRIGGER remember AFTER INSERT OR UPDATE ON rows FOR EACH ROW EXECUTE FUNCTION remember()`

export async function runStorm(
  faults: number,
  seed: number,
  say: (line: string) => void = () => undefined
): Promise<StormReport> {
  const startedAt = performance.now()
  const random = generator(seed)
  const folder = await createTemporaryFolder('storm')
  const redis = await startRedisServer({ args: ['--appendonly', 'yes', '--appendfsync', 'everysec'] })
  const postgres = await startPostgresServer({ settings: { restart_after_crash: 'on', max_connections: 60 } })
  const [redisProxy, postgresProxy] = await Promise.all([
    startCuttingProxy(redis.port),
    startCuttingProxy(postgres.port)
  ])
  const pool = new pg.Pool({ connectionString: postgres.url, max: 4 })
  pool.on('error', () => undefined)
  const children: { writers: ChildProcess[]; workers: ChildProcess[] } = { writers: [], workers: [] }
  const counts: Record<string, number> = {}
  const crashes: string[] = []
  let born = 0
  let check: Cache | undefined

  const start = async (role: 'writer' | 'worker'): Promise<ChildProcess> => {
    const name = `${role}${++born}`
    const postgresUrl = postgres.url.replace(`:${postgres.port}/`, `:${postgresProxy.port}/`)
    const args = [
      role,
      `redis://127.0.0.1:${redisProxy.port}`,
      postgresUrl,
      join(folder.path, `${name}.log`),
      name
    ]
    const child = fork(fileURLToPath(new URL('./behind-child.ts', import.meta.url)), args, {
      execArgv: ['--import', 'tsx'],
      stdio: ['ignore', 'inherit', 'inherit', 'ipc']
    })
    await new Promise((resolve, reject) => {
      child.once('message', resolve)
      child.once('exit', (code) => {
        if (code !== null) crashes.push(`${name} ended with code ${code}`)
        reject(new Error(`${name} ended before it began`))
      })
    })
    return child
  }
  const replace = async (list: ChildProcess[], role: 'writer' | 'worker'): Promise<void> => {
    const index = Math.floor(random() * list.length)
    list[index]!.kill('SIGKILL')
    list[index] = await start(role)
  }
  /** Each answers `false` when there was nothing to break. */
  const kinds: Record<string, () => Promise<unknown>> = {
    'append unanswered': () => redisProxy.loseAnswerWithin(500, APPEND_SHA),
    'commit unanswered': () => postgresProxy.loseAnswerWithin(500, COMMIT),
    'worker killed': () => replace(children.workers, 'worker'),
    'writer killed': () => replace(children.writers, 'writer'),
    'worker stopped and continued': async () => {
      const worker = children.workers[Math.floor(random() * children.workers.length)]!
      worker.kill('SIGSTOP')
      await sleep(300 + 1_200 * random())
      worker.kill('SIGCONT')
    },
    'Redis killed': async () => {
      // With `everysec` it answers without having written while the disk syncs, and a kill just then loses what it has
      // accepted. From here on it writes first.
      await setTo(redis.url, 'always')
      await redis.kill('SIGKILL')
      await redis.restart()
    },
    'PostgreSQL killed': async () => {
      let victims: { pid: string }[] = []
      await until(
        'PostgreSQL is up, and somebody works with it',
        async () => {
          const asked = pool.query(
            "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
          )
          // It may still recover from the last time.
          victims = await asked.then(({ rows }) => rows).catch(() => [])
          return victims.length > 0
        },
        60_000
      )
      // One backend that dies makes the server end all others and recover from its log.
      process.kill(Number(victims[Math.floor(random() * victims.length)]!.pid), 'SIGKILL')
    }
  }
  // How often of a hundred; processes take longest to come back, and with them gone nothing is tested.
  const weights: [string, number][] = [
    ['append unanswered', 30],
    ['commit unanswered', 30],
    ['worker killed', 9],
    ['writer killed', 6],
    ['worker stopped and continued', 10],
    ['Redis killed', 9],
    ['PostgreSQL killed', 6]
  ]

  try {
    await pool.query(TABLES)
    await postgresSink(pool, { table: 'events', value: 'id' }).migrate()
    children.workers.push(...(await Promise.all(Array.from({ length: WORKERS }, () => start('worker')))))
    children.writers.push(...(await Promise.all(Array.from({ length: WRITERS }, () => start('writer')))))
    for (let fault = 0, attempts = 0; fault < faults && attempts < 10 * faults; attempts++) {
      let draw = random() * 100
      const [kind] = weights.find(([, weight]) => (draw -= weight) < 0) ?? weights[0]!
      const struck = await kinds[kind]!()
      await sleep(50 * random())
      if (struck === false) continue
      counts[kind] = (counts[kind] ?? 0) + 1
      if (++fault % 50 === 0) say(`${fault} faults, ${Math.round((performance.now() - startedAt) / 1000)} s`)
    }
    // Writers end in the middle of what they do; what they left in Redis is flushed by the workers.
    for (const writer of children.writers) writer.kill('SIGKILL')
    check = createCache({ redis: redis.url, namespace: 'storm', commandTimeout: '2s' })
    const sink = postgresSink(pool, { table: 'counters', key: 'id', value: 'n' })
    const load = (): undefined => undefined
    for (const name of ['counters', 'rows'])
      check.collection(name, { ttl: 1, load, write: writeBehind({ sink, shards: 3 }) })
    check.ingest('events', { sink: postgresSink(pool, { table: 'events', value: 'id' }), shards: 3 })
    await sleep(500)
    await check.flush({ timeout: '60s' })
    const names = readdirSync(folder.path).filter((file) => file.endsWith('.log'))
    const lines = names.flatMap((file) => readFileSync(join(folder.path, file), 'utf8').split('\n'))
    const log = readLog(lines)
    return {
      faults: counts,
      acknowledged: log.acknowledged,
      unknown: log.unknown,
      wrongReads: log.wrongReads,
      differences: differences(log, await readTables(pool)),
      crashes,
      durationMs: performance.now() - startedAt
    }
  } finally {
    for (const child of [...children.writers, ...children.workers]) child.kill('SIGKILL')
    await check?.close({ timeout: 100 })
    await pool.end()
    await Promise.all([redisProxy.stop(), postgresProxy.stop(), redis.stop(), postgres.stop()])
    await folder.remove()
  }
}

export async function readTables(pool: pg.Pool): Promise<Tables> {
  const all = async (text: string): Promise<Record<string, string>[]> => (await pool.query(text)).rows
  const history = new Map<string, number[]>()
  for (const { id, n } of await all('SELECT id, n FROM history ORDER BY at')) {
    history.set(id!, [...(history.get(id!) ?? []), Number(n)])
  }
  const pairs = (rows: Record<string, string>[]): [string, number][] =>
    rows.map(({ id, n }) => [String(id), Number(n)])
  return {
    events: new Map(pairs(await all('SELECT id, count(*) AS n FROM events GROUP BY id'))),
    counters: new Map(pairs(await all('SELECT id, n FROM counters')).map(([id, n]) => [Number(id), n])),
    rows: new Map(pairs(await all('SELECT id, n FROM rows'))),
    history
  }
}

async function setTo(url: string, appendfsync: string): Promise<void> {
  const admin = new Redis(url)
  await admin.config('SET', 'appendfsync', appendfsync)
  admin.disconnect()
}

/** mulberry32: the same storm for the same seed, as far as processes allow. */
function generator(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [faults, seed] = [Number(process.argv[2] ?? 1_000), Number(process.argv[3] ?? Date.now() % 1e6)]
  console.log(`${faults} faults, seed ${seed}`)
  const report = await runStorm(faults, seed, console.log)
  console.log(report)
  const { differences: wrongRows, wrongReads, crashes } = report
  process.exit(wrongRows.length + wrongReads.length + crashes.length === 0 ? 0 : 1)
}
