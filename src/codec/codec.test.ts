import assert from 'node:assert'
import { randomBytes } from 'node:crypto'
import { deflateRawSync } from 'node:zlib'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { CorruptEntryError, UncacheableValueError, ValueTooLargeError } from '../errors.js'
import { isShareable, PayloadCodec } from './codec.js'

const MAX_VALUE_BYTES = 1024 * 1024
const codec = new PayloadCodec({ compressAboveBytes: Infinity, maxValueBytes: MAX_VALUE_BYTES })
const compressing = new PayloadCodec({ compressAboveBytes: 64, maxValueBytes: MAX_VALUE_BYTES })

/** What comes back after the bytes lay in the middle of a larger chunk, as ioredis hands them out. */
async function roundTrip(value: unknown, through = codec): Promise<unknown> {
  const { flags, bytes } = await through.encode(value)
  const chunk = Buffer.alloc(bytes.length + 20, 0xc1)
  bytes.copy(chunk, 7)
  return through.decode(flags, chunk.subarray(7, 7 + bytes.length))
}

const anyUtf16 = fc.array(fc.integer({ min: 0, max: 0xffff })).map((units) => String.fromCharCode(...units))
const anyValue = fc.anything({
  key: fc.oneof(
    fc.string(),
    anyUtf16,
    fc.constantFrom('__proto__', 'constructor', 'toJSON', 'length', '0', '')
  ),
  values: [
    fc.boolean(),
    fc.double(),
    fc.integer(),
    fc.string(),
    anyUtf16,
    fc.bigInt(),
    fc.constantFrom(null, undefined, -0, NaN, Infinity, -(2n ** 63n), 2n ** 63n, -(2n ** 200n)),
    fc.date({ noInvalidDate: true }),
    fc.uint8Array().map((bytes) => Buffer.from(bytes))
  ],
  withBigInt: true,
  withMap: true,
  withSet: true,
  withTypedArray: true,
  withNullPrototype: true,
  maxDepth: 5
})
const plainValue = fc.anything({
  values: [fc.jsonValue(), fc.bigInt(), fc.constant(undefined)],
  withNullPrototype: true
})

const row = (id: number) => ({
  id,
  title: `Film ${id}`,
  price: 9.99,
  tags: ['a', 'b'],
  releasedAt: new Date(id * 1e10)
})

