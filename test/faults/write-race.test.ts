import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { Pool } from 'pg'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { startPostgresServer, type PostgresServer } from '../support/postgres-server.js'
import { startWorker, type WorkerProcess } from '../support/processes.js'
import { startRedisServer, type RedisServer } from '../support/redis-server.js'
import { staleReads } from './check-history.js'
import type { Operation, VersionedRow, WriterCommands } from './writer-worker.js'

type Writer = WorkerProcess<WriterCommands>

const KEYS = 4
/** More for a longer proof: KILLS=1000 npx vitest run test/faults/write-race.test.ts */
const KILLS = Number(process.env['KILLS'] ?? 12)
const WRITE_LEASE_MS = 1_000

let redis: RedisServer
let postgres: PostgresServer
let admin: Redis
let database: Pool
let folder: string
let workers: Writer[] = []
let started = 0
/** Of the test that runs: what one that failed left behind must not go on in the next. */
let runsOn = { is: true }

beforeAll(async () => {
  ;[redis, postgres, folder] = await Promise.all([
    // With so little memory that anything may be evicted at any time, once it is full.
    startRedisServer({ args: ['--maxmemory', '8mb', '--maxmemory-policy', 'allkeys-random'] }),
    startPostgresServer({ durable: false }),
    mkdtemp(join(tmpdir(), 'corral-history-'))
  ])
  admin = new Redis(redis.url)
  admin.on('error', () => undefined) // It is killed in some of the tests.
  database = new Pool({ connectionString: postgres.url, max: 2 })
})
beforeEach(async () => {
  await admin.flushall()
  await database.query('DROP TABLE IF EXISTS race')
  await database.query('CREATE TABLE race (id int PRIMARY KEY, version bigint NOT NULL)')
  await database.query('INSERT INTO race SELECT id, 1 FROM generate_series(1, 50) id')
  started = 0
})
afterEach(async () => {
  runsOn.is = false
  runsOn = { is: true }
  await Promise.all(workers.splice(0).map((worker) => worker.kill()))
})
afterAll(async () => {
  admin.disconnect()
  await database.end()
  await Promise.all([redis.stop(), postgres.stop(), rm(folder, { recursive: true })])
})

const historyFile = (run: string, worker: number): string => join(folder, `${run}-${worker}.jsonl`)

async function startWriter(run: string, versioned: boolean): Promise<Writer> {
  // A thousand of them in a row meet a moment in which the machine has much else to do.
  const options = { startTimeoutMs: 120_000 }
  const worker = await startWorker<WriterCommands>(new URL('./writer-worker.ts', import.meta.url), options)
  await worker.call('open', {
    redisUrl: redis.url,
    databaseUrl: postgres.url,
    versioned,
    writeLeaseMs: WRITE_LEASE_MS,
    history: historyFile(run, started++)
  })
  workers.push(worker)
  return worker
}

async function historyOf(run: string): Promise<Operation[]> {
  const files = await Promise.all(
    Array.from({ length: started }, (_, worker) => readFile(historyFile(run, worker), 'utf8'))
  )
  // The last line of a killed process may be cut short; then its operation did not end.
  const lines = files.flatMap((text) => text.slice(0, text.lastIndexOf('\n') + 1).split('\n'))
  return lines.filter((line) => line !== '').map((line) => JSON.parse(line) as Operation)
}

const inDatabase = async (id: number): Promise<number> => {
  const { rows } = await database.query<{ version: string }>('SELECT version FROM race WHERE id = $1', [id])
  return Number(rows[0]!.version)
}

/** Fills Redis up, so that it evicts, until `runs.is` is false. Answers whether it did. */
async function crowdOut(runs: { readonly is: boolean }): Promise<boolean> {
  const value = 'x'.repeat(1_000)
  let evicted = false
  for (let n = 0; runs.is; n++) {
    try {
      await admin.set(`other:${n % 20_000}`, value)
      if (n % 500 === 0) evicted ||= /evicted_keys:[1-9]/.test(await admin.info('stats'))
    } catch {
      await sleep(20) // Redis is away at the moment.
    }
  }
  return evicted
}

