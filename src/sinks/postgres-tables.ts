import { SinkNotReadyError } from '../errors.js'
import type { ColumnType } from './postgres-text.js'

/** The part of `pg` that the sink calls; a `Pool` has it. */
export interface PgPool {
  connect(): Promise<PgClient>
}

/** The part of a client of `pg` that the sink calls. */
export interface PgClient {
  query(query: PgQuery | string): Promise<PgResult>
  /** With an error or true the connection is closed instead of being given back. */
  release(error?: Error | boolean): void
  on?(event: 'error', listener: (error: Error) => void): unknown
  off?(event: 'error', listener: (error: Error) => void): unknown
}

/** A statement; with a name it is prepared once for each connection. */
export interface PgQuery {
  readonly name?: string
  readonly text: string
  readonly values?: unknown[]
}

/** What a statement answers. */
export interface PgResult {
  readonly rows: Record<string, unknown>[]
  /** How many rows a statement wrote. */
  readonly rowCount?: number | null
}

/**
 * The tables in which a sink notes who may write to a shard, and how far each producer's operations are applied. Run it once,
 * with your other migrations; it changes nothing when they are there. `schema`: where; default the first of `search_path`.
 */
export function postgresSinkMigration(schema?: string): string {
  const place = schema === undefined ? '' : `${quoted(schema)}.`
  return `${schema === undefined ? '' : `CREATE SCHEMA IF NOT EXISTS ${quoted(schema)};\n`}CREATE TABLE IF NOT EXISTS ${place}corral_shards (
  shard text PRIMARY KEY,
  epoch bigint NOT NULL,
  taken_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE IF NOT EXISTS ${place}corral_marks (
  shard text NOT NULL,
  producer text NOT NULL,
  batch bigint NOT NULL,
  index integer NOT NULL,
  without integer[] NOT NULL,
  applied_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (shard, producer)
);
`
}

/** `a.b` is table b of schema a. What is quoted already stays as it is. */
export function quoted(name: string): string {
  if (name.startsWith('"')) return name
  return name
    .split('.')
    .map((part) => `"${part.replaceAll('"', '""')}"`)
    .join('.')
}

export interface TableShape {
  readonly table: string
  readonly key: readonly string[]
  readonly columns: readonly string[]
}

/** The types of the columns that are written; rejects when the table does not have them, or no unique key. */
export async function readColumnTypes(
  client: PgClient,
  sink: string,
  shape: TableShape
): Promise<Map<string, ColumnType>> {
  const { rows } = await client.query({
    text: `SELECT a.attname::text AS column, format_type(a.atttypid, NULL) AS type, t.typcategory = 'A' AS is_array,
             t.typcategory = 'N' AND coalesce(nullif(t.typbasetype, 0), t.oid) <> 'money'::regtype AS is_number
           FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
           WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped`,
    values: [quoted(shape.table)]
  })
  if (rows.length === 0) throw new SinkNotReadyError(sink, `there is no table "${shape.table}".`)
  const types = new Map(
    rows.map((row) => {
      const [column, type] = [row['column'] as string, row['type'] as string]
      return [
        column,
        { column, type, isArray: row['is_array'] === true, isNumber: row['is_number'] === true }
      ]
    })
  )
  const missing = [...shape.key, ...shape.columns].filter((column) => !types.has(column))
  if (missing.length > 0) {
    throw new SinkNotReadyError(sink, `table "${shape.table}" has no column "${missing.join('", "')}".`)
  }
  if (shape.key.length > 0) await assertUnique(client, sink, shape)
  return types
}

async function assertUnique(client: PgClient, sink: string, { table, key }: TableShape): Promise<void> {
  const { rows } = await client.query({
    text: `SELECT 1 FROM pg_index i
           WHERE i.indrelid = to_regclass($1) AND i.indisunique AND i.indimmediate AND i.indpred IS NULL
             AND (SELECT array_agg(a.attname::text ORDER BY a.attname)
                  FROM pg_attribute a
                  WHERE a.attrelid = i.indrelid
                    AND a.attnum = ANY ((i.indkey::int2[])[0:i.indnkeyatts - 1])) = $2::text[]`,
    values: [quoted(table), [...key].sort()]
  })
  if (rows.length > 0) return
  const columns = key.map((column) => `"${column}"`).join(', ')
  throw new SinkNotReadyError(
    sink,
    `table "${table}" has no unique index on (${columns}). Make one: CREATE UNIQUE INDEX CONCURRENTLY ON ${quoted(table)} (${key.map(quoted).join(', ')});`
  )
}

export async function assertBookkeeping(client: PgClient, sink: string, schema?: string): Promise<void> {
  const place = schema === undefined ? '' : `${quoted(schema)}.`
  const { rows } = await client.query({
    text: 'SELECT to_regclass($1) IS NOT NULL AND to_regclass($2) IS NOT NULL AS there',
    values: [`${place}corral_shards`, `${place}corral_marks`]
  })
  if (rows[0]?.['there'] === true) return
  throw new SinkNotReadyError(
    sink,
    `its tables are missing. Call sink.migrate() once, or run this with your migrations:\n${postgresSinkMigration(schema)}`
  )
}