describe('what is stored comes back as it was', () => {
  const bytes = new Uint8Array([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16])
  const { buffer } = bytes
  const values: Record<string, unknown> = {
    'a null': null,
    'an undefined': undefined,
    'undefined in objects and arrays': { a: undefined, b: [undefined, null] },
    'numbers of every width': [
      0,
      63,
      64,
      -1,
      32767,
      32768,
      -32768,
      -32769,
      2 ** 31,
      -(2 ** 31),
      2 ** 53,
      0.1,
      5e-324
    ],
    'numbers that JSON loses': [NaN, Infinity, -Infinity, -0],
    'big integers of any size': [
      0n,
      1n,
      -1n,
      2n ** 63n - 1n,
      2n ** 63n,
      -(2n ** 63n),
      -(2n ** 63n) - 1n,
      7n ** 900n
    ],
    'strings of every width': ['', 'ascii', 'é'.repeat(300), '日本語', '\u0000', 'x'.repeat(20_000), '🎬'],
    'lone surrogates': ['\ud800', 'a\udc00b', { '\udfff': 1 }],
    'dates up to the last': [new Date(0), new Date(-1), new Date(8.64e15)],
    'a map with keys of all kinds': new Map<unknown, unknown>([
      [1, 'one'],
      ['1', { a: 1 }],
      [{ k: 1 }, new Set([1])],
      [NaN, 0]
    ]),
    'a set in a set': new Set([new Set([1, 2]), 'a', undefined]),
    'a Buffer': Buffer.from('bytes'),
    'an empty Buffer': Buffer.alloc(0),
    'views that begin inside their buffer': [
      new Uint16Array(buffer, 2, 3),
      new DataView(buffer, 3, 5),
      new Float64Array(buffer, 8, 1)
    ],
    'every typed array': [
      new Int8Array(buffer),
      bytes,
      new Uint8ClampedArray(buffer),
      new Int16Array(buffer),
      new Uint16Array(buffer),
      new Int32Array(buffer),
      new Uint32Array(buffer),
      new Float32Array(buffer),
      new Float64Array(buffer),
      new BigInt64Array(buffer),
      new BigUint64Array(buffer)
    ],
    'an ArrayBuffer': buffer.slice(3),
    'empty containers': [{}, [], new Map(), new Set(), Object.create(null)],
    'objects without a prototype': Object.assign(Object.create(null), { a: Object.create(null) }),
    'keys with a meaning elsewhere': JSON.parse(
      '{"__proto__": {"a": 1}, "constructor": 1, "toJSON": 2, "__keys__": 3, "then": 4}'
    ),
    'keys that look like indexes': { 2: 'b', 1: 'a', x: 'c' },
    'rows of a query': Array.from({ length: 100 }, (_, id) => row(id)),
    'rows with special keys, often enough to be compiled': Array.from({ length: 100 }, () =>
      JSON.parse('{"__proto__": 1, "a b": 2, "\\u2028\\"": 3}')
    ),
    'rows without a prototype': Array.from({ length: 100 }, (_, id) =>
      Object.assign(Object.create(null), row(id))
    )
  }
  for (const [name, value] of Object.entries(values)) {
    it(name, async () => assert.deepStrictEqual(await roundTrip(value), value))
  }

  // Apart, because Node 20's deepStrictEqual holds no two invalid dates equal.
  it('an invalid date', async () => {
    const { at } = (await roundTrip({ at: new Date(NaN) })) as { at: Date }
    expect(at).toBeInstanceOf(Date)
    expect(at.getTime()).toBeNaN()
  })

  it('any value at all', async () => {
    await fc.assert(
      fc.asyncProperty(anyValue, async (value) => assert.deepStrictEqual(await roundTrip(value), value))
    )
  })

  it('any value at all, compressed', async () => {
    const property = async (value: unknown) =>
      assert.deepStrictEqual(await roundTrip([value, value], compressing), [value, value])
    await fc.assert(fc.asyncProperty(anyValue, property))
  })

  it('the same object twice comes back as two equal ones', () => {
    const brand = { name: 'acme' }
    const { flags, bytes } = codec.encode([brand, brand]) as { flags: number; bytes: Buffer }
    const [first, second] = codec.decode(flags, bytes) as object[]
    expect(first).toEqual(second)
    expect(first).not.toBe(second)
  })

  it('never asks a value for its toJSON', async () => {
    expect(() => codec.encode({ toJSON: () => 'other' })).toThrow('$.toJSON is a function')
    const dated = Object.assign(Object.create({ toJSON: () => 'other' }), { a: 1 })
    expect(() => codec.encode(dated)).toThrow(UncacheableValueError)
  })

  it('shares no memory with the bytes it was read from', () => {
    const { flags, bytes } = codec.encode([Buffer.from('abc'), new Uint32Array([1])]) as {
      flags: number
      bytes: Buffer
    }
    const decoded = codec.decode(flags, bytes)
    bytes.fill(0)
    assert.deepStrictEqual(decoded, [Buffer.from('abc'), new Uint32Array([1])])
  })
})

describe('sharing', () => {
  const isDeepFrozen = (value: unknown): boolean =>
    typeof value !== 'object' ||
    value === null ||
    (Object.isFrozen(value) && Object.values(value).every(isDeepFrozen))

  it('freezes plain values all the way down', async () => {
    const property = async (value: unknown) => {
      const { flags, bytes } = await codec.encode(value)
      expect(isShareable(flags)).toBe(true)
      expect(isDeepFrozen(codec.decode(flags, bytes))).toBe(true)
    }
    await fc.assert(fc.asyncProperty(plainValue, property))
    await property(Array.from({ length: 100 }, (_, id) => ({ id, nested: { tags: ['a'] } })))
  })

  it.each([[new Date()], [new Map()], [new Set()], [Buffer.from('a')], [new ArrayBuffer(1)]])(
    'gives each reader its own copy of a value with %o in it',
    async (inner) => {
      const { flags, bytes } = await codec.encode({ list: [inner] })
      expect(isShareable(flags)).toBe(false)
      const copy = codec.decode(flags, bytes) as { list: unknown[] }
      copy.list.push(1)
      assert.deepStrictEqual(codec.decode(flags, bytes), { list: [inner] })
    }
  )
})

describe('limits', () => {
  it('refuses values over maxValueBytes, and counts all sections', () => {
    const small = new PayloadCodec({ compressAboveBytes: Infinity, maxValueBytes: 100 })
    for (const value of [
      'x'.repeat(98),
      '日'.repeat(49),
      Array(97).fill(1),
      Buffer.alloc(97),
      { ['k'.repeat(95)]: 1 }
    ]) {
      expect(() => small.encode(value)).toThrow(ValueTooLargeError)
    }
    expect(() => small.encode('x'.repeat(90))).not.toThrow()
  })

  it('stops early on a value that is small in memory and huge when written out', () => {
    let value: unknown = 'leaf'
    for (let level = 0; level < 100; level++) value = [value, value]
    expect(() => codec.encode(value)).toThrow(ValueTooLargeError)
    expect(() => codec.encode(Array(1e6).fill('x'.repeat(1e6)))).toThrow(ValueTooLargeError)
  })

  it('answers at once unless it compresses', async () => {
    expect(compressing.encode('short')).not.toBeInstanceOf(Promise)
    const pending = compressing.encode('long '.repeat(100))
    expect(pending).toBeInstanceOf(Promise)
    const { flags, bytes } = await pending
    expect(bytes.length).toBeLessThan(100)
    expect(await compressing.decode(flags, bytes)).toBe('long '.repeat(100))
    expect(await codec.decode(flags, bytes)).toBe('long '.repeat(100))
  })

  it('keeps the original where compressing saves little', async () => {
    const noise = randomBytes(500)
    const { flags, bytes } = await compressing.encode(noise)
    expect(compressing.decode(flags, bytes)).toEqual(noise)
  })
})

