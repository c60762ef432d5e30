import { promisify } from 'node:util'
import { deflateRaw, inflateRaw } from 'node:zlib'

const deflate = promisify(deflateRaw)
const inflate = promisify(inflateRaw)

/** Above 3, each further percent saved costs a multiple of the time; see `docs/decisions/0001-codec.md`. */
const LEVEL = 3
/** Each chunk is a trip to the thread pool and back; with the default of 16 KiB inflating takes almost twice as long. */
const CHUNK_BYTES = 128 * 1024
/** Saving less than this share of the bytes is not worth inflating them on every read. */
const MIN_SAVING = 0.1

/**
 * Deflates on zlib's thread pool, so the event loop is not held up.
 *
 * @returns undefined when it would save less than a tenth
 */
export async function compress(bytes: Buffer): Promise<Buffer | undefined> {
  const compressed = await deflate(bytes, { level: LEVEL, chunkSize: CHUNK_BYTES })
  return compressed.length <= bytes.length * (1 - MIN_SAVING) ? compressed : undefined
}

/**
 * Inflates on zlib's thread pool, and stops at `maxBytes`: a few kilobytes can be made to inflate to gigabytes.
 *
 * @throws on damaged bytes and on more than `maxBytes` of output; the caller says what that means
 */
export function decompress(compressed: Buffer, maxBytes: number): Promise<Buffer> {
  const bound = Number.isFinite(maxBytes) ? { maxOutputLength: Math.max(1, maxBytes) } : {}
  return inflate(compressed, { chunkSize: CHUNK_BYTES, ...bound })
}
