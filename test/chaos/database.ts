import { setTimeout as sleep } from 'node:timers/promises'
import { Client, Pool } from 'pg'
import { startPostgresServer, type PostgresServer } from '../support/postgres-server.js'
import { standStill } from '../support/standstill.js'
import { until } from '../support/until.js'
import type { Commit } from './history.js'
import { COLLECTIONS, ROWS } from './member-options.js'
import { MISSED, type ServerFault } from './topology.js'

/** The source of record: rows, and every version that was ever committed, noted in the same transaction. */
export class Database implements AsyncDisposable {
  readonly #server: PostgresServer
  readonly #pool: Pool

  static async start(): Promise<Database> {
    const database = new Database(await startPostgresServer({ durable: false, settings: SETTINGS }))
    await database.#prepare()
    return database
  }

  private constructor(server: PostgresServer) {
    this.#server = server
    this.#pool = new Pool({ connectionString: server.url, max: 2 })
    this.#pool.on('error', () => undefined) // A fault ended this connection too; the next query opens another.
  }

  get url(): string {
    return this.#server.url
  }

  get port(): number {
    return this.#server.port
  }

  /** Another database in the same server; answers its URL. */
  async create(name: string): Promise<string> {
    await this.#pool.query(`CREATE DATABASE ${name}`)
    return this.#server.url.replace(/postgres$/, name)
  }

  get faults(): readonly ServerFault[] {
    return [
      {
        what: 'PostgreSQL stopped',
        weight: 1,
        mayLoseGuards: true,
        strike: (random) => this.#stopFor(50 + 1_000 * random())
      },
      {
        what: 'connections of PostgreSQL ended',
        weight: 1,
        mayLoseGuards: false,
        strike: async () => {
          const { rowCount } = await this.#pool.query(`SELECT pg_terminate_backend(pid) ${OTHERS}`)
          return rowCount === 0 ? MISSED : undefined
        }
      },
      {
        what: 'PostgreSQL killed, and up again from its log',
        weight: 1,
        mayLoseGuards: true,
        strike: () => this.#crash()
      }
    ]
  }

  /** What the rows are now; what is committed from now on is what `commits` will tell. */
  async begin(): Promise<Commit[]> {
    await this.#pool.query('TRUNCATE changes')
    return this.#select('SELECT id, version, by FROM rows')
  }

  commits(): Promise<Commit[]> {
    return this.#select('SELECT id, version, by FROM changes')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#pool.end()
    await this.#server.stop()
  }

  async #prepare(): Promise<void> {
    await this.#pool.query(
      'CREATE TABLE rows (id text PRIMARY KEY, version bigint NOT NULL, by text NOT NULL)'
    )
    await this.#pool.query('CREATE TABLE changes (id text, version bigint, by text)')
    for (const name of COLLECTIONS) {
      await this.#pool.query(
        `INSERT INTO rows SELECT $1 || ':' || n, 1, 'the start' FROM generate_series(1, ${ROWS}) n`,
        [name]
      )
    }
  }

  async #select(query: string): Promise<Commit[]> {
    const { rows } = await this.#pool.query<{ id: string; version: string; by: string }>(query)
    return rows.map(({ id, version, by }) => ({ id, version: Number(version), by }))
  }

  /** One of its processes dies, so it ends every other, forgets what it held in memory, and recovers from its log. */
  async #crash(): Promise<unknown> {
    const { rows } = await this.#pool.query<{ pid: number }>(`SELECT pid ${OTHERS} LIMIT 1`)
    // Nobody is connected just now.
    if (rows[0] === undefined) return MISSED
    const [{ pid }] = rows as [{ pid: number }]
    kill(pid)
    // Once the server has taken note of the death it lets nobody in before it has recovered.
    await until('PostgreSQL has noticed', () => !isRunning(pid), RECOVERY_MS)
    await until('PostgreSQL has recovered', () => this.#letsIn(), RECOVERY_MS)
    return undefined
  }

  async #letsIn(): Promise<boolean> {
    const client = new Client({ connectionString: this.#server.url })
    client.on('error', () => undefined) // Told by `connect`.
    try {
      await client.connect()
      return true
    } catch {
      return false
    } finally {
      await client.end()
    }
  }

  /** The server and every process that serves a connection. */
  async #stopFor(ms: number): Promise<void> {
    const { rows } = await this.#pool.query<{ pid: number }>(`SELECT pid ${OTHERS}`)
    const pids = [this.#server.pid, ...rows.map(({ pid }) => pid)]
    const standstill = await standStill(pids)
    await sleep(ms)
    await standstill.goOn()
  }
}

/** A commit that was answered is in the log, which outlives every process of the server, though not the machine. */
const SETTINGS = {
  synchronous_commit: 'on',
  full_page_writes: 'on',
  restart_after_crash: 'on',
  max_connections: 100
}
const RECOVERY_MS = 120_000
const OTHERS = 'FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND usename IS NOT NULL'

function isRunning(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch (error) {
    // A connection that has ended meanwhile.
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}
