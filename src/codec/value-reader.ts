/**
 * Bytes back to a value. The bytes may come from anyone who can write to Redis, so every length is checked
 * against the bytes that are there, memory stays proportional to them, and no token can name anything but data.
 */
import { type ObjectShape, ShapeCache, type ValueSource } from './object-shape.js'
import { BINARY_KINDS, MAX_DEPTH, Token } from './value-format.js'

/**
 * Reads what `writeValue` wrote.
 *
 * @param frozen freeze every object and array on the way; a payload with a Date, Map, Set or bytes in it, which
 *   freezing would not protect, is refused
 * @param start where the payload begins; it goes to the end
 * @throws on anything that is not a complete payload; the caller says what that means
 */
export function readValue(bytes: Buffer, frozen: boolean, start = 0): unknown {
  try {
    reader.begin(bytes, frozen, start)
    const value = reader.read()
    reader.assertAllRead()
    return value
  } finally {
    // It must not keep a reply alive.
    reader.end()
  }
}

/** Methods of Buffer that Node documents only by way of `toString`. */
interface SlicedBuffer extends Buffer {
  latin1Slice(start: number, end: number): string
  ucs2Slice(start: number, end: number): string
}

const shapeCache = new ShapeCache()

/** Arrays up to here take no more room than they need. */
export const SHORT_ARRAY = 16
/**
 * By length, copied to begin an array: one that grows has room for 17 from its first element on, which most rows never
 * need. Copied, because where a literal stands V8 may begin to make all arrays in the old generation (`object-shape.ts`).
 */
const ROOMS: readonly (readonly unknown[])[] = Array.from({ length: SHORT_ARRAY + 1 }, (_, length) =>
  Array.from({ length }, () => undefined)
)
const NO_ROOM = ROOMS[0]!

const NO_BYTES = Buffer.alloc(0)

class ValueReader implements ValueSource {
  #bytes: Buffer = NO_BYTES
  #frozen = false
  #narrow = ''
  #wide = ''
  #shapes: ObjectShape[] = []
  #at = 0
  #narrowAt = 0
  #wideAt = 0
  #depth = 0

  begin(bytes: Buffer, frozen: boolean, start: number): void {
    this.#bytes = bytes
    this.#frozen = frozen
    this.#at = start
    this.#narrowAt = 0
    this.#wideAt = 0
    this.#depth = 0
    if (this.#shapes.length > 0) this.#shapes = []
    const narrowBytes = this.#readLength()
    const wideBytes = this.#readLength() * 2
    this.#narrow = this.#readText('latin1', narrowBytes)
    this.#wide = this.#readText('utf16le', wideBytes)
  }

  end(): void {
    this.#bytes = NO_BYTES
    this.#narrow = ''
    this.#wide = ''
  }

  /** The next value. Reading past the end yields `undefined` bytes, which no token is. */
  read(): unknown {
    const token = this.#bytes[this.#at++]
    if (token === undefined) throw new RangeError('the bytes end inside a value')
    if (token >= Token.ShortNarrowString) return this.#readNarrow(token & 0x7f)
    if (token >= Token.SmallInteger) return token & 0x3f
    switch (token) {
      case Token.Null:
        return null
      case Token.False:
        return false
      case Token.True:
        return true
      case Token.Undefined:
        return undefined
      case Token.Int16:
        return this.#bytes.readInt16LE(this.#advance(2))
      case Token.Int32:
        return this.#bytes.readInt32LE(this.#advance(4))
      case Token.Float64:
        return this.#bytes.readDoubleLE(this.#advance(8))
      case Token.BigInt64:
        return this.#bytes.readBigInt64LE(this.#advance(8))
      case Token.BigIntHex:
        return this.#readHex()
      case Token.NegativeBigIntHex:
        return -this.#readHex()
      case Token.NarrowString:
        return this.#readNarrow(this.#readLength())
      case Token.WideString:
        return this.#readWide(this.#readLength())
      case Token.Date:
        return this.#readDate()
      default:
        return this.#readContainer(token)
    }
  }

  assertAllRead(): void {
    const complete =
      this.#at === this.#bytes.length &&
      this.#narrowAt === this.#narrow.length &&
      this.#wideAt === this.#wide.length
    if (!complete) throw new RangeError('the lengths of the sections do not match the value')
  }

  #readContainer(token: number): object {
    if (++this.#depth > MAX_DEPTH) throw new RangeError('the value nests too deep')
    const container = this.#frozen ? this.#readShareable(token) : this.#readMutable(token)
    this.#depth--
    return container
  }

  #readShareable(token: number): object {
    switch (token) {
      case Token.Array:
        return Object.freeze(this.#readArray())
      case Token.ObjectWithKnownKeys:
        return this.#knownShape().buildFrozen(this)
      case Token.ObjectWithNewKeys:
        return this.#newShape(false).buildFrozen(this)
      case Token.NullPrototypeObjectWithNewKeys:
        return this.#newShape(true).buildFrozen(this)
      default:
        throw new RangeError(`token ${token} cannot be part of a shareable value`)
    }
  }

  #readMutable(token: number): object {
    switch (token) {
      case Token.Array:
        return this.#readArray()
      case Token.ObjectWithKnownKeys:
        return this.#knownShape().build(this)
      case Token.ObjectWithNewKeys:
        return this.#newShape(false).build(this)
      case Token.NullPrototypeObjectWithNewKeys:
        return this.#newShape(true).build(this)
      case Token.Map:
        return this.#readMap()
      case Token.Set:
        return this.#readSet()
      case Token.Binary:
        return this.#readBinary()
      default:
        throw new RangeError(`token ${token} is unknown`)
    }
  }

