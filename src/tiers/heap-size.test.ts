import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { describe, expect, it } from 'vitest'
import { PayloadCodec } from '../codec/codec.js'
import { heapBytesOf } from './heap-size.js'

setFlagsFromString('--expose-gc')
// Or V8 throws away compiled code nobody called for a while, in the middle of what is measured.
setFlagsFromString('--no-flush-bytecode')
const collect = runInNewContext('gc') as () => void

/** What of this process' own garbage goes meanwhile must be little beside what is measured. */
const MEASURED_BYTES = 10_000_000

function heapUsed(): number {
  let used = Number.POSITIVE_INFINITY
  for (let round = 0; round < 10; round++) {
    collect()
    const { heapUsed } = process.memoryUsage()
    if (Math.abs(used - heapUsed) < MEASURED_BYTES / 1_000) return heapUsed
    used = heapUsed
  }
  return used
}

const SHAPES: Record<string, (id: number) => unknown> = {
  'a row': (id) => ({ id, name: `product ${id}`, price: id * 1.5, tags: ['a', 'b'], text: 'x'.repeat(100) }),
  'long text': (id) => `${id}`.padEnd(2_000, 'x'),
  'text beyond Latin-1': (id) => `${id}`.padEnd(2_000, 'ж'),
  'small numbers': (id) => Array.from({ length: 500 }, (_, index) => (index + id) % 60),
  fractions: (id) => Array.from({ length: 300 }, (_, index) => index + id / 7),
  rows: (id) =>
    Array.from({ length: 50 }, (_, row) => ({ id: row, part: id * 1.1, text: `text ${row}`, flag: true })),
  'empty objects': () => Array.from({ length: 200 }, () => ({})),
  texts: (id) => Array.from({ length: 100 }, (_, index) => `string number ${index} of ${id}`),
  'a dictionary': (id) =>
    Object.fromEntries(Array.from({ length: 40 }, (_, index) => [`key ${id} ${index}`, index])),
  'small dictionaries': (id) =>
    Array.from({ length: 5 }, (_, part) => dictionary(8, (index) => `key ${id} ${part} ${index}`)),
  'dictionaries that begin alike': (id) => ({
    total: 40,
    ...dictionary(40, (index) => `key ${id} ${index}`)
  }),
  'rows of many columns': () => dictionary(150, (index) => `column ${index}`),
  'objects without a prototype': (id) =>
    Array.from({ length: 20 }, () =>
      Object.assign(Object.create(null), { id, name: 'a', flag: true, rest: 0 })
    ),
  'large bigints': (id) => Array.from({ length: 20 }, (_, index) => 2n ** 4_096n + BigInt(id * 100 + index))
}

function dictionary(size: number, keyOf: (index: number) => string): Record<string, number> {
  return Object.fromEntries(Array.from({ length: size }, (_, index) => [keyOf(index), index]))
}

describe('the count of what a value takes', () => {
  const codec = new PayloadCodec({ compressAboveBytes: Number.POSITIVE_INFINITY, maxValueBytes: 1e6 })
  for (const [name, make] of Object.entries(SHAPES)) {
    it(`is near the truth for ${name}`, () => {
      const length = Math.max(2_000, Math.ceil(MEASURED_BYTES / heapBytesOf(make(1))))
      const encoded = Array.from(
        { length },
        (_, id) => codec.encode(make(id)) as { flags: number; bytes: Buffer }
      )
      for (const { flags, bytes } of encoded.slice(0, 100)) codec.decode(flags, bytes)
      const before = heapUsed()
      const values = encoded.map(({ flags, bytes }) => codec.decode(flags, bytes))
      const taken = heapUsed() - before
      const counted = values.reduce<number>((sum, value) => sum + heapBytesOf(value), 0)
      expect(counted / taken).toBeGreaterThan(0.7)
      expect(counted / taken).toBeLessThan(1.6)
    })
  }
})
