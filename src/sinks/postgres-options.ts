import type { Duration } from '../durations.js'
import { InvalidOptionError, UnknownOptionError } from '../errors.js'
import type { CacheId } from '../ports.js'
import type { SinkOperation } from '../sink.js'
import type { RowShape } from './postgres-statements.js'

/** Which table and columns operations go to. `table` is required, and `value` or `columns`. */
export interface PostgresSinkOptions<Id extends CacheId = CacheId, Value = unknown> {
  /** The table, with its schema if need be: `'shop.product_views'`. */
  readonly table: string
  /**
   * The column of the id; several for an id that is an object with such fields, or an array in that order. They need a unique
   * index, together with `tenant`. Left out: every operation is a new row, for `cache.ingest`.
   */
  readonly key?: string | readonly string[] | undefined
  /** The column of a plain value. With it, `increment` is possible. */
  readonly value?: string | undefined
  /** The columns of a value that is an object: their names, or for each a function `(value, id) => unknown`. */
  readonly columns?:
    | readonly string[]
    | Readonly<Record<string, (value: Value, id: Id) => unknown>>
    | undefined
  /** The column of the tenant. Rows of no tenant have an empty text in it. Left out: calls with a tenant are refused. */
  readonly tenant?: string | undefined
  /** A column of the value that grows with each change: a row never replaces one with a larger number. */
  readonly version?: string | undefined
  /** `increment` takes increments alone. Default: what the columns make possible. */
  readonly mode?: 'upsert' | 'increment' | 'append' | undefined
  /** The schema of `corral_shards` and `corral_marks`. Default: the first of `search_path`. */
  readonly schema?: string | undefined
  /** The deadline of one transaction, with the wait for a connection. Default '30s'. */
  readonly timeout?: Duration | undefined
}

const NAMES: readonly string[] = [
  'table',
  'key',
  'value',
  'columns',
  'tenant',
  'version',
  'mode',
  'schema',
  'timeout'
]

/** What rows are made of, and which operations can become one. */
export function resolveSinkOptions(options: PostgresSinkOptions): {
  shape: RowShape
  kinds: SinkOperation['kind'][]
} {
  if (typeof options !== 'object' || options === null) {
    throw new InvalidOptionError('options of postgresSink', options, 'an object')
  }
  for (const name of Object.keys(options))
    if (!NAMES.includes(name)) throw new UnknownOptionError(name, NAMES)
  const { table, value, tenant, version, mode } = options
  if (typeof table !== 'string' || table === '') {
    throw new InvalidOptionError('table', table, "a table's name, such as 'product_views'")
  }
  const key = options.key === undefined ? [] : typeof options.key === 'string' ? [options.key] : options.key
  const columns = columnsOf(options)
  if (columns.length === 0) {
    throw new InvalidOptionError('value', value, 'the column of a plain value, or `columns` for an object')
  }
  const names = [...(tenant === undefined ? [] : [tenant]), ...key, ...columns.map(({ column }) => column)]
  const twice = names.find((name, index) => names.indexOf(name) !== index)
  if (twice !== undefined) {
    throw new InvalidOptionError('columns', twice, 'each column once; `key` and `tenant` are written anyway')
  }
  if (version !== undefined && !columns.some(({ column }) => column === version)) {
    throw new InvalidOptionError('version', version, 'one of `columns`')
  }
  if (mode !== undefined && !['upsert', 'increment', 'append'].includes(mode)) {
    throw new InvalidOptionError('mode', mode, "'upsert', 'increment' or 'append'")
  }
  if ((mode === 'append') !== (key.length === 0) && mode !== undefined) {
    throw new InvalidOptionError('mode', mode, "'append' without `key`, or another one with it")
  }
  if (mode === 'increment' && value === undefined) {
    throw new InvalidOptionError('value', value, 'the column that is incremented')
  }
  const shape: RowShape = { table, key: [...key], tenant, columns, version }
  return { shape, kinds: kindsOf(key.length > 0, value !== undefined, mode) }
}

function kindsOf(
  hasKey: boolean,
  hasValue: boolean,
  mode: PostgresSinkOptions['mode']
): SinkOperation['kind'][] {
  if (!hasKey) return ['append']
  if (mode === 'increment') return ['increment']
  return hasValue ? ['put', 'delete', 'increment'] : ['put', 'delete']
}

function columnsOf({ value, columns }: PostgresSinkOptions): RowShape['columns'] {
  if (value !== undefined && columns !== undefined) {
    throw new InvalidOptionError('columns', columns, 'left out when there is `value`')
  }
  if (value !== undefined) return [{ column: value, of: (plain) => plain }]
  if (columns === undefined) return []
  if (Array.isArray(columns)) {
    return (columns as readonly string[]).map((column) => ({
      column,
      of: (row) => (row as Readonly<Record<string, unknown>> | null | undefined)?.[column]
    }))
  }
  return Object.entries(columns as Readonly<Record<string, (value: unknown, id: never) => unknown>>).map(
    ([column, of]) => ({ column, of: (row, id) => of(row, id as never) })
  )
}
