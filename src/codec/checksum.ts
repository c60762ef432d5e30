import { crc32 } from 'node:zlib'

/** Up to here mixing words is cheaper than a call into native code and the view that it takes; measured. */
const MIXED_MOST_BYTES = 512

/** Of all from `start` on: CRC-32, or for few bytes a mix of their words. */
export function sumOf(bytes: Buffer, start: number, seed: number): number {
  if (bytes.length - start > MIXED_MOST_BYTES) return crc32(bytes.subarray(start), seed)
  return mixOf(bytes, start, seed)
}

/**
 * Each step is a bijection of the sum and of the word, so damage within one word always shows, and any other with all
 * but a chance of 2^-32, as for a CRC.
 */
function mixOf(bytes: Buffer, start: number, seed: number): number {
  // Kept a signed 32-bit integer all the way: V8 would make a double of a larger one, at each step.
  let sum = seed | 0
  let at = start
  const lastWord = bytes.length - 4
  for (; at <= lastWord; at += 4) {
    const word = bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)
    sum = Math.imul(sum ^ word, 0x9e3779b1)
    sum ^= sum >>> 15
  }
  for (; at < bytes.length; at++) {
    sum = Math.imul(sum ^ bytes[at]!, 0x9e3779b1)
    sum ^= sum >>> 15
  }
  return sum >>> 0
}

/**
 * FNV-1a over UTF-16 units: as a seed it only has to differ between keys, and for a short key it is several times
 * cheaper than a call into native code.
 */
export function hashOf(key: string): number {
  let hash = 0x811c9dc5
  for (let index = 0; index < key.length; index++) hash = Math.imul(hash ^ key.charCodeAt(index), 0x01000193)
  return hash >>> 0
}
