import { toMilliseconds } from '../durations.js'
import { InvalidOptionError, SinkNotReadyError } from '../errors.js'
import type { CacheId } from '../ports.js'
import type { Claim, Sink, SinkBatch, SinkOperation } from '../sink.js'
import { Books } from './postgres-books.js'
import { Connections } from './postgres-connections.js'
import { isMissingRight, liesInRow, mayLieInValue, UnreadableValueError } from './postgres-errors.js'
import { resolveSinkOptions, type PostgresSinkOptions } from './postgres-options.js'
import { keyColumnsOf, Statements, type RowShape, type Step } from './postgres-statements.js'
import { readTable, type PgClient, type PgPool, type PgQuery } from './postgres-tables.js'

/** A sink that ends in a table of PostgreSQL. */
export interface PostgresSink<Id extends CacheId = CacheId, Value = unknown> extends Sink<Id, Value> {
  /** Makes the two tables that it keeps its books in. Changes nothing when they are there. */
  migrate(): Promise<void>
  /** The same as text, for a migration tool. */
  readonly migrateSql: string
}

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
  const connections = new Connections(pool, timeoutMs)
  return new Postgres(connections, shape, kinds, options.schema) as unknown as PostgresSink<Id, Value>
}

class Postgres implements PostgresSink {
  readonly name: string
  readonly tenants: boolean
  readonly versioned: boolean
  readonly kinds: readonly SinkOperation['kind'][]
  readonly migrateSql: string
  readonly #connections: Connections
  readonly #shape: RowShape
  readonly #books: Books
  #statements: Promise<Statements> | undefined

  constructor(
    connections: Connections,
    shape: RowShape,
    kinds: readonly SinkOperation['kind'][],
    schema: string | undefined
  ) {
    this.name = `postgres:${shape.table}`
    this.tenants = shape.tenant !== undefined
    this.versioned = shape.version !== undefined
    this.kinds = kinds
    this.#connections = connections
    this.#shape = shape
    this.#books = new Books(this.name, schema)
    this.migrateSql = this.#books.migrateSql
  }

  async migrate(): Promise<void> {
    try {
      await this.#connections.transaction((client) => this.#books.migrate(client))
    } catch (error) {
      // Even IF NOT EXISTS is only for those who may make tables; when they are there, nobody need.
      const areThere =
        isMissingRight(error) && this.#connections.use((client) => this.#books.areThere(client))
      if (!(await areThere)) throw error
    }
  }

  async check(): Promise<void> {
    this.#statements = undefined
    const statements = await this.#prepared()
    // Who never deletes need not be allowed to.
    const samples = this.kinds
      .filter((kind) => kind !== 'delete')
      .slice(0, 1)
      .map((kind) => statements.sample(kind))
    await this.#connections.use(async (client) => {
      await this.#books.assertThere(client)
      for (const query of [...this.#books.samples, ...samples]) await this.#assertAllowed(client, query)
    })
  }

  async take(shard: string): Promise<Claim> {
    await this.#prepared()
    return this.#connections.transaction((client) => this.#books.take(client, shard))
  }

  async apply(batch: SinkBatch): ReturnType<Sink['apply']> {
    const prepared = await this.#prepared()
    const applying = this.#applied(batch, prepared)
    return applying.catch((error: unknown) => this.#failed(error, batch, prepared))
  }

  async #applied(
    { shard, epoch, operations, marks }: SinkBatch,
    prepared: Statements
  ): ReturnType<Sink['apply']> {
    const steps = prepared.for(operations)
    return this.#connections.transaction(async (client) => {
      if (!(await this.#books.isHeld(client, shard, epoch))) return 'fenced'
      const outcome = await written(client, steps)
      await this.#books.store(client, shard, marks)
      return outcome
    })
  }

  /** Perhaps a column has another type since: the table is looked at again before an operation is blamed. */
  async #failed(error: unknown, batch: SinkBatch, prepared: Statements): Promise<never> {
    this.#statements = undefined
    const found = await this.#told(error, batch, prepared)
    if (this.isPoison(found) && (await this.#prepared()).signature !== prepared.signature) {
      throw new Error(`Table "${this.#shape.table}" has changed`, { cause: error })
    }
    throw found
  }

  /** Where its code does not tell, the values alone are tried: what they meet too lies in one of them. */
  async #told(error: unknown, { operations }: SinkBatch, prepared: Statements): Promise<unknown> {
    if (this.isPoison(error) || !mayLieInValue(error)) return error
    let met: unknown
    const reading = (client: PgClient): Promise<unknown> =>
      client.query(prepared.reading(operations)).catch((again: unknown) => {
        met = again
        throw again
      })
    // What is met on the way there says nothing of a value: poolers that have no connection tell so under the same code.
    await this.#connections.transaction(reading).catch(() => undefined)
    return mayLieInValue(met) && met.code === error.code ? new UnreadableValueError(error) : error
  }

  async write(operation: SinkOperation): Promise<Written> {
    const steps = (await this.#prepared()).for([operation])
    return this.#connections.transaction((client) => written(client, steps))
  }

  isPoison(error: unknown): boolean {
    return liesInRow(error)
  }

  /** The statements, once the table is known; asked again after a failure. */
  #prepared(): Promise<Statements> {
    this.#statements ??= this.#connections
      .use(async (client) => {
        const { table, key, columns } = this.#shape
        const keys = keyColumnsOf(this.#shape)
        const names = [...keys, ...columns.map(({ column }) => column)]
        const shape = { table, key: key.length === 0 ? [] : keys, columns: names }
        return new Statements(this.#shape, await readTable(client, this.name, shape))
      })
      .catch((error: unknown) => {
        this.#statements = undefined
        throw error
      })
    return this.#statements
  }

  /** Planned, and not carried out: that asks for every right, and for whatever else a statement needs of a table. */
  async #assertAllowed(client: PgClient, { text, values }: PgQuery): Promise<void> {
    try {
      await client.query({ text: `EXPLAIN ${text}`, values: values ?? [] })
    } catch (error) {
      const { code, message } = error as { code?: unknown; message?: unknown }
      if (typeof code !== 'string' || !/^(0A|42)...$/.test(code)) throw error
      throw new SinkNotReadyError(this.name, `PostgreSQL says "${String(message)}" to: ${text}`, {
        cause: error
      })
    }
  }
}

type Written = 'applied' | 'applied-in-part'

async function written(client: PgClient, steps: readonly Step[]): Promise<Written> {
  let isWhole = true
  for (const step of steps) isWhole = (await step(client)) && isWhole
  return isWhole ? 'applied' : 'applied-in-part'
}
