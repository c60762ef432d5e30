/**
 * A value to bytes, in one walk that reads every property once: what it cannot restore exactly it refuses, and
 * whether the value may be shared once frozen is known when it is done.
 */
import { CorralError, UncacheableValueError, ValueTooLargeError } from '../errors.js'
import { formatPath, reasonToRefuse } from './uncacheable.js'
import { BINARY_KINDS, MAX_DEPTH, Token } from './value-format.js'

export interface WrittenValue {
  readonly bytes: Buffer
  /** Holds only plain objects, arrays and primitives, which freezing protects from every change. */
  readonly shareable: boolean
}

/**
 * Serializes `value` in the layout of `value-format.ts`.
 *
 * @throws UncacheableValueError with the path to what cannot be restored exactly, and what to do about it
 * @throws ValueTooLargeError over `maxBytes`; it says how far writing came, as it stops at once
 */
export function writeValue(value: unknown, maxBytes: number): WrittenValue {
  // A Proxy or a getter in the value may run code that caches another value: that one gets a writer of its own.
  const writer = idleWriter ?? new ValueWriter()
  idleWriter = undefined
  try {
    return writer.serialize(value, maxBytes)
  } finally {
    writer.reset()
    idleWriter = writer
  }
}

let idleWriter: ValueWriter | undefined

const INITIAL_BYTES = 16 * 1024
/** A larger buffer is given back after use. */
const MAX_KEPT_BYTES = 1024 * 1024
/** The most that a token takes beside what it announces: a kind or a token, and a length. */
const TOKEN_BYTES = 16

const BEYOND_LATIN1 = /[^\0-\xff]/
const binaryKindByPrototype = new Map(BINARY_KINDS.map((kind, index) => [kind.prototype, index]))
// Finds an accessor without the descriptor object that getOwnPropertyDescriptor makes for each property.
const lookupGetter: (this: object, key: string) => unknown = Reflect.get(Object.prototype, '__lookupGetter__')

interface WrittenKeys {
  readonly keys: readonly string[]
  readonly nullPrototype: boolean
  readonly number: number
}

class ValueWriter {
  #tokens = Buffer.allocUnsafeSlow(INITIAL_BYTES)
  #at = 0
  #narrow = ''
  #wide = ''
  #shareable = true
  #maxBytes = 0
  #keyLists = new Map<string, WrittenKeys>()
  /** The key list last seen at each depth: rows of one query lie at one depth, so it is nearly always the right one. */
  #keysAtDepth: (WrittenKeys | undefined)[] = []
  /** The containers from the root to here, and in each the key or index of the next; undefined: not yet inside. */
  #ancestors: object[] = []
  #steps: (string | number | undefined)[] = []
  #depth = 0

  serialize(value: unknown, maxBytes: number): WrittenValue {
    this.#maxBytes = maxBytes
    try {
      this.#write(value)
    } catch (error) {
      if (error instanceof CorralError) throw error
      // A revoked Proxy, or an object that only pretends to be a Date: whoever threw, it cannot be read.
      const path = formatPath(this.#ancestors, this.#steps, this.#depth)
      throw new UncacheableValueError(
        path,
        `cannot be read (${error instanceof Error ? error.message : 'it threw'})`
      )
    }
    return { bytes: this.#assemble(), shareable: this.#shareable }
  }

  reset(): void {
    if (this.#tokens.length > MAX_KEPT_BYTES) this.#tokens = Buffer.allocUnsafeSlow(INITIAL_BYTES)
    this.#at = 0
    this.#narrow = ''
    this.#wide = ''
    this.#shareable = true
    if (this.#keyLists.size > 0) this.#keyLists = new Map()
    this.#keysAtDepth.length = 0
    this.#ancestors.length = 0
    this.#steps.length = 0
    this.#depth = 0
  }

  #write(value: unknown): void {
    if (this.#at + TOKEN_BYTES > this.#tokens.length) this.#reserve(TOKEN_BYTES)
    switch (typeof value) {
      case 'string':
        return this.#writeString(value)
      case 'number':
        return this.#writeNumber(value)
      case 'boolean':
        return this.#writeByte(value ? Token.True : Token.False)
      case 'undefined':
        return this.#writeByte(Token.Undefined)
      case 'bigint':
        return this.#writeBigInt(value)
      case 'object':
        return value === null ? this.#writeByte(Token.Null) : this.#writeContainer(value)
      default:
        return this.#refuse(reasonToRefuse(value))
    }
  }

  #writeString(text: string): void {
    if (BEYOND_LATIN1.test(text)) {
      this.#stopIfTooLarge(text.length * 2)
      this.#writeByte(Token.WideString)
      this.#writeLength(text.length)
      this.#wide += text
      return
    }
    if (text.length < 0x80) {
      this.#writeByte(Token.ShortNarrowString | text.length)
    } else {
      this.#stopIfTooLarge(text.length)
      this.#writeByte(Token.NarrowString)
      this.#writeLength(text.length)
    }
    this.#narrow += text
  }

  #writeNumber(value: number): void {
    const isInt32 = (value | 0) === value && !Object.is(value, -0)
    if (isInt32 && value >= 0 && value < 0x40) {
      this.#writeByte(Token.SmallInteger | value)
    } else if (isInt32 && value >= -0x8000 && value < 0x8000) {
      this.#writeByte(Token.Int16)
      this.#at = this.#tokens.writeInt16LE(value, this.#at)
    } else if (isInt32) {
      this.#writeByte(Token.Int32)
      this.#at = this.#tokens.writeInt32LE(value, this.#at)
    } else {
      this.#writeByte(Token.Float64)
      this.#at = this.#tokens.writeDoubleLE(value, this.#at)
    }
  }

  #writeBigInt(value: bigint): void {
    if (BigInt.asIntN(64, value) === value) {
      this.#writeByte(Token.BigInt64)
      this.#at = this.#tokens.writeBigInt64LE(value, this.#at)
      return
    }
    const digits = (value < 0n ? -value : value).toString(16)
    this.#writeByte(value < 0n ? Token.NegativeBigIntHex : Token.BigIntHex)
    this.#writeLength(digits.length)
    this.#narrow += digits
  }

  #writeContainer(value: object): void {
    const depth = this.#depth
    this.#refuseCycle(value, depth)
    if (depth === MAX_DEPTH)
      this.#refuse(`lies more than ${MAX_DEPTH} levels deep; flatten the value in the loader`)
    this.#stopIfTooLarge()

    this.#ancestors[depth] = value
    this.#steps[depth] = undefined
    this.#depth = depth + 1
    this.#writeContents(value, depth)
    this.#depth = depth
  }

