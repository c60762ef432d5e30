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
/** Names of so many properties may be data, as in a dictionary, and not the columns that all rows share. */
const MANY_PROPERTIES = 12
const DESCRIPTOR_BYTES = 24
const MOST_SHAPES = 1_000

/** Objects with many properties that were met before, by their first name and their number. */
const knownShapes = new Set<string>()

/** Of a value of plain objects, arrays and primitives; a part that occurs twice is counted twice. */
export function heapBytesOf(value: unknown): number {
  switch (typeof value) {
    case 'string':
      return stringBytes(value)
    case 'number':
      return Number.isInteger(value) && value >= SMALLEST_SMI && value <= LARGEST_SMI ? 0 : HEAP_NUMBER_BYTES
    case 'bigint':
      return BIGINT_BYTES
    case 'object':
      if (value === null) return 0
      return Array.isArray(value) ? arrayBytes(value) : objectBytes(value as Record<string, unknown>)
    default:
      return 0
  }
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
  let bytes = OBJECT_BYTES + names.length * PROPERTY_BYTES
  for (const name of names) bytes += heapBytesOf(object[name])
  return names.length >= MANY_PROPERTIES ? bytes + namesBytes(names) : bytes
}

/** Nothing for a shape that was met before: who has it shares it. */
function namesBytes(names: readonly string[]): number {
  const shape = `${names.length} ${names[0]}`
  if (knownShapes.has(shape)) return 0
  if (knownShapes.size >= MOST_SHAPES) knownShapes.clear()
  knownShapes.add(shape)
  return names.reduce((sum, name) => sum + DESCRIPTOR_BYTES + stringBytes(name), 0)
}
