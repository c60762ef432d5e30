import { describe, expect, it } from 'vitest'
import { UncacheableValueError } from '../errors.js'
import { MAX_DEPTH } from './value-format.js'
import { readValue } from './value-reader.js'
import { writeValue } from './value-writer.js'

class Decimal {
  digits = '9.99'
}

function nested(levels: number): unknown {
  let value: unknown = 1
  for (let level = 0; level < levels; level++) value = level % 2 === 0 ? [value] : { inner: value }
  return value
}

function refusal(value: unknown): UncacheableValueError {
  try {
    writeValue(value, Infinity)
  } catch (error) {
    if (error instanceof UncacheableValueError) return error
    throw error
  }
  throw new Error('it was written')
}

describe('a value that could not be restored is refused, with its path and what to do', () => {
  const cyclic: Record<string, unknown> = { books: [] }
  cyclic['author'] = { books: [1, cyclic] }
  const selfSet = new Set<unknown>()
  selfSet.add(selfSet)
  const { proxy: revoked, revoke } = Proxy.revocable({}, {})
  revoke()

  it.each<[unknown, string, string]>([
    [() => 1, '$', 'is a function; leave it out'],
    [{ author: { books: [1, 2, 3, () => 1] } }, '$.author.books[3]', 'is a function'],
    [[Symbol('s')], '$[0]', 'is a symbol'],
    [{ a: [{ [Symbol('s')]: 1 }] }, '$.a[0]', 'has a symbol as a key'],
    [{ 'unit price': new Decimal() }, '$["unit price"]', 'is an instance of Decimal; convert it'],
    [new (class extends Array {})(), '$', 'is an instance of'],
    [new (class Rows extends Map {})(), '$', 'is an instance of Rows'],
    [Object.create({ inherited: 1 }), '$', 'is an instance of Object'],
    [[Promise.resolve(1)], '$[0]', 'is a Promise; await it'],
    [{ e: new TypeError('x') }, '$.e', 'is an instance of TypeError'],
    [/x/, '$', 'is an instance of RegExp'],
    [new WeakMap(), '$', 'is an instance of WeakMap'],
    [new String('boxed'), '$', 'is an instance of String'],
    [new URL('http://a.example'), '$', 'is an instance of URL'],
    [new Map([['a', new Map([[1, () => 1]])]]), '$.entries[0].entries[0]', 'is a function'],
    [new Set([1, Symbol('s')]), '$.values[1]', 'is a symbol'],
    [
      {
        a: 1,
        get total() {
          return 2
        }
      },
      '$.total',
      'is a getter'
    ],
    [cyclic, '$.author.books[1]', 'refers back to $; remove the cycle'],
    [{ set: selfSet }, '$.set.values[0]', 'refers back to $.set'],
    // oxlint-disable-next-line no-sparse-arrays -- the hole is the point
    [{ list: [1, , 3] }, '$.list[1]', 'is a hole; fill it with null'],
    [{ list: Object.assign([], { length: 4_000_000_000 }) }, '$.list[0]', 'is a hole'],
    [{ list: Object.assign([1], { [Symbol('s')]: 1 }) }, '$.list', 'has a symbol as a key'],
    [{ match: /a/.exec('a') }, '$.match', 'has properties beside its elements'],
    [{ at: Object.assign(new Date(), { zone: 'UTC' }) }, '$.at', 'has properties of its own'],
    [
      (function () {
        return arguments
      })(),
      '$',
      'has a symbol as a key'
    ],
    [{ p: revoked }, '$.p', 'cannot be read ('],
    [{ d: Object.create(Date.prototype) }, '$.d', 'cannot be read ('],
    [{ b: Object.create(ArrayBuffer.prototype) }, '$.b', 'cannot be read ('],
    [{ b: new SharedArrayBuffer(1) }, '$.b', 'is an instance of SharedArrayBuffer']
  ])('%#', (value, path, reason) => {
    const error = refusal(value)
    expect(error.path).toBe(path)
    expect(error.message).toContain(reason)
  })

  it('after a deeper value, the path is still right', () => {
    expect(refusal({ a: { b: { c: 1 } }, d: [() => 1] }).path).toBe('$.d[0]')
    expect(refusal([[1, 2, [3]], Symbol('s')]).path).toBe('$[1]')
    expect(refusal([{ a: [1] }, { [Symbol('s')]: 1 }]).path).toBe('$[1]')
  })

  it('nesting has a limit, far from the end of the stack', () => {
    expect(readValue(writeValue(nested(MAX_DEPTH), Infinity).bytes, true)).toEqual(nested(MAX_DEPTH))
    expect(refusal(nested(MAX_DEPTH + 1)).message).toContain('more than 500 levels deep')
    expect(refusal(nested(100_000)).message).toContain('more than 500 levels deep')
  })

  it('writes the next value well after a refusal', () => {
    refusal([['x'.repeat(200), () => 1]])
    expect(readValue(writeValue(['next'], Infinity).bytes, false)).toEqual(['next'])
  })
})

describe('values that run code', () => {
  it('a Proxy is read once, and what was read is stored', () => {
    let reads = 0
    const moody = new Proxy({ price: 1 }, { get: () => ++reads })
    expect(readValue(writeValue(moody, Infinity).bytes, true)).toEqual({ price: 1 })
    expect(reads).toBe(1)
  })

  it('a Proxy may itself write a value meanwhile', () => {
    const inner = new Proxy(
      { a: 0 },
      { get: () => writeValue(['inside', 'x'.repeat(300)], Infinity).bytes.length }
    )
    const value = ['before', inner, 'after']
    const [before, , after] = readValue(writeValue(value, Infinity).bytes, true) as string[]
    expect([before, after]).toEqual(['before', 'after'])
  })

  it('a Proxy without end is refused', () => {
    const endless: object = new Proxy({ a: 1 }, { get: () => new Proxy({ a: 1 }, { get: () => endless }) })
    expect(() => writeValue(endless, Infinity)).toThrow(UncacheableValueError)
  })
})

it('rows of one query write their keys once', () => {
  const row = { identifier: 1, description: 'x' }
  const oneRow = writeValue([row], Infinity).bytes.length
  const tenRows = writeValue(Array(10).fill(row), Infinity).bytes.length
  expect(tenRows - oneRow).toBeLessThanOrEqual(9 * 5)
})
