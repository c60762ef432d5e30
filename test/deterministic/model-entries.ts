import { holdFrame, parseFrame, storedAt, valueFrame } from '../../src/codec/frame.js'
import { plainCodec } from './model-redis.js'
import type { Id, ModelIncrement } from './shard-records.js'

/** What a value shows: a number, or that there is nothing. */
export type Shown = number | 'nothing'

/** A value as a reader finds it, with what the scripts go by. */
export interface ModelValue {
  readonly is: 'value'
  readonly shows: Shown
  /** Whether a script can add to it as it stands. */
  readonly isCounter: boolean
  readonly token: string
  /** The generations that it stands under. */
  readonly stamp: string
  readonly storedAtMs: number
  readonly freshMs: number
  /** The last operation in it, which the source does not have yet; undefined once it is settled. */
  readonly unflushed: Id | undefined
  /** To be dropped as soon as it is settled. */
  readonly isDoomed: boolean
  /** It is gone then; while it is unflushed, never. */
  readonly untilMs: number
}

/** Somebody loads it. */
interface ModelHold {
  readonly is: 'hold'
  readonly token: string
  readonly untilMs: number
}

export type ModelEntry = ModelValue | ModelHold

/** Of a frame that a caller made, with the time of storing that the script writes into it. */
export function valueOf(key: string, frame: Buffer, nowMs: number): ModelValue {
  const entry = parseFrame(key, frame)
  if (entry.state !== 'value') throw new Error(`${key} was given a frame that is ${entry.state}`)
  return {
    is: 'value',
    shows: entry.notFound ? 'nothing' : (plainCodec.decode(entry.flags, entry.payload) as number),
    isCounter: false,
    token: entry.token.toString('hex'),
    stamp: frame.toString('hex', 46, 58),
    storedAtMs: Math.floor(nowMs),
    freshMs: entry.freshMs,
    unflushed: undefined,
    isDoomed: false,
    untilMs: Number.POSITIVE_INFINITY
  }
}

/** The entry with an increment in it; undefined when it is nothing that may be added to without a base. */
export function counted(
  entry: ModelEntry | undefined,
  { by, freshMs, stamp, base }: ModelIncrement,
  nowMs: number
): ModelValue | undefined {
  if (entry?.is !== 'value') return undefined
  const isFresh = nowMs < entry.storedAtMs + entry.freshMs && entry.stamp === stamp
  const isCurrent = entry.unflushed !== undefined || isFresh
  if (entry.isCounter && isCurrent) return { ...entry, shows: (entry.shows as number) + by }
  if (base === undefined || base.token !== entry.token) return undefined
  const life = base.isNew ? { storedAtMs: nowMs, freshMs } : {}
  return { ...entry, ...life, isCounter: true, shows: base.number + by }
}

/** The entries behind the scripts over shards, on plain data. */
export class ModelEntries {
  readonly #nowMs: () => number
  #entries = new Map<string, ModelEntry>()

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs
  }

  get(key: string): ModelEntry | undefined {
    const entry = this.#entries.get(key)
    if (entry === undefined || entry.untilMs > this.#nowMs()) return entry
    this.#entries.delete(key)
    return undefined
  }

  set(key: string, entry: ModelEntry): void {
    this.#entries.set(key, entry)
  }

  delete(key: string): void {
    this.#entries.delete(key)
  }

  /** Answers how to come back to what is there now. */
  copy(): () => void {
    const entries = new Map(this.#entries)
    return () => (this.#entries = entries)
  }

  /** As a reader gets it. */
  bytes(key: string): Buffer | null {
    const entry = this.get(key)
    if (entry === undefined) return null
    if (entry.is === 'hold') return holdFrame(Buffer.from(entry.token, 'hex'))
    return bytesOf(key, entry)
  }

  /** Of take-lease: for an entry that is written behind, and whose value has no lease of its own here. */
  takeLease(key: string, token: Buffer, leaseMs: number, isMarked: boolean): unknown {
    const entry = this.get(key)
    const name = token.toString('hex')
    if (entry?.is === 'value') return [3, this.bytes(key)]
    if (entry !== undefined)
      return entry.token === name ? [1, 0, 0] : [2, Math.ceil(entry.untilMs - this.#nowMs()), 0]
    if (isMarked) return [6]
    this.set(key, { is: 'hold', token: name, untilMs: this.#nowMs() + leaseMs })
    return [1, 0, 0]
  }

  /** Of fill-entry. */
  fill(key: string, token: Buffer, frame: Buffer, lifeMs: number): 0 | 1 {
    const entry = this.get(key)
    if (entry?.is !== 'hold' || entry.token !== token.toString('hex')) return 0
    const nowMs = this.#nowMs()
    this.set(key, { ...valueOf(key, frame, nowMs), untilMs: nowMs + lifeMs })
    return 1
  }
}

function bytesOf(key: string, entry: ModelValue): Buffer {
  const { shows, token, stamp, freshMs, storedAtMs, unflushed } = entry
  const { flags, bytes } = encoded(shows)
  const generations = Buffer.from(stamp, 'hex')
  const frame = valueFrame(key, {
    token: Buffer.from(token, 'hex'),
    freshMs,
    loadMs: 0,
    flags,
    notFound: shows === 'nothing',
    stamp: {
      hardHigh: generations.readUInt32BE(0),
      hardLow: generations.readUInt32BE(4),
      soft: generations.readUInt32BE(8),
      tags: []
    },
    payload: bytes
  })
  const stored = storedAt(frame, storedAtMs)
  // What only the scripts read, which of its operations is the last, is in no reader's way.
  stored[3] = unflushed === undefined ? 0 : 1
  return stored
}

/** The payload of a number, or of nothing. */
export function encoded(shows: Shown): { flags: number; bytes: Buffer } {
  if (shows === 'nothing') return { flags: 0, bytes: Buffer.alloc(0) }
  return plainCodec.encode(shows) as { flags: number; bytes: Buffer }
}
