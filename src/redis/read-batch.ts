import type { RedisClient } from './client.js'
import type { RedisLink } from './link.js'

/** What one MGET may be expected to carry: a larger reply holds up everybody else's on the connection. */
const REPLY_TARGET_BYTES = 256 * 1024
const MOST_KEYS = 128

interface PendingRead<T> {
  readonly key: string
  readonly promise: Promise<T>
  readonly resolve: (value: T | Promise<T>) => void
  readonly reject: (error: unknown) => void
}

/** How a batch asks, and what it makes of each answer. */
export interface BatchQuery<Answer, T> {
  /** Answers in the order of the keys. */
  ask(keys: readonly string[]): Promise<readonly Answer[]>
  read(key: string, answer: Answer): T | Promise<T>
  /** How many keys one `ask` takes. */
  most(): number
}

/**
 * Reads of the same turn of the event loop, asked together; readers of one key share its place.
 *
 * A reader may join only a read that has not been sent. One that is under way may have seen Redis before an
 * invalidation that returned before this reader came, and would give it the old value.
 */
export class ReadBatch<Answer, T> {
  readonly #query: BatchQuery<Answer, T>
  #pending = new Map<string, PendingRead<T>>()
  #underWay = 0

  constructor(query: BatchQuery<Answer, T>) {
    this.#query = query
  }

  read(key: string): Promise<T> {
    const joined = this.#pending.get(key)
    if (joined !== undefined) return joined.promise
    let resolve!: (value: T | Promise<T>) => void
    let reject!: (error: unknown) => void
    const promise = new Promise<T>((onValue, onError) => {
      resolve = onValue
      reject = onError
    })
    if (this.#pending.size === 0) this.#flushSoon()
    this.#pending.set(key, { key, promise, resolve, reject })
    return promise
  }

  /** Many keys at once, in order; not shared with `read`, whose callers would wait for all of them. */
  async readMany(keys: readonly string[]): Promise<T[]> {
    if (keys.length === 0) return []
    const most = this.#query.most()
    const answers =
      keys.length <= most
        ? await this.#query.ask(keys)
        : (await Promise.all(chunksOf(keys, most).map((chunk) => this.#query.ask(chunk)))).flat()
    const results: (T | Promise<T>)[] = keys.map((key, index) => this.#query.read(key, answers[index]!))
    return results.some((result) => result instanceof Promise) ? Promise.all(results) : (results as T[])
  }

  /**
   * A read that finds the connection idle goes out at the end of this callback; while an answer is awaited, reads of
   * the whole turn of the event loop gather, because then the load is such that their number matters more.
   */
  #flushSoon(): void {
    if (this.#underWay === 0) process.nextTick(this.#flush)
    else setImmediate(this.#flush)
  }

  readonly #flush = (): void => {
    const reads = [...this.#pending.values()]
    this.#pending = new Map()
    for (const chunk of chunksOf(reads, this.#query.most())) void this.#send(chunk)
  }

  async #send(reads: readonly PendingRead<T>[]): Promise<void> {
    this.#underWay++
    try {
      const answers = await this.#query.ask(reads.map((read) => read.key))
      for (let index = 0; index < reads.length; index++) {
        const read = reads[index]!
        read.resolve(this.#query.read(read.key, answers[index]!))
      }
    } catch (error) {
      for (const read of reads) read.reject(error)
    } finally {
      this.#underWay--
    }
  }
}

/** Asks for whole entries by MGET, so many at a time that a reply stays near the target size. */
export class WholeEntries {
  readonly #link: RedisLink
  #averageBytes = 512

  constructor(link: RedisLink) {
    this.#link = link
  }

  async ask(keys: readonly string[]): Promise<readonly (Buffer | null)[]> {
    const replies = await this.#link.call('read entries', (client) =>
      // An MGET across slots is refused by a Cluster; it finds the node of each GET itself.
      client.isCluster ? Promise.all(keys.map((key) => client.getBuffer(key))) : client.mgetBuffer(keys)
    )
    const first = replies[0]
    if (first) this.#averageBytes += (first.length - this.#averageBytes) / 8
    this.#tellTheTime()
    return replies
  }

  most(): number {
    return keysPerCommand(this.#averageBytes)
  }

  #tellTheTime(): void {
    const { serverClock, client } = this.#link
    if (!serverClock.isDue) return
    void this.#link.call('tell the time', () => serverClock.sync(client)).catch(counted)
  }
}

/** Asks for the first bytes of entries. */
export function askForHeaders(
  link: RedisLink,
  keys: readonly string[],
  bytes: number
): Promise<readonly Buffer[]> {
  const ask = (client: RedisClient): Promise<Buffer[]> =>
    Promise.all(keys.map((key) => client.getrangeBuffer(key, 0, bytes - 1).catch(emptyForWrongType)))
  return link.call('read the headers of entries', ask)
}

/** MGET reads another type as nothing; so does this. */
function emptyForWrongType(error: unknown): Buffer {
  if (error instanceof Error && error.message.startsWith('WRONGTYPE')) return Buffer.alloc(0)
  throw error
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
