import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { InvalidKeyError } from '../errors.js'
import type { CacheId } from '../ports.js'
import { collectionPrefix, idPart, LONGEST_PART } from './key-schema.js'

const keyOf = (tenant: string | number | bigint | undefined, collection: string, id: CacheId): string =>
  collectionPrefix('shop', collection, tenant) + idPart(id)

/** What two ids must differ in to be different: their JSON, with types that JSON lacks spelt out and names sorted. */
function meaningOf(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(meaningOf).join(',')}]`
  if (typeof value === 'object' && value !== null) {
    const fields = Object.entries(value).filter(([, field]) => field !== undefined)
    return `{${fields
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, field]) => `${JSON.stringify(name)}:${meaningOf(field)}`)
      .join(',')}}`
  }
  if (typeof value === 'bigint') return `${value}n`
  return typeof value === 'string' ? JSON.stringify(value) : String(Object.is(value, -0) ? 0 : value)
}

const text = fc.oneof(
  fc.string({ unit: 'grapheme' }),
  fc.string({
    unit: fc.constantFrom(
      ':',
      '*',
      '{',
      '}',
      '[',
      '\\',
      '?',
      '\0',
      "'",
      '%',
      '(',
      ')',
      ',',
      '=',
      '#',
      '1',
      'a',
      'n'
    )
  }),
  fc.integer().map(String),
  fc.constantFrom('', 'true', 'null', '7n', '1e+21', '-0', '%3A', "'1'", '(=)', '()')
)
const scalar = fc.oneof(
  text,
  fc.integer(),
  fc.double({ noNaN: true, noDefaultInfinity: true }),
  fc.bigInt(),
  fc.boolean()
)
const id = fc.letrec<{ part: CacheId }>((tie) => ({
  part: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    scalar,
    fc.array(fc.oneof(tie('part'), fc.constant(null)), { maxLength: 4 }),
    fc.dictionary(text, fc.oneof(tie('part'), fc.constant(null)), { maxKeys: 4 })
  ) as fc.Arbitrary<CacheId>
})).part
const tenant = fc.option(
  fc.oneof(
    text.filter((t) => t !== ''),
    fc.integer(),
    fc.bigInt()
  ),
  { nil: undefined }
)
const collection = fc.stringMatching(/^[A-Za-z0-9_.-]{1,8}$/).filter((name) => name !== 'tenant')

describe('keys', () => {
  it('read as the names they are made of, for ordinary ids', () => {
    expect(keyOf(undefined, 'products', 42)).toBe('shop:products:42')
    expect(keyOf('acme_corp', 'products', 9876)).toBe('shop:tenant:acme_corp:products:9876')
    expect(keyOf(7, 'users', 'jo@example.com')).toBe('shop:tenant:7:users:jo@example.com')
    expect(keyOf(undefined, 'sessions', '7b0e9a52-59a4-4c59-8a53-0a2a4ed3c5b7')).toBe(
      'shop:sessions:7b0e9a52-59a4-4c59-8a53-0a2a4ed3c5b7'
    )
    expect(keyOf(undefined, 'lists', { page: 2, brand: 'acme' })).toBe('shop:lists:(brand=acme,page=2)')
    expect(keyOf(undefined, 'lists', ['de', 7])).toBe('shop:lists:(de,7)')
  })

  it('are different for different tenants, collections and ids, whatever bytes those hold (#107)', () => {
    fc.assert(
      fc.property(tenant, collection, id, tenant, collection, id, (t1, c1, i1, t2, c2, i2) => {
        const same =
          meaningOf([t1 ?? 'no tenant', typeof t1, c1, i1]) ===
          meaningOf([t2 ?? 'no tenant', typeof t2, c2, i2])
        expect(keyOf(t1, c1, i1) === keyOf(t2, c2, i2)).toBe(same)
      }),
      { numRuns: 5_000 }
    )
  })

  it('are different for ids that nearly look alike', () => {
    const ids: CacheId[] = [
      1,
      '1',
      1n,
      '1n',
      [1],
      ['1'],
      [[1]],
      { 1: 1 },
      true,
      'true',
      ['true'],
      [true],
      [null],
      ['null'],
      [],
      {},
      [[]],
      [{}],
      '',
      [''],
      "''",
      "'1'",
      'a,b',
      ['a,b'],
      ['a', 'b'],
      { a: 'b' },
      'a=b',
      ['a=b'],
      '(a)',
      ['a'],
      '%28a%29',
      'é',
      'e\u0301',
      'Е',
      'E',
      'a:b',
      'a%3Ab',
      'a*',
      '{x}',
      '0',
      0,
      '-0',
      '#',
      '~',
      ' ',
      '\0',
      '\u2028'
    ]
    expect(new Set(ids.map((one) => keyOf(undefined, 'c', one))).size).toBe(ids.length)
  })

  it('hold no character that could steer a slot, a pattern or a parser', () => {
    fc.assert(
      fc.property(tenant, id, (t, i) => {
        const key = keyOf(t, 'c', i)
        expect(key).toMatch(/^[A-Za-z0-9_.@/+~:%'(),=#-]+$/)
        expect(key.split(':')).toHaveLength(t === undefined ? 3 : 5)
      })
    )
  })

  it('do not depend on the order of fields, nor on fields that are undefined', () => {
    expect(idPart({ b: 1, a: { d: 2, c: undefined } })).toBe(idPart({ a: { d: 2 }, b: 1 }))
  })

  it('stay short: a part over the stated length is hashed, and still its own', () => {
    const long = 'x'.repeat(LONGEST_PART)
    expect(idPart(long)).toBe(long)
    expect(idPart(`${long}y`)).toMatch(/^#[A-Za-z0-9_-]{43}$/)
    expect(idPart(`${long}y`)).not.toBe(idPart(`${long}z`))
    expect(collectionPrefix('shop', 'c', 'ü'.repeat(100)).length).toBeLessThan(70)
  })

  it.each([
    ['NaN', Number.NaN],
    ['an infinite number', Number.POSITIVE_INFINITY],
    ['undefined', undefined],
    ['null', null],
    ['a date', new Date()],
    ['an instance', new (class Id {})()],
    ['a function', () => 1],
    ['a symbol', Symbol('x')],
    ['half a surrogate pair', '\ud800'],
    ['an array with a hole', [1, , 2]], // oxlint-disable-line no-sparse-arrays
    ['an array with undefined', [undefined]],
    ['a map', new Map()],
    ['something nested too deep', [[[[[[[[[1]]]]]]]]]]
  ])('refuse %s with a message that says what is needed', (_what, bad) => {
    expect(() => idPart(bad as CacheId)).toThrow(InvalidKeyError)
    expect(() => idPart(bad as CacheId)).toThrow(/needed: /)
  })

  it('refuse a tenant that is empty or no name', () => {
    for (const bad of ['', null, {}, [], true, Number.NaN]) {
      expect(() => collectionPrefix('shop', 'c', bad as string)).toThrow(InvalidKeyError)
    }
  })
})
