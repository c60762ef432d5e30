import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { SinkOperation } from '../sink.js'
import { coalesce, type Decoded } from './coalesce.js'

/** A row as a table has it: `extra` is a column that no operation writes, so only a row that is made anew loses it. */
interface Row {
  readonly n: number
  readonly extra: boolean
}

const operations = fc.array(
  fc.oneof(
    fc.record({ kind: fc.constant('put' as const), id: fc.nat(3), value: fc.integer() }),
    fc.record({ kind: fc.constant('increment' as const), id: fc.nat(3), by: fc.integer() }),
    fc.record({ kind: fc.constant('delete' as const), id: fc.nat(3) })
  ),
  { maxLength: 30 }
)
const tables = fc.dictionary(fc.constantFrom('0', '1', '2', '3'), fc.integer())

const decoded = (one: { kind: string; id: number }): Decoded =>
  ({ ...one, key: String(one.id), tenant: undefined }) as unknown as Decoded

/** One after the other, as a database does it. */
function applied(table: ReadonlyMap<number, Row>, all: readonly SinkOperation[]): Map<number, Row> {
  const rows = new Map(table)
  for (const operation of all) {
    if (operation.kind === 'append') continue
    const id = operation.id as number
    const row = rows.get(id)
    if (operation.kind === 'delete' || (operation.kind === 'put' && operation.replaces)) rows.delete(id)
    if (operation.kind === 'put') {
      rows.set(id, {
        n: operation.value as number,
        extra: operation.replaces ? false : (row?.extra ?? false)
      })
    }
    if (operation.kind === 'increment') {
      rows.set(id, { n: (row?.n ?? 0) + operation.by, extra: row?.extra ?? false })
    }
  }
  return rows
}

describe('coalescing', () => {
  it('leaves every table as the operations one after the other would (#64)', () => {
    fc.assert(
      fc.property(tables, operations, fc.boolean(), (before, all, everyPut) => {
        const table = new Map(Object.entries(before).map(([id, n]) => [Number(id), { n, extra: true }]))
        const one = all.map((each) => ({ replaces: false, ...each, tenant: undefined }) as SinkOperation)
        const together = coalesce(all.map(decoded), everyPut)
        expect(applied(table, together)).toEqual(applied(table, one))
      }),
      { numRuns: 2_000 }
    )
  })

  it('leaves at most one operation of each key', () => {
    fc.assert(
      fc.property(operations, (all) => {
        const ids = coalesce(all.map(decoded)).map((operation) => operation.kind !== 'append' && operation.id)
        expect(new Set(ids).size).toBe(ids.length)
      })
    )
  })

  it('keeps all puts of a key that follow one another, when it is told to', () => {
    const put = (value: number): Decoded => ({ kind: 'put', key: 'a', id: 'a', tenant: undefined, value })
    const gone: Decoded = { kind: 'delete', key: 'a', id: 'a', tenant: undefined }
    const values = coalesce([put(1), put(2), gone, put(4), put(3)], true).map(
      (operation) => operation.kind === 'put' && [operation.value, operation.replaces]
    )
    expect(values).toEqual([
      [4, true],
      [3, true]
    ])
  })

  it('keeps every event, in order', () => {
    const events = [1, 2, 1].map((value): Decoded => ({ kind: 'append', tenant: 'acme', value }))
    expect(coalesce(events)).toEqual(events)
  })
})
