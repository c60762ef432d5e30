import { isShareable, type PayloadCodec } from '../codec/codec.js'
import { parseFrame } from '../codec/frame.js'
import type { Entry, ValueEntry } from '../entry.js'

/**
 * What one look into the store found. Several readers may hold the same one, so parsing happens once, and decoding
 * once where the value is frozen and can be shared; otherwise each reader gets a copy of its own.
 */
export class FetchedEntry {
  readonly key: string
  readonly #bytes: Buffer | null
  #entry: Entry | undefined
  #shared: { readonly value: unknown } | undefined

  constructor(key: string, bytes: Buffer | null) {
    this.key = key
    this.#bytes = bytes
  }

  get entry(): Entry {
    this.#entry ??= parseFrame(this.key, this.#bytes)
    return this.#entry
  }

  /** The value of `entry`, which is this one's; throws `CorruptEntryError` when its payload cannot be read. */
  decode(entry: ValueEntry, codec: PayloadCodec): unknown {
    if (entry.notFound) return undefined
    if (this.#shared !== undefined) return this.#shared.value
    const value = codec.decode(entry.flags, entry.payload)
    if (isShareable(entry.flags)) this.#shared = { value }
    return value
  }
}
