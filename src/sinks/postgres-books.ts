import { createHash } from 'node:crypto'
import { SinkNotReadyError } from '../errors.js'
import type { Claim, Mark } from '../sink.js'
import { postgresSinkMigration, quotedName, type PgClient, type PgQuery } from './postgres-tables.js'

/**
 * A producer's mark is of no use once nobody can send its batches again, a Redis that is restored from a copy included. Counted
 * back from what was applied to the shard last, and not from now: while nobody works, what a worker left in the stream
 * between its commit and the trim lies there for as long, and has nothing but its mark.
 */
const MARKS_KEPT = "interval '7 days'"

/** Where commits need not reach the disk, the stream would be trimmed of what a crash of the database then loses. */
const SYNCHRONOUS = `CASE WHEN current_setting('synchronous_commit') = 'off'
                       THEN set_config('synchronous_commit', 'on', true) END`

/** Who may write to a shard, and how far each producer's operations are applied: two tables beside those that are written. */
export class Books {
  readonly migrateSql: string
  readonly #sink: string
  readonly #shards: string
  readonly #marks: string

  constructor(sink: string, schema: string | undefined) {
    const place = schema === undefined ? '' : `${quotedName(schema)}.`
    this.#sink = sink
    this.#shards = `${place}corral_shards`
    this.#marks = `${place}corral_marks`
    this.migrateSql = postgresSinkMigration(schema)
  }

  async areThere(client: PgClient): Promise<boolean> {
    const { rows } = await client.query({
      text: 'SELECT to_regclass($1) IS NOT NULL AND to_regclass($2) IS NOT NULL AS there',
      values: [this.#shards, this.#marks]
    })
    return rows[0]?.['there'] === true
  }

  async assertThere(client: PgClient): Promise<void> {
    if (await this.areThere(client)) return
    throw new SinkNotReadyError(
      this.#sink,
      `its tables are missing. Call sink.migrate() once, or run this with your migrations:\n${this.migrateSql}`
    )
  }

  async migrate(client: PgClient): Promise<void> {
    // Two processes that start together would both find nothing, and one would fail.
    await client.query("SELECT pg_advisory_xact_lock(hashtext('corral migration'))")
    await client.query(this.migrateSql)
  }

  async take(client: PgClient, shard: string): Promise<Claim> {
    const taken = await client.query(this.#raise(shard))
    await client.query(this.#forget(shard))
    const { rows } = await client.query(this.#marksOf(shard))
    const marks = rows.map((row): [string, Mark] => [
      row['producer'] as string,
      { batch: Number(row['batch']), index: Number(row['index']), without: row['without'] as number[] }
    ])
    return { epoch: Number(taken.rows[0]!['epoch']), marks: new Map(marks) }
  }

  /** Locks the shard until the transaction is over. */
  async isHeld(client: PgClient, shard: string, epoch: number): Promise<boolean> {
    const { rows } = await client.query(this.#lock(shard))
    return Number(rows[0]?.['epoch']) === epoch
  }

  async store(client: PgClient, shard: string, marks: ReadonlyMap<string, Mark>): Promise<void> {
    await client.query(this.#mark(shard, [...marks]))
  }

  /** Whatever is asked of the books, to see whether it is allowed. */
  get samples(): PgQuery[] {
    return [this.#raise(''), this.#forget(''), this.#marksOf(''), this.#lock(''), this.#mark('', [])]
  }

  #raise(shard: string): PgQuery {
    return {
      text: `INSERT INTO ${this.#shards} AS s (shard, epoch) VALUES ($1, 1)
             ON CONFLICT (shard) DO UPDATE SET epoch = s.epoch + 1, taken_at = now()
             RETURNING epoch, ${SYNCHRONOUS}`,
      values: [shard]
    }
  }

  #forget(shard: string): PgQuery {
    return {
      text: `DELETE FROM ${this.#marks} WHERE shard = $1
             AND applied_at < (SELECT max(applied_at) FROM ${this.#marks} WHERE shard = $1) - ${MARKS_KEPT}`,
      values: [shard]
    }
  }

  #marksOf(shard: string): PgQuery {
    return {
      text: `SELECT producer, batch, index, without FROM ${this.#marks} WHERE shard = $1`,
      values: [shard]
    }
  }

  #lock(shard: string): PgQuery {
    return named(`SELECT epoch, ${SYNCHRONOUS} FROM ${this.#shards} WHERE shard = $1 FOR UPDATE`, [shard])
  }

  #mark(shard: string, marks: readonly (readonly [producer: string, Mark])[]): PgQuery {
    return named(
      `INSERT INTO ${this.#marks} (shard, producer, batch, index, without)
       SELECT $1, producer, batch, index, without::integer[]
       FROM unnest($2::text[], $3::bigint[], $4::integer[], $5::text[]) AS m (producer, batch, index, without)
       ON CONFLICT (shard, producer)
       DO UPDATE SET batch = excluded.batch, index = excluded.index, without = excluded.without, applied_at = now()`,
      [
        shard,
        marks.map(([producer]) => producer),
        marks.map(([, { batch }]) => batch),
        marks.map(([, { index }]) => index),
        marks.map(([, { without }]) => `{${without.join(',')}}`)
      ]
    )
  }
}

/** A prepared statement. The same text has the same name on every connection, and no other text has it. */
export function named(text: string, values: unknown[]): PgQuery {
  let name = NAMES.get(text)
  if (name === undefined) {
    name = `corral_${createHash('sha1').update(text).digest('hex').slice(0, 20)}`
    NAMES.set(text, name)
  }
  return { name, text, values }
}

const NAMES = new Map<string, string>()
