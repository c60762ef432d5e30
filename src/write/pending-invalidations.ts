import { RedisUnavailableError } from '../errors.js'
import type { EntryStore } from '../tiers/entry-store.js'

const RETRY_MS = 250
const KEYS_PER_DROP = 500

/**
 * Keys whose source has changed while Redis could not be told. They are dropped as soon as it can be, before anything
 * else is asked of it; until then this process takes nothing for them from the cache. Bounded: a change that
 * could not be remembered is refused before it is made. They end with the process.
 */
export class PendingInvalidations {
  readonly #most: number
  /** Each with the number of its latest change: a change that comes while an older one is being delivered stays. */
  readonly #keys = new Map<string, number>()
  #changes = 0
  #closed = false
  #reserved = 0
  #timer: NodeJS.Timeout | undefined

  constructor(most: number) {
    this.#most = most
  }

  get size(): number {
    return this.#keys.size
  }

  has(key: string): boolean {
    return this.#keys.size > 0 && this.#keys.has(key)
  }

  /** Makes sure that `count` keys can be remembered later; false when they cannot. Give them back with `unreserve`. */
  reserve(count: number): boolean {
    if (this.#keys.size + this.#reserved + count > this.#most) return false
    this.#reserved += count
    return true
  }

  unreserve(count: number): void {
    this.#reserved -= count
  }

  add(keys: readonly string[], store: EntryStore): void {
    for (const key of keys) this.#keys.set(key, ++this.#changes)
    this.#retryLater(store)
  }

  /** Rejects when Redis did not take them all; what it took is forgotten. */
  async deliver(drop: (keys: readonly string[]) => Promise<unknown>): Promise<void> {
    while (this.#keys.size > 0) {
      const page = [...this.#keys].slice(0, KEYS_PER_DROP)
      await drop(page.map(([key]) => key))
      for (const [key, change] of page) if (this.#keys.get(key) === change) this.#keys.delete(key)
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
      this.deliver((keys) => store.drop(keys)).catch((error: unknown) => {
        if (!(error instanceof RedisUnavailableError)) throw error
        this.#retryLater(store)
      })
    }, RETRY_MS)
    this.#timer.unref()
  }
}
