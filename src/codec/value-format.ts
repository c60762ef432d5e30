/**
 * The byte layout of a serialized value. It is our own because none of the usual ones is exact, fast and safe
 * on hostile bytes at once; `docs/decisions/0001-codec.md` has the comparison.
 *
 *     length   narrowBytes    LEB128: bytes of the narrow section
 *     length   wideUnits      LEB128: UTF-16 units of the wide section
 *     bytes    narrow         every string without a character over U+00FF, joined, as Latin-1
 *     bytes    wide           every other string, joined, as UTF-16LE (so lone surrogates survive)
 *     bytes    tokens         the value, depth first, one token below for each node
 *
 * Strings lie apart from the structure so that a reader turns all of them into one string with one native call
 * and takes slices. An object writes its key list once; the next with the same keys names the list by number.
 * All numbers are little-endian. Changing anything here needs a new format number in `codec.ts`.
 */
export const Token = {
  Null: 0x00,
  False: 0x01,
  True: 0x02,
  Undefined: 0x03,
  Int16: 0x04,
  Int32: 0x05,
  Float64: 0x06,
  /** Eight bytes, two's complement: a BigInt that fits. */
  BigInt64: 0x07,
  /** A length; so many hexadecimal digits in the narrow section: a BigInt of any size. */
  BigIntHex: 0x08,
  NegativeBigIntHex: 0x09,
  /** A length; so many characters of the narrow section. */
  NarrowString: 0x0a,
  /** A length; so many UTF-16 units of the wide section. */
  WideString: 0x0b,
  /** A length; so many values. */
  Array: 0x0c,
  /** A length; so many bytes of UTF-8: the keys as a JSON array. Then a value for each key. */
  ObjectWithNewKeys: 0x0d,
  NullPrototypeObjectWithNewKeys: 0x0e,
  /** The number of a key list above, counted from 0 in the order of their definition. Then a value for each key. */
  ObjectWithKnownKeys: 0x0f,
  /** Milliseconds since 1970 as Float64; NaN is the invalid date. */
  Date: 0x10,
  /** A length; so many pairs of key and value. */
  Map: 0x11,
  /** A length; so many values. */
  Set: 0x12,
  /** A kind from `BINARY_KINDS`; a length; so many bytes. */
  Binary: 0x13,
  /** 0x40 to 0x7f: the integers 0 to 63. */
  SmallInteger: 0x40,
  /** 0x80 to 0xff: a narrow string of 0 to 127 characters. */
  ShortNarrowString: 0x80
} as const

/** How far values may nest: well inside the stack of a fresh process, far beyond what a row or a page needs. */
export const MAX_DEPTH = 500

/** Objects with more keys are dictionaries rather than records: nothing is gained by compiling a reader for them. */
export const MAX_COMPILED_KEYS = 128

type BinaryView = ArrayBufferView | ArrayBuffer

interface BinaryKind {
  readonly prototype: object
  /** The width of an element; the byte length must be a multiple of it. */
  readonly elementBytes: number
  /** A view that owns the whole of `buffer`. */
  readonly wrap: (buffer: ArrayBuffer) => BinaryView
}

/** The index is the byte in the payload, so entries are only ever appended. */
export const BINARY_KINDS: readonly BinaryKind[] = [
  { prototype: Buffer.prototype, elementBytes: 1, wrap: (buffer) => Buffer.from(buffer) },
  { prototype: Uint8Array.prototype, elementBytes: 1, wrap: (buffer) => new Uint8Array(buffer) },
  { prototype: Int8Array.prototype, elementBytes: 1, wrap: (buffer) => new Int8Array(buffer) },
  {
    prototype: Uint8ClampedArray.prototype,
    elementBytes: 1,
    wrap: (buffer) => new Uint8ClampedArray(buffer)
  },
  { prototype: Int16Array.prototype, elementBytes: 2, wrap: (buffer) => new Int16Array(buffer) },
  { prototype: Uint16Array.prototype, elementBytes: 2, wrap: (buffer) => new Uint16Array(buffer) },
  { prototype: Int32Array.prototype, elementBytes: 4, wrap: (buffer) => new Int32Array(buffer) },
  { prototype: Uint32Array.prototype, elementBytes: 4, wrap: (buffer) => new Uint32Array(buffer) },
  { prototype: Float32Array.prototype, elementBytes: 4, wrap: (buffer) => new Float32Array(buffer) },
  { prototype: Float64Array.prototype, elementBytes: 8, wrap: (buffer) => new Float64Array(buffer) },
  { prototype: BigInt64Array.prototype, elementBytes: 8, wrap: (buffer) => new BigInt64Array(buffer) },
  { prototype: BigUint64Array.prototype, elementBytes: 8, wrap: (buffer) => new BigUint64Array(buffer) },
  { prototype: ArrayBuffer.prototype, elementBytes: 1, wrap: (buffer) => buffer },
  { prototype: DataView.prototype, elementBytes: 1, wrap: (buffer) => new DataView(buffer) }
]
