import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { CacheId, TenantId } from '../ports.js'
import { idPart, tenantPart } from './key-schema.js'
import { isTenantPart, parseId } from './parse-id.js'

describe('an id that is read back from its key', () => {
  it('is the one that the part was made of', () => {
    const text = fc.oneof(
      fc.string({ unit: 'grapheme' }),
      fc.constantFrom('', '007', '7n', 'true', 'null', '(a)', "'x'", '%41')
    )
    const { id } = fc.letrec<{ id: CacheId }>((tie) => ({
      id: fc.oneof(
        { maxDepth: 3 },
        text,
        fc.integer(),
        fc.double({ noNaN: true, noDefaultInfinity: true }).map((number) => (number === 0 ? 0 : number)),
        fc.bigInt(),
        fc.boolean(),
        fc.array(tie('id'), { maxLength: 4 }),
        fc.dictionary(text, tie('id'), { maxKeys: 4 })
      ) as fc.Arbitrary<CacheId>
    }))
    fc.assert(
      fc.property(id, (one) => {
        const part = idPart(one)
        expect(parseId(part)).toEqual(part.startsWith('#') ? undefined : one)
      }),
      { numRuns: 500 }
    )
  })

  it('is none where no id is written so, though it could be read as one', () => {
    for (const part of [
      '007',
      '1.0',
      '1e3',
      '-0',
      '9007199254740993',
      '%41cme',
      '%2a',
      "'acme'",
      'null',
      '(b=1,a=2)',
      '(1=2)'
    ])
      expect(parseId(part), part).toBeUndefined()
    for (const part of ['', '(', '(a', 'a)', '(,)', '%zz', '('.repeat(200), '('.repeat(1_000_000)])
      expect(parseId(part), part.slice(0, 9)).toBeUndefined()
  })

  it('tells whether a tenant is written so', () => {
    for (const tenant of ['acme', 'a:b', '7', '007', 7, 7n, 'true', 'x'.repeat(300)] satisfies TenantId[])
      expect(isTenantPart(tenantPart(tenant)), String(tenant)).toBe(true)
    for (const part of ['007', '1e3', 'true', '(a)', "''", '', '#short', 'a:b'])
      expect(isTenantPart(part), part).toBe(false)
  })
})
