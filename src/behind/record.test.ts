import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { CacheId } from '../ports.js'
import { decodeRecords, encodeOperations, type Outgoing } from './record.js'

const ids: fc.Arbitrary<CacheId> = fc.oneof(
  fc.integer(),
  fc.string({ unit: 'binary' }),
  fc.bigInt(),
  fc.boolean(),
  fc.array(fc.oneof(fc.integer(), fc.string(), fc.bigInt()), { maxLength: 3 }),
  fc.dictionary(
    fc.string({ minLength: 1, maxLength: 5 }).filter((name) => name !== '$n' && name !== '__proto__'),
    fc.integer()
  )
)
const bytes = fc.uint8Array({ maxLength: 50 }).map((array) => Buffer.from(array))
const outgoing: fc.Arbitrary<Outgoing> = fc.oneof(
  fc.record({
    kind: fc.constant('put' as const),
    key: fc.string({ minLength: 1 }),
    id: ids,
    tenant: fc.option(fc.oneof(fc.string(), fc.bigInt(), fc.integer()), { nil: undefined }),
    frame: bytes
  }),
  fc.record({
    kind: fc.constant('append' as const),
    id: fc.constant(undefined),
    tenant: fc.constant(undefined),
    flags: fc.nat(255),
    payload: bytes
  }),
  fc.record({
    kind: fc.constant('increment' as const),
    key: fc.string({ minLength: 1 }),
    id: ids,
    tenant: fc.constant('acme'),
    by: fc.double({ noNaN: true }),
    checksum: fc.nat(),
    freshMs: fc.nat(),
    stamp: fc.constant({ hardHigh: 1, hardLow: 2, soft: 3, tags: [] }),
    base: fc.constant(undefined)
  })
)

describe('operations in the stream', () => {
  it('are read as they were written, whatever their ids and tenants hold', () => {
    fc.assert(
      fc.property(fc.array(outgoing, { minLength: 1, maxLength: 20 }), (all) => {
        const read = decodeRecords(encodeOperations(all).records)
        expect(read.map(({ kind, index }) => [kind, index])).toEqual(
          all.map(({ kind }, index) => [kind, index])
        )
        for (const [index, operation] of all.entries()) {
          const record = read[index]!
          expect(record.id).toEqual(Object.is(operation.id, -0) ? 0 : operation.id)
          expect(record.tenant).toEqual(operation.tenant)
          if (operation.kind === 'put') expect(record.rest.equals(operation.frame)).toBe(true)
          if (operation.kind === 'increment') expect(record.by).toBe(operation.by)
          if (operation.kind === 'append') {
            expect([record.rest[0], record.rest.subarray(1)]).toEqual([operation.flags, operation.payload])
          }
        }
      })
    )
  })
})
