import { createHash } from 'node:crypto'
import type { CacheId, TenantId } from '../ports.js'
import type { SinkOperation } from '../sink.js'
import { quoted, type PgQuery } from './postgres-tables.js'
import { toText, UnwritableValueError, type ColumnType } from './postgres-text.js'

/** How operations become rows. */
export interface RowShape {
  readonly table: string
  /** Of the id: one column for a plain one; several for an object's fields or an array's elements. */
  readonly key: readonly string[]
  readonly tenant: string | undefined
  /** Each column of the value, and how it comes from it. */
  readonly columns: readonly {
    readonly column: string
    readonly of: (value: unknown, id: CacheId | undefined) => unknown
  }[]
  /** A row is only replaced by one with a larger number here. */
  readonly version: string | undefined
}

type Kind = 'delete' | 'put' | 'increment' | 'append'

/** In this order a deleted row makes room for the one that replaces it. */
const ORDER: readonly Kind[] = ['delete', 'put', 'increment', 'append']

export interface Statement {
  readonly query: PgQuery
  /** So many rows it writes, if none of them stays as it was. */
  readonly least: number
}

/** The statements of one batch: at most one of each kind, with the rows in the order of their keys. */
export class Statements {
  /** Differs when the types of the columns do. */
  readonly signature: string
  readonly #shape: RowShape
  readonly #types: ReadonlyMap<string, ColumnType>
  readonly #texts = new Map<Kind, { text: string; columns: readonly ColumnType[] }>()

  constructor(shape: RowShape, types: ReadonlyMap<string, ColumnType>) {
    this.#shape = shape
    this.#types = types
    this.signature = JSON.stringify([...types])
  }

  for(operations: readonly SinkOperation[]): Statement[] {
    const rows: Record<Kind, unknown[][]> = { delete: [], put: [], increment: [], append: [] }
    for (const operation of operations) {
      if (operation.kind === 'put' && operation.replaces) rows.delete.push(this.#keyOf(operation))
      rows[operation.kind].push(this.#rowOf(operation))
    }
    return ORDER.filter((kind) => rows[kind].length > 0).map((kind) => this.#statement(kind, rows[kind]))
  }

  #statement(kind: Kind, rows: readonly unknown[][]): Statement {
    let known = this.#texts.get(kind)
    if (known === undefined) {
      const columns = this.#columnsOf(kind).map((column) => this.#types.get(column)!)
      known = { text: this.#textOf(kind, columns), columns }
      this.#texts.set(kind, known)
    }
    const { text, columns } = known
    const texts = rows.map((row) => row.map((value, index) => toText(value, columns[index]!)))
    // Two transactions over the same rows take them in the same order, and do not wait for each other in a circle.
    if (kind !== 'append') texts.sort(byKey(this.#keyColumns.length))
    const query = named(
      text,
      columns.map((_, index) => texts.map((row) => row[index]))
    )
    // What is deleted may be gone already.
    return { query, least: kind === 'delete' ? 0 : rows.length }
  }

  get #keyColumns(): readonly string[] {
    const { key, tenant } = this.#shape
    return tenant === undefined ? key : [tenant, ...key]
  }

  #columnsOf(kind: Kind): readonly string[] {
    if (kind === 'delete') return this.#keyColumns
    return [...this.#keyColumns, ...this.#shape.columns.map(({ column }) => column)]
  }

  #textOf(kind: Kind, columns: readonly ColumnType[]): string {
    const table = quoted(this.#shape.table)
    const names = columns.map(({ column }) => quoted(column))
    const parameters = columns.map((_, index) => `$${index + 1}::text[]`).join(', ')
    const aliases = columns.map((_, index) => `c${index}`)
    const casts = columns.map(({ type }, index) => `c${index}::${type}`)
    const rows = `SELECT ${casts.join(', ')} FROM unnest(${parameters}) AS r(${aliases.join(', ')})`
    if (kind === 'delete') {
      return `DELETE FROM ${table} AS t WHERE (${names.map((name) => `t.${name}`).join(', ')}) IN (${rows})`
    }
    const insert = `INSERT INTO ${table} AS t (${names.join(', ')}) ${rows}`
    if (kind === 'append') return insert
    const key = this.#keyColumns.map(quoted).join(', ')
    const values = this.#shape.columns.map(({ column }) => quoted(column))
    const sets = values.map((name) =>
      kind === 'put' ? `${name} = excluded.${name}` : `${name} = coalesce(t.${name}, 0) + excluded.${name}`
    )
    const { version } = this.#shape
    const guard =
      version === undefined || kind !== 'put'
        ? ''
        : ` WHERE t.${quoted(version)} IS NULL OR t.${quoted(version)} < excluded.${quoted(version)}`
    return `${insert} ON CONFLICT (${key}) DO UPDATE SET ${sets.join(', ')}${guard}`
  }

  #rowOf(operation: SinkOperation): unknown[] {
    const { tenant } = this.#shape
    switch (operation.kind) {
      case 'delete':
        return this.#keyOf(operation)
      case 'increment':
        return [...this.#keyOf(operation), ...this.#addendsOf(operation.by)]
      case 'put': {
        return [...this.#keyOf(operation), ...this.#valuesOf(operation.value, operation.id)]
      }
      case 'append': {
        const values = this.#valuesOf(operation.value, undefined)
        return tenant === undefined ? values : [tenantOf(operation.tenant), ...values]
      }
    }
  }

  /** The statement itself would be wrong where nothing can be added, and whatever is in its batch would wait for ever. */
  #addendsOf(by: number): unknown[] {
    return this.#shape.columns.map(({ column }) => {
      const { type, isNumber } = this.#types.get(column)!
      if (!isNumber) throw new UnwritableValueError(column, by, type, undefined, 'add')
      return by
    })
  }

  /** What a function of the user's throws is about this value, and it will throw again. */
  #valuesOf(value: unknown, id: CacheId | undefined): unknown[] {
    return this.#shape.columns.map(({ column, of }) => {
      try {
        return of(value, id)
      } catch (cause) {
        throw new UnwritableValueError(column, value, 'what its function gives', { cause })
      }
    })
  }

  #keyOf(operation: { readonly id: CacheId; readonly tenant: TenantId | undefined }): unknown[] {
    const { key, tenant } = this.#shape
    const parts = keyParts(operation.id, key)
    return tenant === undefined ? parts : [tenantOf(operation.tenant), ...parts]
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

/** Rows of no tenant have an empty one: NULL is never equal to itself, and a second row would come of it. */
function tenantOf(tenant: TenantId | undefined): TenantId {
  return tenant ?? ''
}

function keyParts(id: CacheId, key: readonly string[]): unknown[] {
  const isObject = typeof id === 'object'
  if (key.length === 1 && !isObject) return [id]
  if (Array.isArray(id) && id.length === key.length) return [...(id as readonly unknown[])]
  if (isObject && !Array.isArray(id)) {
    const fields = id as Readonly<Record<string, unknown>>
    if (key.every((column) => fields[column] !== undefined)) return key.map((column) => fields[column])
  }
  throw new UnwritableValueError(key.join(', '), id, 'the key')
}

function byKey(columns: number): (a: readonly (string | null)[], b: readonly (string | null)[]) => number {
  return (a, b) => {
    for (let index = 0; index < columns; index++) {
      const [left, right] = [a[index] ?? '', b[index] ?? '']
      if (left !== right) return left < right ? -1 : 1
    }
    return 0
  }
}
