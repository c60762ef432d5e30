import { SHORT_ARRAY } from '../codec/value-reader.js'

/*
 * What a decoded value takes on the heap of V8 (64-bit, without pointer compression, as Node has it). Its frame is no
 * measure of that: a small number takes one byte in a frame and eight in an array, and `{}` takes two and 24. So the
 * value itself is walked, once, when it is kept. The constants are measured, and compared with the heap by
 * `heap-size.test.ts`.
 */
const OBJECT_BYTES = 24
const PROPERTY_BYTES = 8
const ARRAY_BYTES = 32 + 16
const ELEMENT_BYTES = 8
const HEAP_NUMBER_BYTES = 16
const BIGINT_BYTES = 24
/** A string, or a slice of the one that all strings of a value are cut out of. */
const STRING_BYTES = 32
/** Of a shorter one it does not matter whether its characters take one byte or two. */
const SHORT_STRING = 16
const SMALLEST_SMI = -(2 ** 31)
const LARGEST_SMI = 2 ** 31 - 1
const DESCRIPTOR_BYTES = 24
/** Of an object that V8 keeps as a hash table: one with more properties than this, or without a prototype. */
const MOST_FAST_PROPERTIES = 128
const TABLE_BYTES = 170
const SLOT_BYTES = 24
const FEWEST_SLOTS = 4

/** Names of properties may be data, as in a dictionary, or the columns that all rows share: those that were met before are. */
const knownShapes = new Set<string>()
const MOST_SHAPES = 500
const LONGEST_SHAPE = 4_096
/** The last one by its length: to compare names takes less than to join them. */
const lastShapes: (readonly string[])[] = []
const LAST_SHAPES = 16

/** Of a value of plain objects, arrays and primitives; a part that occurs twice is counted twice. */
export function heapBytesOf(value: unknown): number {
  switch (typeof value) {
    case 'string':
      return stringBytes(value)
    case 'number':
      return Number.isInteger(value) && value >= SMALLEST_SMI && value <= LARGEST_SMI ? 0 : HEAP_NUMBER_BYTES
    case 'bigint':
      return bigintBytes(value)
    case 'object':
      if (value === null) return 0
      return Array.isArray(value) ? arrayBytes(value) : objectBytes(value as Record<string, unknown>)
    default:
      return 0
  }
}

function bigintBytes(value: bigint): number {
  if (BigInt.asIntN(64, value) === value) return BIGINT_BYTES
  return BIGINT_BYTES + Math.ceil(value.toString(16).length / 2)
}

function stringBytes(text: string): number {
  const isWide = text.length > SHORT_STRING && Buffer.byteLength(text) > text.length
  return STRING_BYTES + text.length * (isWide ? 2 : 1)
}

function arrayBytes(array: readonly unknown[]): number {
  let bytes = ARRAY_BYTES + roomFor(array.length) * ELEMENT_BYTES
  for (const element of array) bytes += heapBytesOf(element)
  return bytes
}

/** A short array has room for what is in it; a longer one as V8 makes room while it grows element by element. */
function roomFor(length: number): number {
  if (length <= SHORT_ARRAY) return length
  let room = 0
  while (room < length) room += 1 + Math.floor((room + 1) / 2) + 16
  return room
}

function objectBytes(object: Record<string, unknown>): number {
  const names = Object.keys(object)
  if (names.length === 0) return OBJECT_BYTES
  const isTable = names.length > MOST_FAST_PROPERTIES || Object.getPrototypeOf(object) === null
  let bytes = isTable ? tableBytes(names.length) : OBJECT_BYTES + names.length * PROPERTY_BYTES
  for (const name of names) bytes += heapBytesOf(object[name])
  return isKnownShape(names) ? bytes : bytes + namesBytes(names)
}

function tableBytes(properties: number): number {
  let slots = FEWEST_SLOTS
  while (slots < properties + (properties >> 1)) slots *= 2
  return TABLE_BYTES + slots * SLOT_BYTES
}

function namesBytes(names: readonly string[]): number {
  return names.reduce((sum, name) => sum + DESCRIPTOR_BYTES + stringBytes(name), 0)
}

/** Whether other objects have the same names, and share them; notes the shape. */
function isKnownShape(names: readonly string[]): boolean {
  const last = lastShapes[names.length % LAST_SHAPES]
  if (last?.length === names.length && last.every((name, index) => name === names[index])) return true
  const shape = names.join('\n')
  if (shape.length > LONGEST_SHAPE) return false
  lastShapes[names.length % LAST_SHAPES] = names
  if (knownShapes.has(shape)) return true
  if (knownShapes.size >= MOST_SHAPES) knownShapes.clear()
  knownShapes.add(shape)
  return false
}