  #readDate(): Date {
    if (this.#frozen) throw new RangeError('a Date cannot be part of a shareable value')
    return new Date(this.#bytes.readDoubleLE(this.#advance(8)))
  }

  #readArray(): unknown[] {
    const length = this.#readLength()
    if (length <= SHORT_ARRAY) {
      const array = ROOMS[length]!.slice()
      for (let index = 0; index < length; index++) array[index] = this.read()
      return array
    }
    // Grown as elements come, not allocated at once: `length` may be hostile, and each element is a byte at least.
    const array = NO_ROOM.slice()
    for (let index = 0; index < length; index++) array.push(this.read())
    return array
  }

  #readMap(): Map<unknown, unknown> {
    const size = this.#readLength()
    const map = new Map<unknown, unknown>()
    for (let index = 0; index < size; index++) map.set(this.read(), this.read())
    if (map.size !== size) throw new RangeError('a Map has a key twice')
    return map
  }

  #readSet(): Set<unknown> {
    const size = this.#readLength()
    const set = new Set<unknown>()
    for (let index = 0; index < size; index++) set.add(this.read())
    if (set.size !== size) throw new RangeError('a Set has a value twice')
    return set
  }

  /** Copied, so that the value neither keeps the network chunk alive nor shares memory with it. */
  #readBinary(): object {
    const kind = BINARY_KINDS[this.#bytes[this.#at++] ?? BINARY_KINDS.length]
    const length = this.#readLength()
    const start = this.#advance(length)
    if (kind === undefined || this.#at > this.#bytes.length) throw new RangeError('binary data is cut off')
    const copy = new Uint8Array(length)
    copy.set(this.#bytes.subarray(start, this.#at))
    return kind.wrap(copy.buffer)
  }

  #knownShape(): ObjectShape {
    const shape = this.#shapes[this.#readLength()]
    if (shape === undefined) throw new RangeError('an object names keys that were not defined')
    return shape
  }

  #newShape(nullPrototype: boolean): ObjectShape {
    const start = this.#advance(this.#readLength())
    if (this.#at > this.#bytes.length) throw new RangeError('text is cut off')
    const shape = shapeCache.find(this.#bytes, start, this.#at, nullPrototype)
    this.#shapes.push(shape)
    return shape
  }

  #readNarrow(length: number): string {
    return this.#narrow.slice(this.#narrowAt, (this.#narrowAt += length))
  }

  #readWide(length: number): string {
    return this.#wide.slice(this.#wideAt, (this.#wideAt += length))
  }

  #readHex(): bigint {
    return BigInt(`0x${this.#readNarrow(this.#readLength())}`)
  }

  #readText(encoding: 'latin1' | 'utf16le', byteLength: number): string {
    if (byteLength === 0) return ''
    const start = this.#advance(byteLength)
    if (this.#at > this.#bytes.length) throw new RangeError('text is cut off')
    // `toString` looks up the encoding first, a tenth of the cost of a small row.
    const bytes = this.#bytes as SlicedBuffer
    return encoding === 'latin1' ? bytes.latin1Slice(start, this.#at) : bytes.ucs2Slice(start, this.#at)
  }

  /** Unsigned LEB128 of at most 32 bits. */
  #readLength(): number {
    let length = 0
    for (let unit = 1; unit <= 2 ** 28; unit *= 128) {
      const byte = this.#bytes[this.#at++]
      if (byte === undefined) throw new RangeError('the bytes end inside a length')
      if (byte < 0x80) return length + byte * unit
      length += (byte & 0x7f) * unit
    }
    throw new RangeError('a length is too long')
  }

  #advance(byteLength: number): number {
    const start = this.#at
    this.#at = start + byteLength
    return start
  }
}

/** One for all: reading calls nobody else's code, so it is never asked for a second value in the middle of a first. */
const reader = new ValueReader()
