import { randomBytes } from 'node:crypto'
import { sleep, type Clock } from '../clock.js'
import { BacklogFullError, ShardsDifferError, WriteUnknownError } from '../errors.js'
import {
  ACCEPTED,
  doubtOf,
  GUARDED,
  NEEDS_BASE,
  type AppendAnswer,
  type AppendRequest,
  type Backlog,
  type ScriptCall
} from '../redis/shard-stream.js'
import type { ShardKeys } from '../keys/key-schema.js'
import { encodeOperations, keyOf, sizeOf, type Outgoing, type OutgoingIncrement } from './record.js'

const MOST_OPERATIONS = 1_000
const MOST_BYTES = 256 * 1024
const RETRY_LEAST_MS = 10
const RETRY_MOST_MS = 250
const FULL_RETRY_MS = 25

/** What became of one operation. */
export type Outcome =
  /** In the stream, and shown by its entry. `number` is what an increment came to. */
  | { readonly kind: 'accepted'; readonly number: number }
  /** The entry is no counter yet; nothing was done. */
  | { readonly kind: 'needs-base' }
  /** Somebody writes through; nothing was done. */
  | { readonly kind: 'guarded' }
  /** A later version of this library wrote the entry; nothing was done. */
  | { readonly kind: 'foreign' }
  /** The shard is at its limit; nothing was done. Only with `whenFull: 'write-through'`. */
  | { readonly kind: 'full'; readonly backlog: Backlog }

export interface ProducerParts {
  readonly queue: string
  readonly keys: ShardKeys
  readonly shards: number
  readonly shardsKey: string
  readonly limits: { readonly operations: number; readonly bytes: number; readonly ageMs: number }
  readonly whenFull: 'wait' | 'refuse' | 'write-through'
  /** None of the puts of a key may stand for another one: which of them counts is the sink's to say. */
  readonly everyPut: boolean
  readonly timeoutMs: number
  readonly clock: Clock
  /** How appends are sent to this server. Rejects when this queue cannot be written to, before anything is sent. */
  readonly prepare: () => Promise<ScriptCall | undefined>
  readonly append: (request: AppendRequest, send: ScriptCall | undefined) => Promise<AppendAnswer>
  readonly reported: (fact: ProducerFact) => void
}

export type ProducerFact =
  | { readonly kind: 'accepted'; readonly operations: number; readonly backlog: Backlog | undefined }
  | { readonly kind: 'retried' }
  | { readonly kind: 'unknown'; readonly operations: number }
  | { readonly kind: 'full'; readonly backlog: Backlog }

interface Caller {
  readonly resolve: (outcome: Outcome) => void
  readonly reject: (error: unknown) => void
  /** Of an increment: its own part of the sum. */
  readonly by: number
}

/** One operation in a batch, and the calls that it answers: increments of one key are one. */
interface Place {
  operation: Outgoing
  readonly callers: Caller[]
}

interface Batch {
  readonly places: Place[]
  readonly byKey: Map<string, Place>
  readonly deadline: number
  bytes: number
}

/**
 * The way of operations into one shard, from this process: group commit. While a batch is under way the operations that
 * come are gathered into the next, so that one script call and one stream entry serve them all.
 *
 * Batches are numbered and go one at a time. One whose reply is lost is sent again under its number, which the script
 * and the sink know it by. Nobody is told "accepted" before Redis said so.
 */
export class Producer {
  readonly #parts: ProducerParts
  /** Random: a process that starts anew must not go by the numbers of an old one. */
  readonly #name: string
  #number = 0
  readonly #waiting: Batch[] = []
  #running: Promise<void> | undefined

  constructor(parts: ProducerParts, name = randomBytes(9).toString('base64url')) {
    this.#parts = parts
    this.#name = name
  }

  /** Whether the next operation goes with the next batch, rather than with one after it. */
  get takesMore(): boolean {
    return this.#waiting.length === 0 ? this.#running === undefined : this.#waiting.length === 1
  }

  submit(operation: Outgoing): Promise<Outcome> {
    return new Promise((resolve, reject) => {
      const by = operation.kind === 'increment' ? operation.by : 0
      this.#placeFor(operation).callers.push({ resolve, reject, by })
      this.#running ??= new Promise<void>((done) => setImmediate(() => void this.#run().finally(done)))
    })
  }

  /** Resolves when all that was submitted has its outcome. */
  async drain(): Promise<void> {
    while (this.#running !== undefined) await this.#running
  }

  #placeFor(operation: Outgoing): Place {
    const { clock, timeoutMs, everyPut } = this.#parts
    let batch = this.#waiting.at(-1)
    const key = keyOf(operation)
    const known = key === undefined ? undefined : batch?.byKey.get(key)
    const isBeside = everyPut && known?.operation.kind === 'put' && operation.kind === 'put'
    if (known !== undefined && !isBeside && merge(known, operation)) return known
    const isRoom = batch && batch.places.length < MOST_OPERATIONS && batch.bytes < MOST_BYTES
    if (batch === undefined || !isRoom || (known !== undefined && !isBeside)) {
      batch = { places: [], byKey: new Map(), deadline: clock.now() + timeoutMs, bytes: 0 }
      this.#waiting.push(batch)
    }
    const place: Place = { operation, callers: [] }
    batch.places.push(place)
    batch.bytes += sizeOf(operation)
    if (key !== undefined) batch.byKey.set(key, place)
    return place
  }

