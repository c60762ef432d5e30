import { CorruptEntryError } from '../errors.js'
import { compress, decompress } from './compressors.js'
import { readValue } from './value-reader.js'
import { writeValue } from './value-writer.js'

/** A value as it is stored. */
export interface EncodedPayload {
  /** How `bytes` are to be read: bits 0 to 5 of one byte. Bits 6 and 7 are the caller's, and 0 here. */
  readonly flags: number
  readonly bytes: Buffer
}

const FLAG_SHAREABLE = 0b000001
const FLAG_COMPRESSED = 0b000010
/** The number of the layout in `value-format.ts`; an entry with another number is unreadable, that is a miss. */
const FORMAT_BITS = 0b111100
const FORMAT = 0b000000
/** A larger number is garbage, not a later layout. */
const LATEST_FORMAT = 0b011100

/**
 * Whether the decoded value consists of plain objects, arrays and primitives only. `decode` then returns it deep
 * frozen, so that one copy can serve every caller; any other value must be decoded anew for each.
 */
export function isShareable(flags: number): boolean {
  return (flags & FLAG_SHAREABLE) !== 0
}

/** Whether a later version of this library has written it in a layout of its own. */
export function isOfLaterFormat(flags: number): boolean {
  const format = flags & FORMAT_BITS
  return format > FORMAT && format <= LATEST_FORMAT
}

/** Values to bytes and back, so that what is read deep-equals what was stored. */
export class PayloadCodec {
  readonly #compressAboveBytes: number
  readonly #maxValueBytes: number

  /**
   * @param options.compressAboveBytes serialized values over this many bytes are compressed; Infinity = never
   * @param options.maxValueBytes the most bytes a value may take serialized, before compression
   */
  constructor(options: { readonly compressAboveBytes: number; readonly maxValueBytes: number }) {
    this.#compressAboveBytes = options.compressAboveBytes
    this.#maxValueBytes = options.maxValueBytes
  }

  /** For what was accepted already, by a process that may allow more than this one. */
  unbounded(): PayloadCodec {
    return new PayloadCodec({
      compressAboveBytes: this.#compressAboveBytes,
      maxValueBytes: Number.POSITIVE_INFINITY
    })
  }

  /**
   * Serializes, and compresses what is over `compressAboveBytes`. Only then the answer is a promise.
   *
   * @throws UncacheableValueError for what could not be restored exactly: functions, symbols, class instances,
   *   getters, cycles, holes in arrays, more than 500 levels
   * @throws ValueTooLargeError over `maxValueBytes`
   */
  encode(value: unknown): EncodedPayload | Promise<EncodedPayload> {
    const { bytes, shareable } = writeValue(value, this.#maxValueBytes)
    const plain = { flags: FORMAT | (shareable ? FLAG_SHAREABLE : 0), bytes }
    return bytes.length > this.#compressAboveBytes ? compressPayload(plain) : plain
  }

  /**
   * The reverse of `encode`; a promise only for compressed bytes. The value holds on to none of `bytes`.
   *
   * @param isolate the value is to be its caller's own: nothing of it is frozen
   * @param start where in `bytes` the payload begins
   * @throws CorruptEntryError, and nothing else, for bytes that `encode` cannot have made
   */
  decode(flags: number, bytes: Buffer, isolate = false, start = 0): unknown {
    if ((flags & FORMAT_BITS) !== FORMAT) throw new CorruptEntryError('its payload has an unknown format')
    if ((flags & FLAG_COMPRESSED) === 0) return readPayload(flags, bytes, isolate, start)
    return this.#inflated(bytes.subarray(start)).then((inflated) => readPayload(flags, inflated, isolate, 0))
  }

  /** The same payload in a form that `decode` reads at once, in memory of its own. A promise only for compressed bytes. */
  plain(flags: number, bytes: Buffer): EncodedPayload | Promise<EncodedPayload> {
    if ((flags & FLAG_COMPRESSED) === 0) {
      // Not out of Node's pool, which would keep eight KiB alive for the sake of some bytes.
      const own = Buffer.allocUnsafeSlow(bytes.length)
      bytes.copy(own)
      return { flags, bytes: own }
    }
    return this.#inflated(bytes).then((inflated) => ({ flags: flags & ~FLAG_COMPRESSED, bytes: inflated }))
  }

  async #inflated(compressed: Buffer): Promise<Buffer> {
    try {
      return await decompress(compressed, this.#maxValueBytes)
    } catch (cause) {
      throw new CorruptEntryError('its payload does not decompress', { cause })
    }
  }
}

async function compressPayload(plain: EncodedPayload): Promise<EncodedPayload> {
  const compressed = await compress(plain.bytes)
  return compressed === undefined ? plain : { flags: plain.flags | FLAG_COMPRESSED, bytes: compressed }
}

function readPayload(flags: number, bytes: Buffer, isolate: boolean, start: number): unknown {
  try {
    return readValue(bytes, isShareable(flags) && !isolate, start)
  } catch (cause) {
    throw new CorruptEntryError('its payload is damaged', { cause })
  }
}
