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
  const place = schema === undefined ? '' : `${quotedName(schema)}.`
  return `${schema === undefined ? '' : `CREATE SCHEMA IF NOT EXISTS ${quotedName(schema)};\n`}CREATE TABLE IF NOT EXISTS ${place}corral_shards (
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
export function quoted(table: string): string {
  return table.startsWith('"') ? table : table.split('.').map(quotedName).join('.')
}

/** A dot in it is a part of the name. */
export function quotedName(name: string): string {
  return `"${name.replaceAll('"', '""')}"`
}

type Row = PgResult['rows'][number]

export interface TableShape {
  readonly table: string
  /** Empty for a table that is only appended to. */
  readonly key: readonly string[]
  /** All that are written, those of the key among them. */
  readonly columns: readonly string[]
}

/** What the table is like, as far as statements depend on it. */
export interface TableFacts {
  readonly types: ReadonlyMap<string, ColumnType>
  /** A row to be inserted may be refused although the row that is there could be updated; see `Statements`. */
  readonly isChoosy: boolean
}

/** Rejects when the table does not have the columns, or no unique key, or does not let them be written. */
export async function readTable(client: PgClient, sink: string, shape: TableShape): Promise<TableFacts> {
  const types = await readColumnTypes(client, sink, shape)
  if (shape.key.length === 0) return { types, isChoosy: false }
  await assertUnique(client, sink, shape)
  return { types, isChoosy: await isChoosy(client, shape) }
}

async function readColumnTypes(
  client: PgClient,
  sink: string,
  { table, columns }: TableShape
): Promise<Map<string, ColumnType>> {
  // With a typmod of -1, since without one a `char(3)` would be named `character`, which is `char(1)`.
  const { rows } = await client.query({
    text: `SELECT a.attname::text AS column, format_type(a.atttypid, -1) AS type, t.typcategory = 'A' AS is_array,
             t.typcategory = 'N' AND coalesce(nullif(t.typbasetype, 0), t.oid) <> 'money'::regtype AS is_number,
             CASE WHEN coalesce(nullif(e.typbasetype, 0), e.oid) IN ('json'::regtype, 'jsonb'::regtype) THEN 'json'
               WHEN coalesce(nullif(e.typbasetype, 0), e.oid) IN ('date'::regtype, 'timestamp'::regtype) THEN 'zoneless'
               ELSE 'other' END AS form,
             a.attgenerated <> '' AS is_computed, a.attidentity = 'a' AS is_given
           FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
           JOIN pg_type e ON e.oid = CASE WHEN t.typcategory = 'A' AND t.typelem <> 0 THEN t.typelem ELSE t.oid END
           WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped`,
    values: [quoted(table)]
  })
  if (rows.length === 0) throw new SinkNotReadyError(sink, `there is no table "${table}".`)
  const byName = new Map(rows.map((row) => [row['column'] as string, row]))
  const missing = columns.filter((column) => !byName.has(column))
  if (missing.length > 0) {
    throw new SinkNotReadyError(sink, `table "${table}" has no column "${missing.join('", "')}".`)
  }
  return new Map(
    columns.map((column) => {
      const row = byName.get(column)!
      assertWritable(sink, table, row)
      return [column, typeIn(row)]
    })
  )
}

function typeIn(row: Row): ColumnType {
  return {
    column: row['column'] as string,
    type: row['type'] as string,
    isArray: row['is_array'] === true,
    isNumber: row['is_number'] === true,
    form: row['form'] as ColumnType['form']
  }
}

/** A column of which PostgreSQL says itself what is in it refuses every statement that names it. */
function assertWritable(sink: string, table: string, { column, is_computed, is_given }: Row): void {
  const name = quotedName(column as string)
  const alter = `ALTER TABLE ${quoted(table)} ALTER ${name}`
  const mend = is_computed === true ? 'DROP EXPRESSION' : 'SET GENERATED BY DEFAULT'
  if (is_computed !== true && is_given !== true) return
  throw new SinkNotReadyError(
    sink,
    `column ${name} of table "${table}" is GENERATED ALWAYS, so nobody can write it. Leave it out, or: ${alter} ${mend};`
  )
}

/** By the rules by which PostgreSQL finds the index for ON CONFLICT; one that deferred its check would fail there. */
async function assertUnique(client: PgClient, sink: string, { table, key }: TableShape): Promise<void> {
  const { rows } = await client.query({
    text: `SELECT i.indisvalid AS is_valid, i.indexrelid::regclass::text AS name FROM pg_index i
           WHERE i.indrelid = to_regclass($1) AND i.indisunique AND i.indimmediate AND i.indpred IS NULL
             AND i.indexprs IS NULL
             AND (SELECT array_agg(a.attname::text ORDER BY a.attname)
                  FROM pg_attribute a
                  WHERE a.attrelid = i.indrelid
                    AND a.attnum = ANY ((i.indkey::int2[])[0:i.indnkeyatts - 1])) = $2::text[]
           ORDER BY i.indisvalid DESC`,
    values: [quoted(table), [...key].sort()]
  })
  const [index] = rows
  if (index?.['is_valid'] === true) return
  const columns = key.map((column) => `"${column}"`).join(', ')
  const create = `CREATE UNIQUE INDEX CONCURRENTLY ON ${quoted(table)} (${key.map(quotedName).join(', ')});`
  throw new SinkNotReadyError(
    sink,
    index === undefined
      ? `table "${table}" has no unique index on (${columns}). Make one: ${create}`
      : `the unique index on (${columns}) of table "${table}" was not finished, so it is not used. Make it again: DROP INDEX ${index['name'] as string}; ${create}`
  )
}

/**
 * Of an upsert PostgreSQL checks the row to be inserted first, even when there is a row to be updated. It may be refused by
 * what that one passes: an amount of -1 where the sum is not negative, a column that is missing in it alone.
 */
async function isChoosy(client: PgClient, { table, columns }: TableShape): Promise<boolean> {
  const { rows } = await client.query({
    text: `SELECT EXISTS (SELECT FROM pg_constraint WHERE conrelid = t.oid AND contype = 'c')
             OR EXISTS (SELECT FROM pg_attribute
                        WHERE attrelid = t.oid AND attnum > 0 AND NOT attisdropped
                          AND attnotnull AND NOT atthasdef AND attidentity = '' AND attname::text <> ALL ($2::text[]))
             OR EXISTS (SELECT FROM pg_trigger WHERE tgrelid = t.oid AND NOT tgisinternal AND tgtype & 7 = 7)
             OR row_security_active(t.oid) AS is_choosy
           FROM pg_class t WHERE t.oid = to_regclass($1)`,
    values: [quoted(table), columns]
  })
  return rows[0]?.['is_choosy'] === true
}
