import { toMilliseconds } from '../durations.js'
import { InvalidOptionError } from '../errors.js'
import type { CacheId } from '../ports.js'
import type { Claim, Mark, Sink, SinkBatch, SinkOperation } from '../sink.js'
import { resolveSinkOptions, type PostgresSinkOptions } from './postgres-options.js'
import { named, Statements, type RowShape, type Statement } from './postgres-statements.js'
import {
  assertBookkeeping,
  postgresSinkMigration,
  quoted,
  readColumnTypes,
  type PgClient,
  type PgPool
} from './postgres-tables.js'
import { UnwritableValueError } from './postgres-text.js'

/** A sink that ends in a table of PostgreSQL. */
export interface PostgresSink<Id extends CacheId = CacheId, Value = unknown> extends Sink<Id, Value> {
  /** Makes the two tables that it keeps its books in. Changes nothing when they are there. */
  migrate(): Promise<void>
  /** The same as text, for a migration tool. */
  readonly migrateSql: string
}

/**
 * A producer's mark is of no use once nobody can send its batches again, a Redis that is restored from a copy included. Counted
 * back from what was applied to the shard last, and not from now: while nobody works, what a worker left in the stream
 * between its commit and the trim lies there for as long, and has nothing but its mark.
 */
const MARKS_KEPT = "interval '7 days'"

/**
 * Applies batches to a table of PostgreSQL, with `unnest`, in one transaction with its own books. Synchronous commit is
 * switched on for it where the database has it off. Never makes a table unasked.
 *
 * @param pool a `Pool` of the package `pg`, or whatever has its `connect`
 */
export function postgresSink<Id extends CacheId = CacheId, Value = unknown>(
  pool: PgPool,
  options: PostgresSinkOptions<Id, Value>
): PostgresSink<Id, Value> {
  if (typeof (pool as Partial<PgPool> | null)?.connect !== 'function') {
    throw new InvalidOptionError('pool', pool, 'a Pool of the package "pg"')
  }
  const { shape, kinds } = resolveSinkOptions(options as PostgresSinkOptions)
  const timeoutMs = options.timeout === undefined ? 30_000 : toMilliseconds(options.timeout, 'timeout', 1)
  return new Postgres(pool, shape, kinds, options.schema, timeoutMs) as unknown as PostgresSink<Id, Value>
}

class Postgres implements PostgresSink {
  readonly name: string
  readonly tenants: boolean
  readonly kinds: readonly SinkOperation['kind'][]
  readonly migrateSql: string
  readonly #pool: PgPool
  readonly #shape: RowShape
  readonly #schema: string | undefined
  readonly #timeoutMs: number
  readonly #shards: string
  readonly #marks: string
  #statements: Promise<Statements> | undefined

  constructor(
    pool: PgPool,
    shape: RowShape,
    kinds: readonly SinkOperation['kind'][],
    schema: string | undefined,
    timeoutMs: number
  ) {
    this.name = `postgres:${shape.table}`
    this.tenants = shape.tenant !== undefined
    this.kinds = kinds
    this.migrateSql = postgresSinkMigration(schema)
    this.#pool = pool
    this.#shape = shape
    this.#schema = schema
    this.#timeoutMs = timeoutMs
    const place = schema === undefined ? '' : `${quoted(schema)}.`
    this.#shards = `${place}corral_shards`
    this.#marks = `${place}corral_marks`
  }

