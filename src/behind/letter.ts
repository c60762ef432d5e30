import { textOf } from '../errors.js'
import type { CacheId, TenantId } from '../ports.js'

/** Which operation a letter is: which of which batch of its producer. */
export interface Origin {
  readonly producer: string
  readonly batch: number
  readonly index: number
}

export function nameOfLetter({ producer, batch, index }: Origin): string {
  return `${producer}/${batch}/${index}`
}

/** A producer of a letter that was sent again has slashes in its own name. */
export function originOf(letter: string): Origin {
  const [, producer = '', batch, index] = /^(.*)\/(\d+)\/(\d+)$/.exec(letter) ?? []
  return { producer, batch: Number(batch), index: Number(index) }
}

/** An operation that the sink can never take, with the reason. */
export interface DeadLetter {
  /** Names it for `replay` and `drop`. */
  readonly letter: string
  readonly queue: string
  readonly shard: number
  readonly kind: 'put' | 'delete' | 'increment' | 'append'
  /** Undefined for an event. */
  readonly id: CacheId | undefined
  readonly tenant: TenantId | undefined
  /** The row, the event, or by how much. */
  readonly value: unknown
  readonly reason: string
  /** The database's own code, such as '23505'. */
  readonly code: string | undefined
  /** When it was put aside, by the clock of the worker's machine. */
  readonly at: Date
}

/** As it is kept: u32 length of the JSON, the JSON, then the record as it was in the stream. */
export interface LetterContent {
  readonly reason: string
  readonly code: string | undefined
  readonly at: number
  /** Of the entry of the stream that it was in. Clocks of workers differ and are set back: this is the order of one row's. */
  readonly id: string
  readonly record: Buffer
}

const REASON_LIMIT = 1_000

export function encodeLetter({ reason, code, at, id, record }: LetterContent): Buffer {
  const head = Buffer.from(JSON.stringify({ reason: reason.slice(0, REASON_LIMIT), code, at, id }))
  const length = Buffer.alloc(4)
  length.writeUInt32BE(head.length)
  return Buffer.concat([length, head, record])
}

export function decodeLetter(bytes: Buffer): LetterContent {
  const end = 4 + bytes.readUInt32BE(0)
  const head = JSON.parse(bytes.toString('utf8', 4, end)) as Omit<LetterContent, 'record' | 'id'> & {
    id?: string
  }
  const { reason, code, at, id = `${at}-0` } = head
  return { reason, code, at, id, record: bytes.subarray(end) }
}

/** Where a letter stood among all others: compared part by part. */
export function placeOf(letter: string, { id }: LetterContent): readonly number[] {
  return [...id.split('-').map(Number), originOf(letter).index]
}

export function reasonOf(error: unknown): { reason: string; code: string | undefined } {
  if (!(error instanceof Error)) return { reason: textOf(error), code: undefined }
  const { code } = error as { code?: unknown }
  return { reason: error.message, code: typeof code === 'string' ? code : undefined }
}
