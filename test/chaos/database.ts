import { setTimeout as sleep } from 'node:timers/promises'
import { Pool } from 'pg'
import { startPostgresServer, type PostgresServer } from '../support/postgres-server.js'
import type { Commit } from './history.js'
import { COLLECTIONS, ROWS } from './member-options.js'
import type { ServerFault } from './topology.js'

/** The source of record: rows, and every version that was ever committed, noted in the same transaction. */
export class Database implements AsyncDisposable {
  readonly #server: PostgresServer
  readonly #pool: Pool

  static async start(): Promise<Database> {
    const database = new Database(await startPostgresServer({ durable: false }))
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
        strike: async () => void (await this.#pool.query(`SELECT pg_terminate_backend(pid) ${OTHERS}`))
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

  /** The server and every process that serves a connection. */
  async #stopFor(ms: number): Promise<void> {
    const { rows } = await this.#pool.query<{ pid: number }>(`SELECT pid ${OTHERS}`)
    const pids = [this.#server.pid, ...rows.map(({ pid }) => pid)]
    signalAll(pids, 'SIGSTOP')
    await sleep(ms)
    signalAll(pids, 'SIGCONT')
  }
}

const OTHERS = 'FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND usename IS NOT NULL'

function signalAll(pids: readonly number[], signal: 'SIGSTOP' | 'SIGCONT'): void {
  for (const pid of pids) {
    try {
      process.kill(pid, signal)
    } catch (error) {
      // A connection that has ended meanwhile.
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
    }
  }
}
