import type { CacheId, TenantId } from '../ports.js'
import type { SinkOperation } from '../sink.js'
import { named } from './postgres-books.js'
import { TwoOfOneRowError, UnwritableValueError } from './postgres-errors.js'
import { deletion, insertion, lookup, reading, update, upsert, type Target } from './postgres-sql.js'
import type { PgClient, PgQuery, TableFacts } from './postgres-tables.js'
import { toText, type ColumnType } from './postgres-text.js'

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

/** A row's columns as texts, those of the key first. */
type Texts = readonly (string | null)[]

/** One kind of change of a batch's rows. Answers whether all of them are written; what is deleted may be gone already. */
export type Step = (client: PgClient) => Promise<boolean>

/** What changes a table: at most one step of each kind for a batch, with the rows in the order of their keys. */
export class Statements {
  /** Differs when the table does, as far as statements depend on it. */
  readonly signature: string
  readonly #shape: RowShape
  readonly #types: TableFacts['types']
  readonly #isChoosy: boolean
  readonly #target: Target
  readonly #texts = new Map<string, string>()

  constructor(shape: RowShape, { types, isChoosy }: TableFacts) {
    const typesOf = (names: readonly string[]): ColumnType[] => names.map((name) => types.get(name)!)
    this.#shape = shape
    this.#types = types
    this.#isChoosy = isChoosy
    this.#target = {
      table: shape.table,
      key: typesOf(keyColumnsOf(shape)),
      values: typesOf(shape.columns.map(({ column }) => column)),
      version: shape.version
    }
    this.signature = JSON.stringify([...types, isChoosy])
  }

  for(operations: readonly SinkOperation[]): Step[] {
    const rows: Record<Kind, unknown[][]> = { delete: [], put: [], increment: [], append: [] }
    for (const operation of operations) {
      if (operation.kind === 'put' && operation.replaces) rows.delete.push(this.#keyOf(operation))
      rows[operation.kind].push(this.#rowOf(operation))
    }
    return ORDER.filter((kind) => rows[kind].length > 0).map((kind) => this.#step(kind, rows[kind]))
  }

  /** Only reads the rows that such changes would write. */
  reading(operations: readonly SinkOperation[]): PgQuery {
    const { key, values } = this.#target
    const rows = operations.filter(({ kind }) => kind !== 'delete').map((operation) => this.#rowOf(operation))
    const texts = rows.map((row) => row.map((value, index) => toText(value, [...key, ...values][index]!)))
    return this.#query('reading', () => reading(this.#target), texts)
  }

  /** What such a change would be without any row, to see whether it is allowed. */
  sample(kind: Kind): PgQuery {
    return kind === 'put' || kind === 'increment'
      ? this.#query(`upsert ${kind}`, () => upsert(this.#target, kind), [])
      : this.#query(kind, () => (kind === 'delete' ? deletion : insertion)(this.#target), [])
  }

  #step(kind: Kind, rows: readonly unknown[][]): Step {
    const { key, values } = this.#target
    const columns = kind === 'delete' ? key : [...key, ...values]
    const texts = rows.map((row) => row.map((value, index) => toText(value, columns[index]!)))
    // Two transactions over the same rows take them in the same order, and do not wait for each other in a circle.
    if (kind !== 'append') texts.sort(byKey(key.length))
    switch (kind) {
      case 'delete':
        return async (client) => {
          await client.query(this.#query(kind, () => deletion(this.#target), texts))
          return true
        }
      case 'append':
        return (client) =>
          this.#sent(
            client,
            this.#query(kind, () => insertion(this.#target), texts),
            texts
          )
      default:
        return (client) =>
          this.#isChoosy ? this.#changedOrAdded(client, kind, texts) : this.#added(client, kind, texts)
    }
  }

  /** What is there is updated as it is, and not by way of a row to be inserted, which the table may refuse. */
  async #changedOrAdded(
    client: PgClient,
    kind: 'put' | 'increment',
    rows: readonly Texts[]
  ): Promise<boolean> {
    const keys = rows.map((row) => row.slice(0, this.#target.key.length))
    const found = await client.query(this.#query('lookup', () => lookup(this.#target), keys))
    const places = new Set(found.rows.map(({ place }) => place))
    const mayRepeat = kind === 'put' && this.#shape.version !== undefined
    if (!mayRepeat && places.size < found.rows.length) throw new TwoOfOneRowError(this.#shape.table)
    const there = new Set(found.rows.map(({ number }) => Number(number) - 1))
    const old = rows.filter((_, index) => there.has(index))
    const added = rows.filter((_, index) => !there.has(index))
    const change = this.#query(`update ${kind}`, () => update(this.#target, kind), old)
    const isChanged = old.length === 0 || (await this.#sent(client, change, old))
    const isAdded = added.length === 0 || (await this.#added(client, kind, added))
    return isChanged && isAdded
  }

  #added(client: PgClient, kind: 'put' | 'increment', rows: readonly Texts[]): Promise<boolean> {
    return this.#sent(
      client,
      this.#query(`upsert ${kind}`, () => upsert(this.#target, kind), rows),
      rows
    )
  }

  /** A row that is newer by its version stays as it is, and so does one that a trigger lets nobody write. */
  async #sent(client: PgClient, query: PgQuery, { length }: readonly Texts[]): Promise<boolean> {
    const { rowCount } = await client.query(query)
    return (rowCount ?? length) >= length
  }

  #query(name: string, textOf: () => string, rows: readonly Texts[]): PgQuery {
    let text = this.#texts.get(name)
    if (text === undefined) {
      text = textOf()
      this.#texts.set(name, text)
    }
    const { key, values } = this.#target
    const columns = name === 'delete' || name === 'lookup' ? key : [...key, ...values]
    return named(
      text,
      columns.map((_, index) => rows.map((row) => row[index]))
    )
  }

  #rowOf(operation: SinkOperation): unknown[] {
    switch (operation.kind) {
      case 'delete':
        return this.#keyOf(operation)
      case 'increment':
        return [...this.#keyOf(operation), ...this.#addendsOf(operation.by)]
      case 'put':
        return [...this.#keyOf(operation), ...this.#versioned(this.#valuesOf(operation.value, operation.id))]
      case 'append': {
        const values = this.#valuesOf(operation.value, undefined)
        return this.#shape.tenant === undefined ? values : [tenantOf(operation.tenant), ...values]
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

  /** A row without a number is never the newer one, so it would be left out without a word. */
  #versioned(values: readonly unknown[]): readonly unknown[] {
    const { columns, version } = this.#shape
    const at = columns.findIndex(({ column }) => column === version)
    if (at !== -1 && (values[at] === undefined || values[at] === null))
      throw new UnwritableValueError(version!, null, this.#types.get(version!)!.type)
    return values
  }

  #keyOf(operation: { readonly id: CacheId; readonly tenant: TenantId | undefined }): unknown[] {
    const { key, tenant } = this.#shape
    const parts = keyParts(operation.id, key)
    // As with the tenant: a second row would come of it.
    if (parts.includes(null)) throw new UnwritableValueError(key.join(', '), null, 'the key')
    return tenant === undefined ? parts : [tenantOf(operation.tenant), ...parts]
  }
}

/** Of a table that is only appended to the tenant alone. */
export function keyColumnsOf({ key, tenant }: RowShape): readonly string[] {
  return tenant === undefined ? key : [tenant, ...key]
}

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

function byKey(columns: number): (a: Texts, b: Texts) => number {
  return (a, b) => {
    for (let index = 0; index < columns; index++) {
      const [left, right] = [a[index] ?? '', b[index] ?? '']
      if (left !== right) return left < right ? -1 : 1
    }
    return 0
  }
}
