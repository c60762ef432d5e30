import type { PgClient, PgPool, PgQuery } from './postgres-tables.js'

const ROLLBACK_PATIENCE_MS = 2_000

/** What PostgreSQL takes as a time in milliseconds. */
const LONGEST_MS = 0x7fffffff

/** A pool's connections, each under a deadline that the server keeps too. */
export class Connections {
  readonly #pool: PgPool
  readonly #timeoutMs: number
  readonly #begin: string
  /** Not by way of a pooler that gives each transaction another connection: what was prepared is on none of them, or on another. */
  #prepares = true

  constructor(pool: PgPool, timeoutMs: number) {
    this.#pool = pool
    this.#timeoutMs = timeoutMs
    this.#begin = beginning(timeoutMs)
  }

  /** Committed when `work` resolves, but for 'fenced', which leaves nothing behind. */
  async transaction<T>(work: (client: PgClient) => Promise<T>): Promise<T> {
    const prepares = this.#prepares
    try {
      return await this.#transaction(prepares ? work : (client) => work(unprepared(client)))
    } catch (error) {
      if (!prepares || !isLostStatement(error)) throw error
      this.#prepares = false
      return this.#transaction((client) => work(unprepared(client)))
    }
  }

  #transaction<T>(work: (client: PgClient) => Promise<T>): Promise<T> {
    return this.use(async (client) => {
      await client.query(this.#begin)
      const result = await work(client)
      await client.query(result === 'fenced' ? 'ROLLBACK' : 'COMMIT')
      return result
    })
  }

  /** A connection under a deadline; one that failed in any way is not used again. */
  async use<T>(work: (client: PgClient) => Promise<T>): Promise<T> {
    const connecting = this.#pool.connect()
    let client: PgClient | undefined
    let timer: NodeJS.Timeout | undefined
    let isLate = false
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        isLate = true
        reject(new Error(`PostgreSQL did not answer within ${this.#timeoutMs} ms`))
      }, this.#timeoutMs)
    })
    try {
      connecting.then((given) => isLate && given.release(true)).catch(ignoredAfterDeadline)
      client = await Promise.race([connecting, late])
      // A connection that breaks between two statements says so in an event, which ends the process when nobody listens.
      client.on?.('error', shownByTheNextStatement)
      const result = await Promise.race([work(client), late])
      givenBack(client)
      return result
    } catch (error) {
      await rolledBack(client, isLate)
      throw error
    } finally {
      clearTimeout(timer)
      late.catch(ignoredAfterDeadline)
    }
  }
}

/**
 * Whatever the database's default is: who waited for a lock must see what was committed meanwhile. And whoever is given up here
 * must not wait there for a lock, nor keep one. A server does not notice that a connection is gone while it waits for a
 * lock, nor for two hours that a machine without power does not speak any more; and whoever tries again waits in another connection,
 * until there are no more of them. Limits of the user's own that are lower stay.
 */
function beginning(timeoutMs: number): string {
  const mostMs = Math.min(LONGEST_MS, Math.ceil(timeoutMs))
  return `BEGIN ISOLATION LEVEL READ COMMITTED;
    SELECT set_config(name, '${mostMs}', true)
    FROM unnest(ARRAY['statement_timeout', 'idle_in_transaction_session_timeout']) AS name
    WHERE extract(epoch FROM current_setting(name, true)::interval) * 1000 NOT BETWEEN 1 AND ${mostMs}`
}

/** Of a prepared statement that is not there, or is there already although it was not made over this connection. */
function isLostStatement(error: unknown): boolean {
  const { code } = (error ?? {}) as { code?: unknown }
  return code === '26000' || code === '42P05'
}

function unprepared(client: PgClient): PgClient {
  return {
    query: (query) => client.query(typeof query === 'string' ? query : nameless(query)),
    release: (error) => client.release(error)
  }
}

function nameless({ text, values }: PgQuery): PgQuery {
  return values === undefined ? { text } : { text, values }
}

/** An ordinary error leaves a transaction open that only has to be rolled back; of anything else the connection goes. */
async function rolledBack(client: PgClient | undefined, isLate: boolean): Promise<void> {
  if (client === undefined) return
  if (isLate) return client.release(true)
  let timer: NodeJS.Timeout | undefined
  const silence = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error('no answer to ROLLBACK')), ROLLBACK_PATIENCE_MS)
  })
  try {
    await Promise.race([client.query('ROLLBACK'), silence])
    givenBack(client)
  } catch {
    // The first error is the one that tells; this connection is of no more use.
    client.release(true)
  } finally {
    clearTimeout(timer)
  }
}

function shownByTheNextStatement(): void {}

function givenBack(client: PgClient): void {
  client.off?.('error', shownByTheNextStatement)
  client.release()
}

/** The deadline has been thrown already, or was not reached. */
function ignoredAfterDeadline(): void {}
