import { isShareable, type PayloadCodec } from '../codec/codec.js'
import { isSameFill, parseFrame, parseRevalidated, VALUE_HEADER_BYTES } from '../codec/frame.js'
import type { Entry, OutdatedEntry, ValueEntry } from '../entry.js'
import type { Standing } from './generation.js'

/**
 * What one look into the store found. Several readers may hold the same one, so parsing happens once, and decoding
 * once where the value is frozen and can be shared; otherwise each reader gets a copy of its own.
 */
export class FetchedEntry {
  readonly key: string
  /** Where the news of changes stood when it was asked for; undefined where it may not be kept in memory. */
  readonly position: number | undefined
  /** Somebody keeps it already. */
  isKept = false
  readonly #bytes: Buffer | null
  #entry: Entry | undefined
  #shared: { readonly value: unknown } | undefined

  constructor(key: string, bytes: Buffer | null, position?: number) {
    this.key = key
    this.position = position
    this.#bytes = bytes
  }

  get entry(): Entry {
    this.#entry ??= parseFrame(this.key, this.#bytes)
    return this.#entry
  }

  /**
   * This entry as the counters of now have it. A counter that stands in the future tells of a clock that was set back: what it
   * makes stale is stale by now all the same.
   *
   * @param nowMs on the store's clock
   */
  standing(standing: Standing, nowMs: number): FetchedEntry {
    const { entry } = this
    if (entry.state !== 'value' || standing.is === 'current') return this
    const judged = new FetchedEntry(this.key, this.#bytes)
    judged.#entry =
      standing.is === 'outdated' ? outdated(entry) : freshUntil(entry, Math.min(standing.sinceMs, nowMs))
    return judged
  }

  /** As they stand in the store; null for nothing. */
  get bytes(): Buffer | null {
    return this.#bytes
  }

  get storedBytes(): number {
    return this.#bytes?.length ?? 0
  }

  /**
   * The value of `entry`, which is this one's: shared and frozen where that can be, or with `isolate` the caller's own.
   * Throws `CorruptEntryError` when its payload cannot be read.
   */
  decode(entry: ValueEntry, codec: PayloadCodec, isolate: boolean): unknown {
    if (entry.notFound) return undefined
    if (isolate) return codec.decode(entry.flags, entry.bytes, true, entry.payloadAt)
    if (this.#shared !== undefined) return this.#shared.value
    const value = codec.decode(entry.flags, entry.bytes, false, entry.payloadAt)
    if (isShareable(entry.flags)) this.#shared = { value }
    return value
  }

  /**
   * This entry as it is now, told by its header alone; undefined when something else stands there now. The token of a
   * fill names its bytes, so a value that was read whole once need not be sent again.
   */
  revalidated(header: Buffer, position: number | undefined): FetchedEntry | undefined {
    const { entry } = this
    if (entry.state !== 'value' || this.#bytes === null || !isSameFill(this.#bytes, header)) return undefined
    const now = new FetchedEntry(this.key, this.#bytes, position)
    now.#entry = parseRevalidated(this.#bytes, entry, header)
    now.#shared = this.#shared
    return now
  }
}

function outdated({ token, leaseUntilMs, backingOff }: ValueEntry): OutdatedEntry {
  return { state: 'outdated', token, leaseUntilMs, backingOff }
}

const CLOCK_LAG_MS = 50

/** The same value with an earlier end of its freshness. */
function freshUntil(entry: ValueEntry, untilMs: number): ValueEntry {
  // This process's idea of the store's time may lag by some milliseconds, and it must find the value stale all the same.
  const freshMs = Math.min(entry.freshMs, untilMs - CLOCK_LAG_MS - entry.storedAtMs)
  return Object.create(entry, { freshMs: { value: freshMs } }) as ValueEntry
}

/** As much of an entry as tells whether it is the one that was read before. */
export const HEADER_BYTES = VALUE_HEADER_BYTES
