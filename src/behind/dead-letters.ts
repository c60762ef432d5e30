import type { PayloadCodec } from '../codec/codec.js'
import { parseFrame } from '../codec/frame.js'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Clock } from '../clock.js'
import { CorruptEntryError, InvalidOptionError, NotFlushedError } from '../errors.js'
import type { ShardKeys } from '../keys/key-schema.js'
import type { ShardStreams } from '../redis/shard-stream.js'
import {
  decodeLetter,
  originOf,
  placeOf,
  type DeadLetter,
  type LetterContent,
  type Origin
} from './letter.js'
import type { Queue } from './queue.js'
import { decodeRecord, type Outgoing, type Recorded } from './record.js'

const LOOK_AGAIN_MS = 50
/** What a worker takes at once, and puts aside from. */
const LOOK_MOST_BYTES = 4 * 1024 * 1024
const DROPPED_AT_ONCE = 1_000

/** Operations that a sink can never take, put aside for a person to look at. */
export interface DeadLetters {
  /** All of them, oldest first; of one collection or ingest, or of all. */
  list(queue?: string): Promise<DeadLetter[]>
  /**
   * Sends them to the sink again, behind what waits already, once: after the reason is gone. A row is what the letter says
   * then, whatever it was meanwhile. Answers how many were there.
   */
  replay(letters: DeadLetter | readonly DeadLetter[]): Promise<number>
  /** Forgets them. Answers how many were there. */
  drop(letters: DeadLetter | readonly DeadLetter[]): Promise<number>
}

export interface DeadLetterParts {
  readonly streams: ShardStreams
  readonly codec: PayloadCodec
  readonly clock: Clock
  readonly queues: () => readonly Queue[]
}

interface OfShard {
  readonly queue: Queue
  readonly shard: number
  readonly names: string[]
}

export class BehindDeadLetters implements DeadLetters {
  readonly #parts: DeadLetterParts

  constructor(parts: DeadLetterParts) {
    this.#parts = parts
  }

  async list(name?: string): Promise<DeadLetter[]> {
    const queues = name === undefined ? this.#parts.queues() : [this.#queueOf(name)]
    const letters: { readonly letter: DeadLetter; readonly place: readonly number[] }[] = []
    for (const queue of queues) {
      const all = await Promise.all(queue.shards.map((keys) => this.#parts.streams.letters(keys)))
      for (const [shard, ofShard] of all.entries()) {
        for (const [letter, bytes] of ofShard) {
          const content = decodeLetter(bytes)
          const opened = await this.#opened(queue, shard, letter, content)
          letters.push({ letter: opened, place: placeOf(letter, content) })
        }
      }
    }
    return letters.sort(byPlace).map(({ letter }) => letter)
  }

  async replay(letters: DeadLetter | readonly DeadLetter[]): Promise<number> {
    const { streams } = this.#parts
    let replayed = 0
    for (const { queue, shard, names } of this.#byShard(letters)) {
      const keys = queue.shards[shard]!
      await this.#untilLetGo(queue, keys, names)
      for (const letter of names) {
        const kept = await streams.letter(keys, letter)
        if (kept === null) continue
        // First into the stream, then out of the letters. In between it is in both, and under its own name: when it is
        // replayed again, stream and sink know it.
        await queue.resubmit(shard, `letter:${letter}`, outgoing(decodeRecord(decodeLetter(kept).record)))
        replayed += await streams.exhume(keys, [letter])
      }
    }
    return replayed
  }

  /**
   * A worker that did not live to note what it put aside leaves it in the stream, for the next one to try: who sent it
   * again meanwhile would have it applied twice. Once it has left the stream, its letter stays or is gone for good.
   */
  async #untilLetGo(queue: Queue, keys: ShardKeys, letters: readonly string[]): Promise<void> {
    const { streams, clock } = this.#parts
    const { maxBatch, writeTimeoutMs } = queue.policy
    const origins = new Set(letters.map((letter) => batchOf(originOf(letter))))
    const deadline = clock.now() + writeTimeoutMs
    for (;;) {
      const waiting = await streams.read(keys, maxBatch, LOOK_MOST_BYTES)
      if (!waiting.some((entry) => origins.has(batchOf(entry)))) return
      if (clock.now() > deadline)
        throw new NotFlushedError(
          [keys.name],
          writeTimeoutMs,
          'What was put aside is still to be noted as such.'
        )
      await sleep(LOOK_AGAIN_MS)
    }
  }

  async drop(letters: DeadLetter | readonly DeadLetter[]): Promise<number> {
    let dropped = 0
    for (const { queue, shard, names } of this.#byShard(letters)) {
      for (let at = 0; at < names.length; at += DROPPED_AT_ONCE) {
        const page = names.slice(at, at + DROPPED_AT_ONCE)
        dropped += await this.#parts.streams.exhume(queue.shards[shard]!, page)
      }
    }
    return dropped
  }

  /** In their order within each, in which what was put aside of one row is. */
  #byShard(letters: DeadLetter | readonly DeadLetter[]): Iterable<OfShard> {
    const shards = new Map<string, OfShard>()
    for (const { queue: name, shard, letter } of listOf(letters)) {
      const queue = this.#queueOf(name)
      const keys = queue.shards[shard]
      if (keys === undefined)
        throw new InvalidOptionError('shard', shard, `one of the ${queue.shards.length} of "${name}"`)
      const known = shards.get(keys.name)
      if (known === undefined) shards.set(keys.name, { queue, shard, names: [letter] })
      else known.names.push(letter)
    }
    return shards.values()
  }

