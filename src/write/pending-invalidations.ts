import { RedisUnavailableError } from '../errors.js'
import { tagKey } from '../keys/key-schema.js'
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

  /**
   * Rejects when Redis did not take them all; what it took is forgotten. One node of a Cluster that does not answer keeps
   * its own back and no others.
   */
  async deliver(delivery: Delivery): Promise<void> {
    const failures: unknown[] = []
    const keys = [...this.#keys]
    for (let at = 0; at < keys.length; at += KEYS_PER_DROP)
      failures.push(...(await this.#deliverKeys(keys.slice(at, at + KEYS_PER_DROP), delivery)))
    failures.push(...(await this.#deliverCells(delivery)))
    if (failures.length > 0) throw failures[0]
  }

  /** Answers what some of them failed with. */
  async #deliverKeys(page: readonly [key: string, change: number][], delivery: Delivery): Promise<unknown[]> {
    try {
      const untold = await delivery.drop(page.map(([key]) => key))
      for (const [key, change] of page)
        if (!untold.has(key) && this.#keys.get(key) === change) this.#keys.delete(key)
      return [...untold.values()]
    } catch (error) {
      return [error]
    }
  }

  async #deliverCells(delivery: Delivery): Promise<unknown[]> {
    const failures: unknown[] = []
    const notMoved: string[] = []
    for (const [cell, change] of this.#cells) {
      // Each tag after its epoch: what is loaded from then on is told from what was loaded before by that alone.
      if (notMoved.some((epochKey) => cell.key.startsWith(tagKey(epochKey, '')))) continue
      try {
        await delivery.move(cell.key, cell.keptMs)
      } catch (error) {
        failures.push(error)
        notMoved.push(cell.key)
        continue
      }
      if (this.#cells.get(cell) !== change) continue
      this.#cells.delete(cell)
      cell.undelivered = false
      // The copy is from before: ask before anything is served under it.
      cell.forget()
    }
    return failures
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
        drop: (keys) => store.dropWhatCanBe(keys),
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
