import { LRUCache } from 'lru-cache'
import type { FetchedEntry } from './fetched-entry.js'

/** Below this the header is not worth a command of its own beside an MGET that carries many values. */
const WORTH_BYTES = 8 * 1024
/** An entry's bytes, and what its decoded value takes beside them. */
const SIZE_FACTOR = 3

/**
 * Large values that this process has read lately. They are never served from here: a read asks Redis for the header,
 * and when the fill is still the same it spares the transfer and the decoding of the rest.
 */
export class RecentValues {
  readonly #entries: LRUCache<string, FetchedEntry> | undefined

  /** @param maxBytes 0 keeps nothing */
  constructor(maxBytes: number) {
    if (maxBytes === 0) return
    this.#entries = new LRUCache({
      maxSize: maxBytes,
      sizeCalculation: (fetched) => fetched.storedBytes * SIZE_FACTOR
    })
  }

  get(key: string): FetchedEntry | undefined {
    return this.#entries?.get(key)
  }

  get isEmpty(): boolean {
    return this.#entries === undefined || this.#entries.size === 0
  }

  noteRead(fetched: FetchedEntry): void {
    if (this.#entries === undefined || fetched.storedBytes < WORTH_BYTES) return
    if (fetched.entry.state === 'value') this.#entries.set(fetched.key, fetched)
  }

  forget(key: string): void {
    this.#entries?.delete(key)
  }
}