  async #run(): Promise<void> {
    try {
      for (let batch = this.#waiting.shift(); batch !== undefined; batch = this.#waiting.shift()) {
        try {
          await this.#deliver(batch)
        } catch (error) {
          for (const { callers } of batch.places) for (const { reject } of callers) reject(error)
        }
      }
    } finally {
      this.#running = undefined
    }
  }

  async #deliver(batch: Batch): Promise<void> {
    const { queue, shards, shardsKey, clock, prepare, append, reported } = this.#parts
    const request = this.#requestOf(batch)
    let isUnsure = false
    let pauseMs = RETRY_LEAST_MS
    for (;;) {
      let answer: AppendAnswer | undefined
      let failure: unknown
      let isSent = false
      try {
        const send = await prepare()
        isSent = true
        answer = await append(request, send)
      } catch (error) {
        failure = error
        // Silence before anything was sent is no doubt, and may be over in a moment.
        const isSilence = doubtOf(error) === 'unknown'
        if (isSent && isSilence) isUnsure = true
        else if (!isUnsure && !isSilence && !willPass(error)) throw error
        reported({ kind: 'retried' })
      }
      const isOver = clock.now() >= batch.deadline
      switch (answer?.kind) {
        case 'accepted':
          return this.#settle(batch, answer, isUnsure)
        case 'other-shards':
          throw new ShardsDifferError(queue, shards, answer.shards, shardsKey)
        case 'superseded':
          throw this.#unknown(batch, failure)
        case 'full':
          reported({ kind: 'full', backlog: answer.backlog })
          if (!isUnsure && this.#parts.whenFull !== 'wait') return this.#refuse(batch, answer.backlog)
          if (isOver && !isUnsure) throw new BacklogFullError(queue, answer.backlog)
          pauseMs = FULL_RETRY_MS
      }
      if (isOver) {
        if (!isUnsure) throw failure
        throw this.#unknown(batch, failure)
      }
      const leftMs = Math.max(1, batch.deadline - clock.now())
      await sleep(Math.min(leftMs, pauseMs * (0.5 + clock.random())))
      pauseMs = Math.min(RETRY_MOST_MS, 2 * pauseMs)
    }
  }

  #requestOf(batch: Batch): AppendRequest {
    const operations = batch.places.map(({ operation }) => operation)
    const entryKeys = operations.map(keyOf).filter((key) => key !== undefined)
    const { keys, shards, limits } = this.#parts
    return {
      keys,
      producer: this.#name,
      batch: ++this.#number,
      shards,
      limits,
      count: operations.length,
      entryKeys,
      operations: encodeOperations(operations)
    }
  }

  #settle(batch: Batch, answer: Extract<AppendAnswer, { kind: 'accepted' }>, isUnsure: boolean): void {
    let numberAt = 0
    let accepted = 0
    for (const [index, { operation, callers }] of batch.places.entries()) {
      const status = answer.statuses[index]
      let number = Number.NaN
      if (operation.kind === 'increment') {
        number = answer.numbers.readDoubleBE(numberAt)
        numberAt += 8
      }
      if (status === ACCEPTED) {
        accepted += callers.length
        resolveInOrder(callers, number)
        continue
      }
      // An attempt that was lost may have been accepted by a server that has since lost it, after a worker applied it.
      if (isUnsure) {
        const error = this.#unknown(batch, undefined)
        for (const { reject } of callers) reject(error)
        continue
      }
      const kind = status === NEEDS_BASE ? 'needs-base' : status === GUARDED ? 'guarded' : 'foreign'
      for (const { resolve } of callers) resolve({ kind })
    }
    this.#parts.reported({ kind: 'accepted', operations: accepted, backlog: answer.backlog })
  }

  #refuse(batch: Batch, backlog: Backlog): void {
    if (this.#parts.whenFull === 'refuse') throw new BacklogFullError(this.#parts.queue, backlog)
    for (const { callers } of batch.places)
      for (const { resolve } of callers) resolve({ kind: 'full', backlog })
  }

  #unknown(batch: Batch, cause: unknown): WriteUnknownError {
    const operations = batch.places.reduce((sum, { callers }) => sum + callers.length, 0)
    this.#parts.reported({ kind: 'unknown', operations })
    return new WriteUnknownError(this.#parts.queue, { cause })
  }
}

/** Each caller of a sum gets what the counter was right after its own part. */
function resolveInOrder(callers: readonly Caller[], total: number): void {
  let number = total
  for (let index = callers.length - 1; index >= 0; index--) {
    const { resolve, by } = callers[index]!
    resolve({ kind: 'accepted', number })
    number -= by
  }
}

/**
 * Whether two operations of a key can go as one. What is overwritten in the same step was never seen by anybody, so the
 * later row stands for both; increments add up. Anything else goes in the next batch.
 */
function merge(place: Place, next: Outgoing): boolean {
  const { operation } = place
  if (operation.kind === 'increment' && next.kind === 'increment') {
    if (!isSameBase(operation, next)) return false
    operation.by += next.by
    return true
  }
  const overwrites = next.kind === 'put' || next.kind === 'delete'
  if (!overwrites || operation.kind === 'increment' || operation.kind === 'append') return false
  // "delete, put" is not the same as "put": what the old row had besides is gone.
  if (operation.kind === 'delete' && next.kind === 'put') return false
  place.operation = next
  return true
}

function isSameBase(one: OutgoingIncrement, other: OutgoingIncrement): boolean {
  if (one.base === undefined || other.base === undefined) return one.base === other.base
  return one.base.token.equals(other.base.token)
}

/** A server that starts, fails over or moves slots: the same call is answered soon. */
function willPass(error: unknown): boolean {
  const cause = error instanceof Error ? error.cause : undefined
  return (
    cause instanceof Error && /^(LOADING|TRYAGAIN|CLUSTERDOWN|MASTERDOWN|BUSY|MOVED|ASK) /.test(cause.message)
  )
}
