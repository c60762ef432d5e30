import pg from 'pg'

export interface Database {
  /** Runs one statement. When the signal fires, it is taken off the queue or cancelled in PostgreSQL. */
  query<Row extends pg.QueryResultRow>(
    sql: string,
    parameters: readonly unknown[],
    signal?: AbortSignal
  ): Promise<Row[]>
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

export function openDatabase(url: string, options: DatabaseOptions = {}): Database {
  const pool = new pg.Pool({
    connectionString: url,
    max: options.connections ?? 10,
    application_name: options.applicationName ?? 'reference-api',
    statement_timeout: STATEMENT_TIMEOUT_MS
  })
  // A broken connection is replaced by the pool, and fails the statement under way if there is one. Without listeners it
  // would end the process as well: on the pool for idle ones, on each for those that are lent out.
  pool.on('error', (error) => console.error(`An idle PostgreSQL connection broke: ${error.message}`))
  pool.on('connect', (client) => client.on('error', () => undefined))

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
        cancelQuery(pool, client)
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
    close: () => pool.end(),
    pool
  }
}

/** pg has no way to cancel, PostgreSQL has: from another connection, by the number of the backend. */
function cancelQuery(pool: pg.Pool, client: pg.PoolClient): void {
  const { processID } = client as unknown as { processID: number }
  pool.query('select pg_cancel_backend($1)', [processID]).catch((error: Error) => {
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
