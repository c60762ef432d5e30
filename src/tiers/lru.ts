import { LRUCache } from 'lru-cache'

/** A map within bounds: what was used least recently goes first. */
export interface Lru<T> {
  readonly size: number
  readonly bytes: number
  readonly maxBytes: number
  /** Notes a use. */
  get(key: string): T | undefined
  has(key: string): boolean
  /** Of this moment: what is found in them may be deleted. */
  keys(): readonly string[]
  /** What is larger than the whole map is not kept. */
  set(key: string, value: T, bytes: number): void
  delete(key: string): boolean
  clear(): void
}

export interface LruBounds<T> {
  readonly maxBytes: number
  readonly maxEntries: number | undefined
  /** Called with whatever leaves the map, whyever. */
  readonly onGone: (value: T) => void
}

export function boundedLru<T extends object>({ maxBytes, maxEntries, onGone }: LruBounds<T>): Lru<T> {
  const cache = new LRUCache<string, T>({
    maxSize: maxBytes,
    ...(maxEntries === undefined ? {} : { max: maxEntries }),
    dispose: onGone
  })
  return {
    get size() {
      return cache.size
    },
    get bytes() {
      return cache.calculatedSize
    },
    maxBytes,
    get: (key) => cache.get(key),
    has: (key) => cache.has(key),
    keys: () => [...cache.keys()],
    set: (key, value, bytes) => void cache.set(key, value, { size: bytes }),
    delete: (key) => cache.delete(key),
    clear: () => cache.clear()
  }
}