describe('hostile bytes', () => {
  const readable = async (flags: number, bytes: Buffer): Promise<void> => {
    try {
      await compressing.decode(flags, bytes)
    } catch (error) {
      if (!(error instanceof CorruptEntryError)) throw error
    }
  }

  it('random bytes under any flags are a value or a CorruptEntryError', async () => {
    const property = fc.asyncProperty(
      fc.integer({ min: 0, max: 255 }),
      fc.uint8Array({ maxLength: 200 }),
      async (flags, bytes) => {
        await readable(flags, Buffer.from(bytes))
        await readable(flags & 1, Buffer.from(bytes))
        // Past the section lengths and past the compression, where random bytes seldom get.
        await readable(flags & 1, Buffer.from([0, 0, ...bytes]))
        await readable((flags & 1) | 2, deflateRawSync(Buffer.from([4, 0, 97, 98, 99, 100, ...bytes])))
      }
    )
    await fc.assert(property, { numRuns: 2000 })
    expect(Object.keys(Object.prototype)).toEqual([])
  })

  it('damaged payloads are a value or a CorruptEntryError', async () => {
    const damage = fc.record({ at: fc.nat(), bit: fc.nat(7), cut: fc.nat(), flags: fc.nat(3) })
    const property = fc.asyncProperty(anyValue, damage, async (value, { at, bit, cut, flags }) => {
      const encoded = await compressing.encode([value, row(1), row(2)])
      const flipped = Buffer.from(encoded.bytes)
      flipped[at % flipped.length]! ^= 1 << bit
      await readable(encoded.flags, flipped)
      await readable(flags, flipped)
      await readable(encoded.flags, encoded.bytes.subarray(0, cut % encoded.bytes.length))
    })
    await fc.assert(property, { numRuns: 1000 })
  })

  it('every truncation is noticed', async () => {
    const { flags, bytes } = await codec.encode([
      row(1),
      new Map([['a', Buffer.from('abc')]]),
      7n ** 99n,
      '日本',
      1.5
    ])
    for (let length = 0; length < bytes.length; length++) {
      expect(() => codec.decode(flags, bytes.subarray(0, length))).toThrow(CorruptEntryError)
    }
    expect(() => codec.decode(flags, Buffer.concat([bytes, Buffer.alloc(1)]))).toThrow(CorruptEntryError)
  })

  it('a few bytes cannot claim memory they do not have', async () => {
    const huge = [0xff, 0xff, 0xff, 0xff, 0x0f]
    for (const token of [0x08, 0x0a, 0x0b, 0x0c, 0x0d, 0x11, 0x12]) {
      expect(() => codec.decode(0, Buffer.from([0, 0, token, ...huge]))).toThrow(CorruptEntryError)
    }
    expect(() => codec.decode(0, Buffer.from([0, 0, 0x13, 0, ...huge]))).toThrow(CorruptEntryError)
    expect(() => codec.decode(0, Buffer.from([...huge, 0, 0]))).toThrow(CorruptEntryError)
  })

  it('inflates to no more than maxValueBytes', async () => {
    const bomb = deflateRawSync(Buffer.alloc(64 * 1024 * 1024))
    await expect(compressing.decode(0b11, bomb)).rejects.toThrow(CorruptEntryError)
  })

  it('deep nesting is noticed before the stack runs out', () => {
    expect(() =>
      codec.decode(0, Buffer.concat([Buffer.alloc(2), Buffer.alloc(400_000, Buffer.from([0x0c, 1]))]))
    ).toThrow(CorruptEntryError)
  })

  it('a shareable value with a Date in it is refused, for it could be changed under another reader', async () => {
    const { bytes } = await codec.encode([new Date()])
    expect(() => codec.decode(1, bytes)).toThrow(CorruptEntryError)
  })

  it('an unknown format is refused, and the bits of the caller are left alone', async () => {
    const { flags, bytes } = await codec.encode({ a: 1 })
    expect(() => codec.decode(flags | 0b000100, bytes)).toThrow(CorruptEntryError)
    expect(codec.decode(flags | 0b1100_0000, bytes)).toEqual({ a: 1 })
  })
})