  #writeContents(value: object, depth: number): void {
    const prototype: unknown = Object.getPrototypeOf(value)
    if (Array.isArray(value)) {
      if (prototype === Array.prototype) return this.#writeArray(value, depth)
    } else if (prototype === Object.prototype) {
      return this.#writeObject(value as Record<string, unknown>, depth, false)
    } else if (prototype === null) {
      return this.#writeObject(value as Record<string, unknown>, depth, true)
    } else if (prototype === Date.prototype) {
      return this.#writeDate(value as Date)
    } else if (prototype === Map.prototype) {
      return this.#writeMap(value as Map<unknown, unknown>, depth)
    } else if (prototype === Set.prototype) {
      return this.#writeSet(value as Set<unknown>, depth)
    }
    const binaryKind = binaryKindByPrototype.get(prototype as object)
    if (binaryKind !== undefined) return this.#writeBinary(binaryKind, value as ArrayBufferView | ArrayBuffer)
    this.#refuse(reasonToRefuse(value))
  }

  #writeArray(array: unknown[], depth: number): void {
    const { length } = array
    this.#stopIfTooLarge(length)
    if (Object.keys(array).length > length)
      this.#refuse('has properties beside its elements; copy the elements')
    this.#refuseSymbolKeys(array)
    this.#writeByte(Token.Array)
    this.#writeLength(length)
    for (let index = 0; index < length; index++) {
      this.#steps[depth] = index
      const element = array[index]
      if (element === undefined && !Object.hasOwn(array, index)) this.#refuse('is a hole; fill it with null')
      this.#write(element)
    }
  }

  #writeObject(object: Record<string, unknown>, depth: number, nullPrototype: boolean): void {
    this.#refuseSymbolKeys(object)
    const keys = Object.keys(object)
    this.#writeKeys(keys, depth, nullPrototype)
    for (const key of keys) {
      this.#steps[depth] = key
      if (lookupGetter.call(object, key) !== undefined)
        this.#refuse('is a getter; read it into a plain property')
      this.#write(object[key])
    }
  }

  #writeKeys(keys: string[], depth: number, nullPrototype: boolean): void {
    let known = this.#keysAtDepth[depth]
    if (known === undefined || !isSameKeys(known, keys, nullPrototype)) {
      const keysJson = JSON.stringify(keys)
      const name = nullPrototype ? `null${keysJson}` : keysJson
      known = this.#keyLists.get(name)
      if (known === undefined) return this.#writeNewKeys(keys, keysJson, name, depth, nullPrototype)
      this.#keysAtDepth[depth] = known
    }
    this.#writeByte(Token.ObjectWithKnownKeys)
    this.#writeLength(known.number)
  }

  #writeNewKeys(keys: string[], keysJson: string, name: string, depth: number, nullPrototype: boolean): void {
    const written: WrittenKeys = { keys, nullPrototype, number: this.#keyLists.size }
    this.#keyLists.set(name, written)
    this.#keysAtDepth[depth] = written
    const byteLength = Buffer.byteLength(keysJson)
    this.#reserve(byteLength + TOKEN_BYTES)
    this.#writeByte(nullPrototype ? Token.NullPrototypeObjectWithNewKeys : Token.ObjectWithNewKeys)
    this.#writeLength(byteLength)
    this.#at += this.#tokens.write(keysJson, this.#at)
  }

  #writeDate(date: Date): void {
    this.#refuseOwnProperties(date)
    this.#shareable = false
    this.#writeByte(Token.Date)
    this.#at = this.#tokens.writeDoubleLE(Date.prototype.getTime.call(date), this.#at)
  }

  #writeMap(map: Map<unknown, unknown>, depth: number): void {
    this.#refuseOwnProperties(map)
    this.#shareable = false
    this.#writeByte(Token.Map)
    this.#writeLength(map.size)
    let index = 0
    for (const [key, value] of map) {
      this.#steps[depth] = index++
      this.#write(key)
      this.#write(value)
    }
  }

  #writeSet(set: Set<unknown>, depth: number): void {
    this.#refuseOwnProperties(set)
    this.#shareable = false
    this.#writeByte(Token.Set)
    this.#writeLength(set.size)
    let index = 0
    for (const value of set) {
      this.#steps[depth] = index++
      this.#write(value)
    }
  }

  #writeBinary(kind: number, binary: ArrayBufferView | ArrayBuffer): void {
    this.#shareable = false
    const bytes = ArrayBuffer.isView(binary)
      ? new Uint8Array(binary.buffer, binary.byteOffset, binary.byteLength)
      : new Uint8Array(binary, 0, binary.byteLength)
    this.#reserve(bytes.length + TOKEN_BYTES)
    this.#writeByte(Token.Binary)
    this.#writeByte(kind)
    this.#writeLength(bytes.length)
    this.#tokens.set(bytes, this.#at)
    this.#at += bytes.length
  }

  #refuseCycle(value: object, depth: number): void {
    for (let ancestor = 0; ancestor < depth; ancestor++) {
      if (this.#ancestors[ancestor] !== value) continue
      const path = formatPath(this.#ancestors, this.#steps, ancestor)
      this.#refuse(`refers back to ${path}; remove the cycle in the loader`)
    }
  }

  #refuseOwnProperties(builtIn: object): void {
    if (Object.keys(builtIn).length > 0) {
      this.#refuse('has properties of its own; convert it to plain data in the loader')
    }
    this.#refuseSymbolKeys(builtIn)
  }

  #refuseSymbolKeys(container: object): void {
    if (Object.getOwnPropertySymbols(container).length > 0)
      this.#refuse('has a symbol as a key; use a string')
  }

  #refuse(reason: string): never {
    throw new UncacheableValueError(formatPath(this.#ancestors, this.#steps, this.#depth), reason)
  }

  #assemble(): Buffer {
    const narrowBytes = this.#narrow.length
    const wideBytes = this.#wide.length * 2
    const lengthBytes = lengthOfLength(narrowBytes) + lengthOfLength(this.#wide.length)
    const total = lengthBytes + narrowBytes + wideBytes + this.#at
    if (total > this.#maxBytes) throw new ValueTooLargeError(total, this.#maxBytes)

    const payload = Buffer.allocUnsafe(total)
    let at = writeLength(payload, 0, narrowBytes)
    at = writeLength(payload, at, this.#wide.length)
    if (narrowBytes > 0) at += payload.write(this.#narrow, at, 'latin1')
    if (wideBytes > 0) at += payload.write(this.#wide, at, 'utf16le')
    this.#tokens.copy(payload, at, 0, this.#at)
    return payload
  }

  #writeByte(byte: number): void {
    this.#tokens[this.#at++] = byte
  }

  #writeLength(length: number): void {
    this.#at = writeLength(this.#tokens, this.#at, length)
  }

  #reserve(byteLength: number): void {
    const needed = this.#at + byteLength
    if (needed <= this.#tokens.length) return
    this.#stopIfTooLarge(byteLength - TOKEN_BYTES)
    const larger = Buffer.allocUnsafeSlow(Math.max(needed, this.#tokens.length * 2))
    this.#tokens.copy(larger, 0, 0, this.#at)
    this.#tokens = larger
  }

  /**
   * Checked at each container, because a value that refers to the same object many times can be far larger
   * written out than it is in memory.
   */
  #stopIfTooLarge(aboutToWrite = 0): void {
    const bytes = this.#at + this.#narrow.length + this.#wide.length * 2 + aboutToWrite
    if (bytes > this.#maxBytes) throw new ValueTooLargeError(bytes, this.#maxBytes)
  }
}

function isSameKeys(written: WrittenKeys, keys: readonly string[], nullPrototype: boolean): boolean {
  if (written.keys.length !== keys.length || written.nullPrototype !== nullPrototype) return false
  for (let index = 0; index < keys.length; index++) {
    if (written.keys[index] !== keys[index]) return false
  }
  return true
}

/** Unsigned LEB128; returns where the next byte goes. */
function writeLength(target: Buffer, at: number, length: number): number {
  let rest = length
  while (rest >= 0x80) {
    target[at++] = (rest % 0x80) | 0x80
    rest = Math.floor(rest / 0x80)
  }
  target[at++] = rest
  return at
}

function lengthOfLength(length: number): number {
  return length < 2 ** 7 ? 1 : length < 2 ** 14 ? 2 : length < 2 ** 21 ? 3 : length < 2 ** 28 ? 4 : 5
}