/** Once guards of the dead have run out, whatever is cached is what the database has. */
async function expectAgreement(reader: Writer): Promise<void> {
  await sleep(WRITE_LEASE_MS + 200)
  for (let id = 1; id <= KEYS; id++) {
    for (let round = 0; round < 2; round++) {
      expect((await reader.call('get', id))?.version, `row ${id}`).toBe(await inDatabase(id))
    }
  }
}

for (const versioned of [false, true]) {
  const named = versioned ? 'with a row version' : 'without a row version'

  describe(`writers of the same rows, ${named}`, () => {
    it('two processes write row and cache of one key 500 times at once: the cache is never other than the row', async () => {
      const [first, second] = await Promise.all([
        startWriter('pair', versioned),
        startWriter('pair', versioned)
      ])
      let different = 0
      for (let round = 0; round < 500; round++) {
        const writes: VersionedRow[] = await Promise.all([first.call('put', 1), second.call('put', 1)])
        const newest = Math.max(...writes.map(({ version }) => version))
        const read = await (round % 2 === 0 ? first : second).call('get', 1)
        if (read?.version !== newest) different++
      }
      expect(different).toBe(0)
      expect(await inDatabase(1)).toBe(1_001)
    })

    it('in four processes, with reads among them: no read is older than a write that was over', async () => {
      const run = `crowd-${versioned}`
      const all = await Promise.all(Array.from({ length: 4 }, () => startWriter(run, versioned)))
      await Promise.all(all.map((worker) => worker.call('run', 1_250, KEYS, 8, 0.3)))
      const history = await historyOf(run)
      expect(history.length).toBe(5_000)
      expect(staleReads(history)).toEqual([])
      await expectAgreement(all[0]!)
    })

    it(`while ${KILLS} of them are killed in the middle, and Redis evicts, is killed, and loses its memory and scripts: still none (#28)`, {
      timeout: 60_000 + KILLS * 4_000
    }, async () => {
      const run = `killed-${versioned}`
      const witness = await startWriter(run, versioned)
      const witnessing = witness.call('run', 400 * KILLS, KEYS, 4, 0.05, true)
      const thisRun = runsOn
      const crowding = { is: true }
      const crowded = crowdOut(crowding)
      const lanes = [0, 1].map(async (lane) => {
        for (let kill = lane; kill < KILLS && thisRun.is; kill += 2) {
          const writer = await startWriter(run, versioned)
          const running = writer.call('run', 1_000_000, KEYS, 4, 0.5, true).catch(() => undefined)
          await sleep(20 + Math.random() * 150)
          await writer.kill('SIGKILL')
          await running
          if (kill % 8 === 5) {
            await redis.kill()
            await redis.restart()
          } else if (kill % 4 === 1) await admin.flushall()
          else if (kill % 4 === 3) await admin.script('FLUSH')
        }
      })
      await Promise.all([...lanes, witnessing])
      crowding.is = false
      expect(await crowded).toBe(true)
      const history = await historyOf(run)
      console.log(`${history.length} operations of ${started} processes`)
      expect(history.filter(({ kind }) => kind === 'write').length).toBeGreaterThan(KILLS)
      expect(staleReads(history)).toEqual([])
      await expectAgreement(witness)
    })
  })
}

describe('the checker', () => {
  it('finds a stale read, and leaves alone what overlapped', () => {
    const at = (kind: Operation['kind'], version: number, startedAt: number, endedAt: number): Operation => ({
      kind,
      id: 1,
      version,
      startedAt,
      endedAt
    })
    const write = at('write', 2, 10, 20)
    expect(staleReads([write, at('read', 1, 19, 30), at('read', 1, 5, 40), at('read', 2, 21, 22)])).toEqual(
      []
    )
    const stale = at('read', 1, 21, 22)
    expect(staleReads([stale, write])).toEqual([{ read: stale, write }])
  })
})
