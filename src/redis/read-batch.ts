import type { RedisLink } from './link.js'

/** What one MGET may be expected to carry: a larger reply holds up everybody else's on the connection. */
const REPLY_TARGET_BYTES = 256 * 1024
const MOST_KEYS = 128

interface PendingRead<T> {
  readonly key: string
  readonly promise: Promise<T>
  readonly resolve: (value: T) => void
  readonly reject: (error: unknown) => void
}

/**
 * Reads of the same turn of the event loop, sent as one MGET; readers of one key share its place in it.
 *
 * A reader may join only a read that has not been sent. One that is under way may have seen Redis before an
 * invalidation that returned before this reader came, and would give it the old value.
 */
export class ReadBatch<T> {
  readonly #link: RedisLink
  readonly #wrap: (key: string, bytes: Buffer | null) => T
  #pending = new Map<string, PendingRead<T>>()
  #averageBytes = 512

  constructor(link: RedisLink, wrap: (key: string, bytes: Buffer | null) => T) {
    this.#link = link
    this.#wrap = wrap
  }

  read(key: string): Promise<T> {
    const joined = this.#pending.get(key)
    if (joined !== undefined) return joined.promise
    let resolve!: (value: T) => void
    let reject!: (error: unknown) => void
    const promise = new Promise<T>((onValue, onError) => {
      resolve = onValue
      reject = onError
    })
    if (this.#pending.size === 0) setImmediate(this.#flush)
    this.#pending.set(key, { key, promise, resolve, reject })
    return promise
  }

  /** Many keys at once, in order; not shared with `read`, whose callers would wait for all of them. */
  async readMany(keys: readonly string[]): Promise<T[]> {
    const chunks = await Promise.all(
      chunksOf(keys, this.#keysPerCommand()).map((chunk) => this.#fetch(chunk))
    )
    const replies = chunks.flat()
    return keys.map((key, index) => this.#wrap(key, replies[index] ?? null))
  }

  readonly #flush = (): void => {
    const reads = [...this.#pending.values()]
    this.#pending = new Map()
    for (const chunk of chunksOf(reads, this.#keysPerCommand())) void this.#send(chunk)
  }

  async #send(reads: readonly PendingRead<T>[]): Promise<void> {
    try {
      const replies = await this.#fetch(reads.map((read) => read.key))
      for (let index = 0; index < reads.length; index++) {
        const read = reads[index]!
        read.resolve(this.#wrap(read.key, replies[index] ?? null))
      }
    } catch (error) {
      for (const read of reads) read.reject(error)
    }
  }

  async #fetch(keys: readonly string[]): Promise<(Buffer | null)[]> {
    const replies = await this.#link.call('read entries', (client) =>
      // An MGET across slots is refused by a Cluster; it finds the node of each GET itself.
      client.isCluster ? Promise.all(keys.map((key) => client.getBuffer(key))) : client.mgetBuffer(keys)
    )
    this.#learnSize(replies)
    const { serverClock, client } = this.#link
    if (serverClock.isDue)
      void this.#link.call('tell the time', () => serverClock.sync(client)).catch(counted)
    return replies
  }

  #learnSize(replies: readonly (Buffer | null)[]): void {
    const first = replies[0]
    if (first) this.#averageBytes += (first.length - this.#averageBytes) / 8
  }

  #keysPerCommand(): number {
    return keysPerCommand(this.#averageBytes)
  }
}

/** How many keys one MGET asks for, so that its reply stays near the target whatever the size of the values. */
export function keysPerCommand(averageBytes: number): number {
  return Math.max(1, Math.min(MOST_KEYS, Math.floor(REPLY_TARGET_BYTES / Math.max(1, averageBytes))))
}

function chunksOf<T>(items: readonly T[], size: number): (readonly T[])[] {
  if (items.length <= size) return [items]
  const chunks: T[][] = []
  for (let at = 0; at < items.length; at += size) chunks.push(items.slice(at, at + size))
  return chunks
}

/** The link has reported the failure already; the old offset serves until the next try. */
function counted(): void {}