  #queueOf(name: string): Queue {
    const queue = this.#parts.queues().find((one) => one.name === name)
    if (queue !== undefined) return queue
    throw new InvalidOptionError(
      'queue',
      name,
      'a collection with writeBehind, or a name given to cache.ingest'
    )
  }

  async #opened(queue: Queue, shard: number, letter: string, content: LetterContent): Promise<DeadLetter> {
    const record = decodeRecord(content.record)
    return {
      letter,
      queue: queue.name,
      shard,
      kind: record.kind,
      id: record.id,
      tenant: record.tenant,
      value: await this.#readableValueOf(record),
      reason: content.reason,
      code: content.code,
      at: new Date(content.at)
    }
  }

  /** Undefined for one whose damage is the very reason why it is here. */
  async #readableValueOf(record: Recorded): Promise<unknown> {
    try {
      return await this.#valueOf(record)
    } catch (error) {
      if (error instanceof CorruptEntryError) return undefined
      throw error
    }
  }

  async #valueOf({ kind, key, rest, by }: Recorded): Promise<unknown> {
    const { codec } = this.#parts
    switch (kind) {
      case 'increment':
        return by
      case 'append':
        return codec.decode(rest[0]!, rest.subarray(1))
      case 'put': {
        const entry = parseFrame(key, rest)
        return entry.state === 'value' ? codec.decode(entry.flags, entry.payload) : undefined
      }
      case 'delete':
        return undefined
    }
  }
}

function batchOf({ producer, batch }: Pick<Origin, 'producer' | 'batch'>): string {
  return `${producer}/${batch}`
}

function byPlace(
  one: { readonly place: readonly number[] },
  other: { readonly place: readonly number[] }
): number {
  const at = one.place.findIndex((part, index) => part !== other.place[index])
  return at === -1 ? 0 : one.place[at]! - other.place[at]!
}

function listOf(letters: DeadLetter | readonly DeadLetter[]): readonly DeadLetter[] {
  return Array.isArray(letters) ? (letters as readonly DeadLetter[]) : [letters as DeadLetter]
}

/** As it was sent first, but without an entry: what a letter says shows in the source, and readers load it from there. */
function outgoing({ kind, key, id, tenant, rest }: Recorded): Outgoing {
  if (kind === 'append') return { kind, id, tenant, flags: rest[0]!, payload: rest.subarray(1) }
  return { kind: 'replay', of: kind, id, tenant, key, rest }
}
