import { readFile } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { Pool } from 'pg'
import { postgresSink } from '../../src/index.js'
import { mulberry32 } from '../deterministic/world.js'
import { readTables, TABLES } from '../faults/behind-storm.js'
import { startCuttingProxy, type CuttingProxy } from '../support/cutting-proxy.js'
import { checkBehind, type BehindVerdict } from './behind-checker.js'
import { BehindFleet } from './behind-fleet.js'
import { readBehindHistory } from './behind-log.js'
import type { Database } from './database.js'
import type { FaultLog } from './fault-log.js'
import { startQueueRedis, type QueueRedis } from './queue-redis.js'
import { strikeServers } from './strike.js'
import { MISSED, type ServerFault } from './topology.js'

interface Parts {
  readonly log: FaultLog
  readonly redis: QueueRedis
  readonly proxy: CuttingProxy
  readonly pool: Pool
  readonly fleet: BehindFleet
}

/** The statement as it travels; not the words of BEGIN, which say READ COMMITTED. */
const COMMIT = 'COMMIT\0'
/** For so long an answer to COMMIT is waited for, to lose it. */
const COMMIT_PATIENCE_MS = 500

/** The part of the lab that writes behind: a Redis of its own, a database in the common PostgreSQL, writers and workers. */
export class BehindPart implements AsyncDisposable {
  readonly #parts: Parts

  static async open(database: Database, folder: string, log: FaultLog): Promise<BehindPart> {
    const [redis, proxy, url] = await Promise.all([
      startQueueRedis(),
      startCuttingProxy(database.port),
      database.create('behind')
    ])
    const pool = new Pool({ connectionString: url, max: 2 })
    pool.on('error', () => undefined) // A fault ended this connection too; the next query opens another.
    await pool.query(TABLES)
    await postgresSink(pool, { table: 'events', value: 'id' }).migrate()
    const databaseUrl = url.replace(`:${database.port}/`, `:${proxy.port}/`)
    const optionsFor = async (place: number) => ({
      redisPort: await redis.portFor(),
      databaseUrl,
      // One writer of the two, and one worker.
      keepsInMemory: place % 2 === 0
    })
    return new BehindPart({
      log,
      redis,
      proxy,
      pool,
      fleet: await BehindFleet.start(optionsFor, folder, log)
    })
  }

  private constructor(parts: Parts) {
    this.#parts = parts
  }

  async begin(round: number): Promise<void> {
    await this.#parts.pool.query('TRUNCATE events, counters, rows, history')
    await this.#parts.fleet.begin(round)
  }

  async strike(seed: number, until: number): Promise<void> {
    const { redis, fleet, log } = this.#parts
    await Promise.all([
      fleet.strike(mulberry32(seed + 0x51ed), until),
      strikeServers([...redis.faults, this.#commitUnanswered], log, mulberry32(seed + 0xb5ad), until)
    ])
  }

  /** Ends the writing, and compares the tables and what was read with what was accepted. */
  async check(memoryMs: number): Promise<BehindVerdict> {
    const { fleet, pool, log } = this.#parts
    const unended = await fleet.rest()
    // What else was told of changes at the last moment has to be dropped from memory.
    await sleep(memoryMs)
    const lines = (await Promise.all(fleet.files.map(linesOf))).flat()
    const rows = [...readBehindHistory(lines).attempts.keys()].filter((name) => name.startsWith('R '))
    const verdict = checkBehind({
      lines,
      tables: await readTables(pool),
      atRest: await fleet.look(rows.map((name) => name.slice(2))),
      faults: log.faults,
      memoryMs
    })
    return { ...verdict, violations: [...unended, ...verdict.violations] }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const { fleet, pool, proxy, redis } = this.#parts
    await fleet[Symbol.asyncDispose]()
    await Promise.all([pool.end(), proxy.stop(), redis.stop()])
  }

  get #commitUnanswered(): ServerFault {
    return {
      what: 'the answer to a COMMIT lost',
      weight: 4,
      mayLoseGuards: false,
      strike: async () =>
        (await this.#parts.proxy.loseAnswerWithin(COMMIT_PATIENCE_MS, COMMIT)) ? undefined : MISSED
    }
  }
}

/** The last line of a killed process may be cut short. */
async function linesOf(file: string): Promise<string[]> {
  const text = await readFile(file, 'utf8')
  return text.slice(0, text.lastIndexOf('\n') + 1).split('\n')
}
