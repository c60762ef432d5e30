import { RedisUnavailableError } from '../errors.js'
import type { Delivery, EntryStore } from '../tiers/entry-store.js'
import type { Cell } from '../tiers/generation.js'

const RETRY_MS = 250
const KEYS_PER_DROP = 500

/**
 * Keys whose source has changed while Redis could not be told, and counters that were to be moved. They are dropped
 * and moved as soon as Redis can be told, before anything else is asked of it; until then this process takes nothing
 * under them from the cache. Bounded: a change that could not be remembered is refused before it is made. They end
 * with the process.
 */
export class PendingInvalidations {
  readonly #most: number
  /** Each with the number of its latest change: a change that comes while an older one is being delivered stays. */
  readonly #keys = new Map<string, number>()
  /** In the order in which they are to be moved: the epoch of tags before any tag. */
  readonly #cells = new Map<Cell, number>()
  #changes = 0
  #closed = false
  #reserved = 0
  #timer: NodeJS.Timeout | undefined

  constructor(most: number) {
    this.#most = most
  }

  get size(): number {
    return this.#keys.size + this.#cells.size
  }

  has(key: string): boolean {
    return this.#keys.size > 0 && this.#keys.has(key)
  }

  get hasCells(): boolean {
    return this.#cells.size > 0
  }

  /** Makes sure that `count` more can be remembered later; false when they cannot. Give them back with `unreserve`. */
  reserve(count: number): boolean {
    if (this.size + this.#reserved + count > this.#most) return false
    this.#reserved += count
    return true
  }

  unreserve(count: number): void {
    this.#reserved -= count
  }

  add(keys: readonly string[], cells: readonly Cell[], store: EntryStore): void {
    for (const key of keys) this.#keys.set(key, ++this.#changes)
    for (const cell of cells) {
      cell.undelivered = true
      this.#cells.delete(cell)
      this.#cells.set(cell, ++this.#changes)
    }
    this.#retryLater(store)
  }

  /** Rejects when Redis did not take them all; what it took is forgotten. */
  async deliver(delivery: Delivery): Promise<void> {
    while (this.#keys.size > 0) {
      const page = [...this.#keys].slice(0, KEYS_PER_DROP)
      await delivery.drop(page.map(([key]) => key))
      for (const [key, change] of page) if (this.#keys.get(key) === change) this.#keys.delete(key)
    }
    for (const [cell, change] of this.#cells) {
      await delivery.move(cell.key, cell.keptMs)
      if (this.#cells.get(cell) !== change) continue
      this.#cells.delete(cell)
      cell.undelivered = false
      // The copy is from before: ask before anything is served under it.
      cell.forget()
    }
  }

  close(): void {
    this.#closed = true
    clearTimeout(this.#timer)
  }

  #retryLater(store: EntryStore): void {
    if (this.#closed || this.#timer !== undefined) return
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      const delivery: Delivery = {
        drop: (keys) => store.drop(keys),
        move: (key, keptMs) => store.generations.counters.move(key, 'hard', undefined, keptMs)
      }
      this.deliver(delivery).catch((error: unknown) => {
        if (!(error instanceof RedisUnavailableError)) throw error
        this.#retryLater(store)
      })
    }, RETRY_MS)
    this.#timer.unref()
  }
}
