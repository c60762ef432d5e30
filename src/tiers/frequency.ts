const ROWS = 4
const MOST = 15
/** So many notes for each counter, and all are halved: what was popular once does not stay so. */
const NOTES_A_COUNTER = 10

/**
 * About how often each key was noted lately, in a fixed number of bytes: a count-min sketch whose counts stop at 15 and are
 * halved from time to time. An estimate is never below the truth within its window, and rarely above it.
 *
 * Source: G. Einziger, R. Friedman, B. Manes, "TinyLFU: A Highly Efficient Cache Admission Policy", ACM Transactions on
 * Storage 13(4), 2017.
 */
export class Frequency {
  readonly #counts: Uint8Array
  readonly #mask: number
  #notesLeft: number

  /** @param keys so many different keys are told apart well */
  constructor(keys: number) {
    const width = 2 ** Math.ceil(Math.log2(Math.max(16, keys)))
    this.#counts = new Uint8Array(ROWS * width)
    this.#mask = width - 1
    this.#notesLeft = NOTES_A_COUNTER * width
  }

  note(key: string): void {
    const hash = hashOf(key)
    const counts = this.#counts
    for (let row = 0; row < ROWS; row++) {
      const at = this.#indexOf(hash, row)
      if (counts[at]! < MOST) counts[at]!++
    }
    if (--this.#notesLeft === 0) this.#age()
  }

  of(key: string): number {
    const hash = hashOf(key)
    let least = MOST
    for (let row = 0; row < ROWS; row++) least = Math.min(least, this.#counts[this.#indexOf(hash, row)]!)
    return least
  }

  #indexOf(hash: number, row: number): number {
    // Each row shuffles the hash in its own way: an odd factor loses nothing of it.
    const mixed = Math.imul(hash ^ (row * 0x9e3779b9), 0x85ebca6b + 2 * row)
    return row * (this.#mask + 1) + ((mixed ^ (mixed >>> 15)) & this.#mask)
  }

  #age(): void {
    const counts = this.#counts
    for (let at = 0; at < counts.length; at++) counts[at]! >>>= 1
    this.#notesLeft = (NOTES_A_COUNTER * counts.length) / ROWS / 2
  }
}

/** FNV-1a over UTF-16 units. */
function hashOf(key: string): number {
  let hash = 0x811c9dc5
  for (let at = 0; at < key.length; at++) hash = Math.imul(hash ^ key.charCodeAt(at), 0x01000193)
  return hash
}
