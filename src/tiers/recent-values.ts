import { LRUCache } from 'lru-cache'
import type { FetchedEntry } from './fetched-entry.js'
import { Frequency } from './frequency.js'

/** Below this the header is not worth a command of its own beside an MGET that carries many values. */
const WORTH_BYTES = 8 * 1024
/** An entry's bytes, and what its decoded value takes beside them. */
const SIZE_FACTOR = 3
/** Of several times the keys that there is room for, it has to be known which are read most. */
const KEYS_A_PLACE = 8

/**
 * Large values that this process has read lately. They are never served from here: a read asks Redis for the header,
 * and when the fill is still the same it spares the transfer and the decoding of the rest.
 *
 * When there is no room, one is kept only if it is read more often than what would have to go for it. Values that are
 * kept for a moment cost more than the transfer that they might spare: they outlive the young generation of V8's heap,
 * and collecting the old one takes several times as long as decoding does.
 */
export class RecentValues {
  readonly #entries: LRUCache<string, FetchedEntry> | undefined
  readonly #frequency: Frequency

  /** @param maxBytes 0 keeps nothing */
  constructor(maxBytes: number) {
    this.#frequency = new Frequency((KEYS_A_PLACE * maxBytes) / (WORTH_BYTES * SIZE_FACTOR))
    if (maxBytes === 0) return
    this.#entries = new LRUCache({ maxSize: maxBytes, sizeCalculation: sizeOf })
  }

  get(key: string): FetchedEntry | undefined {
    return this.#entries?.get(key)
  }

  get isEmpty(): boolean {
    return this.#entries === undefined || this.#entries.size === 0
  }

  /** It was read whole. */
  noteRead(fetched: FetchedEntry): void {
    if (this.#entries === undefined || fetched.storedBytes < WORTH_BYTES) return
    if (fetched.entry.state !== 'value') return
    this.#frequency.note(fetched.key)
    if (this.#isWorthItsPlace(this.#entries, fetched)) this.#entries.set(fetched.key, fetched)
  }

  /** Its header was, and it still stands. */
  noteStands(key: string): void {
    this.#frequency.note(key)
  }

  forget(key: string): void {
    this.#entries?.delete(key)
  }

  #isWorthItsPlace(entries: LRUCache<string, FetchedEntry>, fetched: FetchedEntry): boolean {
    if (entries.calculatedSize + sizeOf(fetched) <= entries.maxSize) return true
    const [victim] = entries.rkeys()
    return victim === undefined || this.#frequency.of(fetched.key) > this.#frequency.of(victim)
  }
}

function sizeOf(fetched: FetchedEntry): number {
  return fetched.storedBytes * SIZE_FACTOR
}
