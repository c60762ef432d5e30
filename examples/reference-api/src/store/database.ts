import pg from 'pg'

export interface Database {
  /** Runs one statement. When the signal fires, it is taken off the queue or cancelled in PostgreSQL. */
  query<Row extends pg.QueryResultRow>(
    sql: string,
    parameters: readonly unknown[],
    signal?: AbortSignal
  ): Promise<Row[]>
  close(): Promise<void>
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
  // An idle connection that breaks is replaced by the pool; without a listener it would end the process.
  pool.on('error', (error) => console.error(`An idle PostgreSQL connection broke: ${error.message}`))

  return {
    query: async <Row extends pg.QueryResultRow>(
      sql: string,
      parameters: readonly unknown[],
      signal?: AbortSignal
    ): Promise<Row[]> => {
      const client = await pool.connect()
      let cancelled = false
      const cancel = (): void => {
        cancelled = true
        cancelQuery(pool, client)
      }
      try {
        // Whoever asked may have left while this waited for a connection.
        signal?.throwIfAborted()
        signal?.addEventListener('abort', cancel, { once: true })
        return (await client.query<Row>(sql, [...parameters])).rows
      } finally {
        signal?.removeEventListener('abort', cancel)
        // A late cancellation would hit the next statement of the same connection, so there is none.
        client.release(cancelled)
      }
    },
    close: () => pool.end()
  }
}

/** pg has no way to cancel, PostgreSQL has: from another connection, by the number of the backend. */
function cancelQuery(pool: pg.Pool, client: pg.PoolClient): void {
  const { processID } = client as unknown as { processID: number }
  pool.query('select pg_cancel_backend($1)', [processID]).catch((error: Error) => {
    console.error(`A statement could not be cancelled and ends by its timeout: ${error.message}`)
  })
}
