import pg from 'pg'

export interface Database {
  /** Runs one statement. When the signal fires, it is not begun any more, or cancelled in PostgreSQL. */
  query<Row extends pg.QueryResultRow>(
    sql: string,
    parameters: readonly unknown[],
    signal?: AbortSignal
  ): Promise<Row[]>
  /** Rejects when PostgreSQL does not answer. Never waits behind statements. */
  ping(): Promise<void>
  close(): Promise<void>
  /** For who runs transactions of their own. */
  readonly pool: pg.Pool
}

export interface DatabaseOptions {
  /** Connections of this process. Default 10. */
  readonly connections?: number
  /** How PostgreSQL lists them in pg_stat_activity. */
  readonly applicationName?: string
}

/** The longest a statement may run: what nobody waits for any more should not hold a connection. */
const STATEMENT_TIMEOUT_MS = 30_000
/** Beside the others, for what is asked just when all of them are busy: a health check, and to cancel a statement. */
const CONTROL_CONNECTIONS = 2
/** A health check that has no answer by then is one. */
const CONTROL_TIMEOUT_MS = 2_000

export function openDatabase(url: string, options: DatabaseOptions = {}): Database {
  const applicationName = options.applicationName ?? 'reference-api'
  const pool = openPool({
    connectionString: url,
    max: options.connections ?? 10,
    application_name: applicationName,
    statement_timeout: STATEMENT_TIMEOUT_MS
  })
  const control = openPool({
    connectionString: url,
    max: CONTROL_CONNECTIONS,
    application_name: applicationName,
    connectionTimeoutMillis: CONTROL_TIMEOUT_MS,
    query_timeout: CONTROL_TIMEOUT_MS
  })

  return {
    query: async <Row extends pg.QueryResultRow>(
      sql: string,
      parameters: readonly unknown[],
      signal?: AbortSignal
    ): Promise<Row[]> => {
      const client = await pool.connect()
      let unusable = false
      const cancel = (): void => {
        unusable = true
        cancelQuery(control, client)
      }
      // The pool does not see that a connection breaks while it is lent out.
      const markBroken = (): void => {
        unusable = true
      }
      client.once('error', markBroken)
      try {
        // Whoever asked may have left while this waited for a connection.
        signal?.throwIfAborted()
        signal?.addEventListener('abort', cancel, { once: true })
        return (await client.query<Row>(sql, [...parameters])).rows
      } finally {
        signal?.removeEventListener('abort', cancel)
        client.off('error', markBroken)
        // A late cancellation would hit the next statement of the same connection, so there is none.
        client.release(unusable)
      }
    },
    ping: async () => {
      await control.query('select 1')
    },
    close: async () => {
      await pool.end()
      await control.end()
    },
    pool
  }
}

/**
 * A broken connection is replaced by the pool, and fails the statement under way if there is one. Without listeners it
 * would end the process as well: on the pool for idle ones, on each for those that are lent out.
 */
function openPool(config: pg.PoolConfig): pg.Pool {
  const pool = new pg.Pool(config)
  pool.on('error', (error) => console.error(`An idle PostgreSQL connection broke: ${error.message}`))
  pool.on('connect', (client) => client.on('error', () => undefined))
  return pool
}

/**
 * pg has no way to cancel, PostgreSQL has: from another connection, by the number of the backend. Not one of those that
 * run statements: when all of these are held by what is to be cancelled, none would come free for it.
 */
function cancelQuery(control: pg.Pool, client: pg.PoolClient): void {
  const { processID } = client as unknown as { processID: number }
  control.query('select pg_cancel_backend($1)', [processID]).catch((error: Error) => {
    console.error(`A statement could not be cancelled and ends by its timeout: ${error.message}`)
  })
}

/** One connection of its own, for work that is no request. */
export async function connectClient(config: pg.ClientConfig): Promise<pg.Client> {
  const client = new pg.Client(config)
  // A connection that breaks fails the statement under way, which is where it is dealt with; without a listener it
  // would end the process as well.
  client.on('error', () => undefined)
  await client.connect()
  return client
}