  async migrate(): Promise<void> {
    await this.#connected(async (client) => {
      // Two processes that start together would both find nothing, and one would fail.
      await client.query('BEGIN')
      await client.query("SELECT pg_advisory_xact_lock(hashtext('corral migration'))")
      await client.query(this.migrateSql)
      await client.query('COMMIT')
    })
  }

  async check(): Promise<void> {
    this.#statements = undefined
    await this.#prepared()
    await this.#connected((client) => assertBookkeeping(client, this.name, this.#schema))
  }

  async take(shard: string): Promise<Claim> {
    await this.#prepared()
    return this.#transaction(async (client) => {
      const taken = await client.query({
        text: `INSERT INTO ${this.#shards} AS s (shard, epoch) VALUES ($1, 1)
               ON CONFLICT (shard) DO UPDATE SET epoch = s.epoch + 1, taken_at = now()
               RETURNING epoch, ${SYNCHRONOUS}`,
        values: [shard]
      })
      await client.query({
        text: `DELETE FROM ${this.#marks} WHERE shard = $1
               AND applied_at < (SELECT max(applied_at) FROM ${this.#marks} WHERE shard = $1) - ${MARKS_KEPT}`,
        values: [shard]
      })
      const { rows } = await client.query({
        text: `SELECT producer, batch, index, without FROM ${this.#marks} WHERE shard = $1`,
        values: [shard]
      })
      const marks = rows.map((row): [string, Mark] => [
        row['producer'] as string,
        { batch: Number(row['batch']), index: Number(row['index']), without: row['without'] as number[] }
      ])
      return { epoch: Number(taken.rows[0]!['epoch']), marks: new Map(marks) }
    })
  }

  async apply(batch: SinkBatch): ReturnType<Sink['apply']> {
    const prepared = await this.#prepared()
    const applying = this.#applied(batch, prepared)
    return applying.catch((error: unknown) => this.#failed(error, prepared))
  }

  async #applied(
    { shard, epoch, operations, marks }: SinkBatch,
    prepared: Statements
  ): ReturnType<Sink['apply']> {
    const statements = prepared.for(operations)
    return this.#transaction(async (client) => {
      const { rows } = await client.query(
        named(`SELECT epoch, ${SYNCHRONOUS} FROM ${this.#shards} WHERE shard = $1 FOR UPDATE`, [shard])
      )
      if (Number(rows[0]?.['epoch']) !== epoch) return 'fenced'
      const applied = await written(client, statements)
      await this.#store(client, shard, marks)
      return applied
    })
  }

  /** Perhaps a column has another type since: the table is looked at again before an operation is blamed. */
  async #failed(error: unknown, prepared: Statements): Promise<never> {
    this.#statements = undefined
    if (this.isPoison(error) && (await this.#prepared()).signature !== prepared.signature) {
      throw new Error(`Table "${this.#shape.table}" has changed`, { cause: error })
    }
    throw error
  }

  async write(operation: SinkOperation): Promise<Written> {
    const statements = (await this.#prepared()).for([operation])
    return this.#transaction((client) => written(client, statements))
  }

  /**
   * Of PostgreSQL's classes: 21, two operations whose ids differ and name one row, which pass one after the other; 22 data, 23
   * constraints, 44 check options; a program limit such as an index row that is too long; and what a trigger raises, under
   * a code of its own too. Everything else says nothing about a row: a lost connection, a lock, a missing right.
   */
  isPoison(error: unknown): boolean {
    if (error instanceof UnwritableValueError) return true
    const { code, routine } = (error ?? {}) as { code?: unknown; routine?: unknown }
    if (typeof code !== 'string') return false
    if (/^(21|22|23|44|P0)...$|^54000$/.test(code)) return true
    // A trigger may also ask for another attempt, by the code of a lock or of what is away.
    return routine === RAISED && !/^(08|40|53|55|57|58)...$/.test(code)
  }

  async #store(client: PgClient, shard: string, marks: ReadonlyMap<string, Mark>): Promise<void> {
    const all = [...marks]
    await client.query(
      named(
        `INSERT INTO ${this.#marks} (shard, producer, batch, index, without)
         SELECT $1, producer, batch, index, without::integer[]
         FROM unnest($2::text[], $3::bigint[], $4::integer[], $5::text[]) AS m (producer, batch, index, without)
         ON CONFLICT (shard, producer)
         DO UPDATE SET batch = excluded.batch, index = excluded.index, without = excluded.without, applied_at = now()`,
        [
          shard,
          all.map(([producer]) => producer),
          all.map(([, { batch }]) => batch),
          all.map(([, { index }]) => index),
          all.map(([, { without }]) => `{${without.join(',')}}`)
        ]
      )
    )
  }

  /** The statements, once the table is known; asked again after a failure. */
  #prepared(): Promise<Statements> {
    this.#statements ??= this.#connected(async (client) => {
      const { table, key, tenant, columns } = this.#shape
      const keys = tenant === undefined ? key : [tenant, ...key]
      const isAppend = key.length === 0
      const names = columns.map(({ column }) => column)
      const types = await readColumnTypes(client, this.name, {
        table,
        key: isAppend ? [] : keys,
        columns: isAppend ? [...keys, ...names] : names
      })
      return new Statements(this.#shape, types)
    }).catch((error: unknown) => {
      this.#statements = undefined
      throw error
    })
    return this.#statements
  }

  /** Committed when `work` resolves, but for 'fenced', which leaves nothing behind. */
  #transaction<T>(work: (client: PgClient) => Promise<T>): Promise<T> {
    return this.#connected(async (client) => {
      // Whatever the database's default is: who waited for a lock must see what was committed meanwhile.
      await client.query('BEGIN ISOLATION LEVEL READ COMMITTED')
      const result = await work(client)
      await client.query(result === 'fenced' ? 'ROLLBACK' : 'COMMIT')
      return result
    })
  }

  /** A connection under a deadline; one that failed in any way is not used again. */
  async #connected<T>(work: (client: PgClient) => Promise<T>): Promise<T> {
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
      await this.#rolledBack(client, isLate)
      throw error
    } finally {
      clearTimeout(timer)
      late.catch(ignoredAfterDeadline)
    }
  }

  /** An ordinary error leaves a transaction open that only has to be rolled back; of anything else the connection goes. */
  async #rolledBack(client: PgClient | undefined, isLate: boolean): Promise<void> {
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
}

type Written = 'applied' | 'applied-in-part'

/** A row that is newer by its version stays as it is, and so does one that a trigger lets nobody write. */
async function written(client: PgClient, statements: readonly Statement[]): Promise<Written> {
  let isWhole = true
  for (const { query, least } of statements) {
    const { rowCount } = await client.query(query)
    if ((rowCount ?? least) < least) isWhole = false
  }
  return isWhole ? 'applied' : 'applied-in-part'
}

const ROLLBACK_PATIENCE_MS = 2_000

/** Where PostgreSQL says that an error comes from: a RAISE of PL/pgSQL. */
const RAISED = 'exec_stmt_raise'

/** Where commits need not reach the disk, the stream would be trimmed of what a crash of the database then loses. */
const SYNCHRONOUS = `CASE WHEN current_setting('synchronous_commit') = 'off'
                       THEN set_config('synchronous_commit', 'on', true) END`

function shownByTheNextStatement(): void {}

function givenBack(client: PgClient): void {
  client.off?.('error', shownByTheNextStatement)
  client.release()
}

/** The deadline has been thrown already, or was not reached. */
function ignoredAfterDeadline(): void {}
