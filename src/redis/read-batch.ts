import type { Clock } from '../clock.js'
import { RedisUnavailableError } from '../errors.js'
import type { RedisClient } from './client.js'
import type { RedisLink } from './link.js'
import { askByNode, type Call, type OrUnavailable } from './node-questions.js'

/** What one MGET may be expected to carry: a larger reply holds up everybody else's on the connection. */
const REPLY_TARGET_BYTES = 256 * 1024
const MOST_KEYS = 128
/**
 * Batches under way at once; the others wait for their turn. The deadline of each begins when it is sent, and behind
 * hundreds of thousands of keys, of which Redis notes who reads them, the last would look like silence.
 */
const MOST_AT_ONCE = 64

interface PendingRead<Question, T> {
  readonly question: Question
  readonly promise: Promise<T>
  readonly resolve: (value: T | Promise<T>) => void
  readonly reject: (error: unknown) => void
}

/** How a batch asks, and what it makes of each answer. */
export interface BatchQuery<Question, Answer, T> {
  /** Answers in the order of the questions. `askedAtMs` is now. */
  ask(questions: readonly Question[], askedAtMs: number): Promise<readonly Answer[]>
  read(question: Question, answer: Answer, askedAtMs: number): T | Promise<T>
  /** How many questions one `ask` takes. */
  most(): number
}

/**
 * Reads of the same turn of the event loop, asked together; readers of one key share its place.
 *
 * A reader may join only a read that has not been sent. One that is under way may have seen Redis before an
 * invalidation that returned before this reader came, and would give it the old value.
 */
export class ReadBatch<Question extends { readonly key: string }, Answer, T> {
  readonly #query: BatchQuery<Question, Answer, T>
  readonly #clock: Clock
  #pending = new Map<string, PendingRead<Question, T>>()
  /** Of reads that share. */
  #underWay = 0
  #batches = 0
  readonly #line: (() => void)[] = []

  constructor(query: BatchQuery<Question, Answer, T>, clock: Clock) {
    this.#query = query
    this.#clock = clock
  }

  read(question: Question): Promise<T> {
    const { key } = question
    const joined = this.#pending.get(key)
    if (joined !== undefined) return joined.promise
    let resolve!: (value: T | Promise<T>) => void
    let reject!: (error: unknown) => void
    const promise = new Promise<T>((onValue, onError) => {
      resolve = onValue
      reject = onError
    })
    if (this.#pending.size === 0) this.#flushSoon()
    this.#pending.set(key, { question, promise, resolve, reject })
    return promise
  }

  /** Many at once, in order; not shared with `read`, whose callers would wait for all of them. */
  async readMany(questions: readonly Question[]): Promise<OrUnavailable<T>[]> {
    if (questions.length === 0) return []
    const chunks = chunksOf(questions, this.#query.most())
    if (chunks.length === 1) return this.#inTurn(() => this.#readChunk(questions))
    return (await Promise.all(chunks.map((chunk) => this.#inTurn(() => this.#readChunk(chunk))))).flat()
  }

  async #readChunk(questions: readonly Question[]): Promise<OrUnavailable<T>[]> {
    const askedAtMs = this.#clock.now()
    const answers = await this.#query.ask(questions, askedAtMs)
    const results: (T | Promise<OrUnavailable<T>>)[] = []
    let isWaiting = false
    for (let index = 0; index < questions.length; index++) {
      const result = this.#query.read(questions[index]!, answers[index]!, askedAtMs)
      if (result instanceof Promise) isWaiting = true
      results.push(result instanceof Promise ? result.catch(asAnswer) : result)
    }
    return isWaiting ? Promise.all(results) : (results as T[])
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
    for (const chunk of chunksOf(reads, this.#query.most())) void this.#inTurn(() => this.#send(chunk))
  }

  async #inTurn<Result>(send: () => Promise<Result>): Promise<Result> {
    // The place of who is done goes to the next in line without becoming free.
    if (this.#batches >= MOST_AT_ONCE) await new Promise<void>((resolve) => this.#line.push(resolve))
    else this.#batches++
    try {
      return await send()
    } finally {
      const next = this.#line.shift()
      if (next === undefined) this.#batches--
      else next()
    }
  }

  async #send(reads: readonly PendingRead<Question, T>[]): Promise<void> {
    this.#underWay++
    const askedAtMs = this.#clock.now()
    try {
      const questions = reads.map(({ question }) => question)
      const answers = await this.#query.ask(questions, askedAtMs)
      for (let index = 0; index < reads.length; index++) {
        reads[index]!.resolve(this.#query.read(questions[index]!, answers[index]!, askedAtMs))
      }
    } catch (error) {
      for (const read of reads) read.reject(error)
    } finally {
      this.#underWay--
    }
  }
}

/** Of one key among many: the others have their answers. */
function asAnswer(error: unknown): RedisUnavailableError {
  if (error instanceof RedisUnavailableError) return error
  throw error
}

/** Asks for whole entries by MGET, so many at a time that a reply stays near the target size. */
export class WholeEntries {
  readonly #link: RedisLink
  #averageBytes = 512

  constructor(link: RedisLink) {
    this.#link = link
  }

  /** @param onSend called at the moment in which the question is sent; of a Cluster for each node */
  async ask(
    keys: readonly string[],
    call: Call,
    onSend?: () => void
  ): Promise<readonly OrUnavailable<Buffer | null>[]> {
    const { nodes } = this.#link
    const action = 'read entries'
    // An MGET across slots is refused by a Cluster; the driver finds the node of each GET itself.
    const ask = (client: RedisClient, key: string): Promise<Buffer | null> => client.getBuffer(key)
    const replies =
      nodes === undefined
        ? await call(action, (client) => {
            onSend?.()
            return client.mgetBuffer(keys)
          })
        : await askByNode(nodes, keys, { action, call, ask, onSend })
    const first = replies[0]
    if (first instanceof Buffer) this.#averageBytes += (first.length - this.#averageBytes) / 8
    this.#tellTheTime()
    return replies
  }

  /** The first bytes of each. */
  askForHeaders(
    keys: readonly string[],
    bytes: number,
    call: Call,
    onSend?: () => void
  ): Promise<readonly OrUnavailable<Buffer>[]> {
    const { nodes } = this.#link
    const action = 'read the headers of entries'
    const ask = (client: RedisClient, key: string): Promise<Buffer> =>
      client.getrangeBuffer(key, 0, bytes - 1).catch(emptyForWrongType)
    if (nodes !== undefined) return askByNode(nodes, keys, { action, call, ask, onSend })
    return call(action, (client) => {
      onSend?.()
      return Promise.all(keys.map((key) => ask(client, key)))
    })
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
