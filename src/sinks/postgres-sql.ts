import { quoted, quotedName } from './postgres-tables.js'
import type { ColumnType } from './postgres-text.js'

/** Which columns of a table are written, with their types. */
export interface Target {
  readonly table: string
  readonly key: readonly ColumnType[]
  readonly values: readonly ColumnType[]
  /** The column of `values` that only grows. */
  readonly version: string | undefined
}

/*
 * Rows come as one array of texts for each column, those of the key first, and are cast here: one prepared statement serves any
 * number of them.
 */

export function insertion(target: Target): string {
  const columns = columnsOf(target)
  return `${insertInto(target)} ${rowsOf(columns)}`
}

export function upsert(target: Target, kind: 'put' | 'increment'): string {
  const sets = changes(target, kind, (name) => `excluded.${name}`)
  const guard = guardOf(target, kind, (name) => `excluded.${name}`)
  const key = namesOf(target.key).join(', ')
  return `${insertInto(target)} ${latestRows(target, kind)} ON CONFLICT (${key}) DO UPDATE SET ${sets}${guard && ` WHERE ${guard}`}`
}

/** Casts the rows, and leaves the table alone. */
export function reading({ key, values }: Target): string {
  return rowsOf([...key, ...values])
}

export function deletion({ table, key }: Target): string {
  const names = namesOf(key).map((name) => `t.${name}`)
  return `DELETE FROM ${quoted(table)} AS t WHERE (${names.join(', ')}) IN (${rowsOf(key)})`
}

/** Which of the rows are there, by their number from 1; they stay until the transaction is over, as they are. */
export function lookup({ table, key }: Target): string {
  const isIt = key.map(({ type, column }, index) => `t.${quotedName(column)} = r.c${index}::${type}`)
  return `SELECT r.number::integer, t.tableoid::text || t.ctid::text AS place
          FROM unnest(${parametersFor(key)}) WITH ORDINALITY AS r(${aliasesOf(key)}, number)
          JOIN ${quoted(table)} AS t ON ${isIt.join(' AND ')}
          ORDER BY r.number FOR NO KEY UPDATE OF t`
}

/** Of rows that are there. */
export function update(target: Target, kind: 'put' | 'increment'): string {
  const given = new Map(namesOf(columnsOf(target)).map((name, index) => [name, `r.c${index}`]))
  const of = (name: string): string => given.get(name)!
  const isIt = namesOf(target.key).map((name) => `t.${name} = ${of(name)}`)
  const guard = guardOf(target, kind, of)
  return `UPDATE ${quoted(target.table)} AS t SET ${changes(target, kind, of)} FROM (${latestRows(target, kind)}) AS r
          WHERE ${isIt.join(' AND ')}${guard && ` AND (${guard})`}`
}

function insertInto(target: Target): string {
  return `INSERT INTO ${quoted(target.table)} AS t (${namesOf(columnsOf(target)).join(', ')})`
}

function changes({ values }: Target, kind: 'put' | 'increment', of: (name: string) => string): string {
  const sets = namesOf(values).map((name) =>
    kind === 'put' ? `${name} = ${of(name)}` : `${name} = coalesce(t.${name}, 0) + ${of(name)}`
  )
  return sets.join(', ')
}

/** Empty where nothing stands in the way. */
function guardOf({ version }: Target, kind: 'put' | 'increment', of: (name: string) => string): string {
  if (version === undefined || kind === 'increment') return ''
  const name = quotedName(version)
  return `t.${name} IS NULL OR t.${name} < ${of(name)}`
}

/** Of the puts of one row the one with the highest version, and among equals the last. */
function latestRows(target: Target, kind: 'put' | 'increment'): string {
  const columns = columnsOf(target)
  const version = columns.findIndex(({ column }) => column === target.version)
  if (version === -1 || kind === 'increment') return rowsOf(columns)
  const casts = castsOf(columns)
  const key = casts.slice(0, target.key.length).join(', ')
  return `SELECT DISTINCT ON (${key}) ${casts.map((cast, index) => `${cast} AS c${index}`).join(', ')}
          FROM unnest(${parametersFor(columns)}) WITH ORDINALITY AS g(${aliasesOf(columns)}, number)
          ORDER BY ${key}, ${casts[version]} DESC NULLS LAST, number DESC`
}

function rowsOf(columns: readonly ColumnType[]): string {
  const casts = castsOf(columns).map((cast, index) => `${cast} AS c${index}`)
  return `SELECT ${casts.join(', ')} FROM unnest(${parametersFor(columns)}) AS g(${aliasesOf(columns)})`
}

function columnsOf({ key, values }: Target): readonly ColumnType[] {
  return [...key, ...values]
}

function castsOf(columns: readonly ColumnType[]): string[] {
  return columns.map(({ type }, index) => `g.c${index}::${type}`)
}

function aliasesOf(columns: readonly ColumnType[]): string {
  return columns.map((_, index) => `c${index}`).join(', ')
}

function parametersFor(columns: readonly ColumnType[]): string {
  return columns.map((_, index) => `$${index + 1}::text[]`).join(', ')
}

function namesOf(columns: readonly ColumnType[]): string[] {
  return columns.map(({ column }) => quotedName(column))
}
