import type { Stamp } from '../entry.js'
import { InvalidKeyError } from '../errors.js'
import type { CacheId, TenantId } from '../ports.js'

/*
 * The bytes of operations. In the stream each is a record, which says all that a worker needs:
 *
 *   u16 number in its batch · u8 kind · u16 length, id · u16 length, tenant · u16 length, key of the entry · the rest
 *   the rest: P the VALUE frame · I by, a double · D nothing · A u8 flags, payload
 *
 * To the script that appends them goes for each, beside the record, what only the script needs; see its head.
 */

export type OperationKind = 'put' | 'delete' | 'increment' | 'append'

const CODE: Readonly<Record<OperationKind, number>> = {
  put: 0x50,
  delete: 0x44,
  increment: 0x49,
  append: 0x41
}
const KIND = new Map(Object.entries(CODE).map(([kind, code]) => [code, kind as OperationKind]))

/** What an increment starts from, when the entry is not a counter yet: the number in the entry with this token. */
export interface Base {
  readonly number: number
  readonly token: Buffer
  /** There was no such row, so the entry's life begins now. */
  readonly isNew: boolean
}

/** An operation on its way into the stream. Of an increment, `by` and `base` may still change until it is sent. */
export type Outgoing = OutgoingChange | OutgoingIncrement | OutgoingEvent | OutgoingReplay

interface OutgoingCommon {
  readonly id: CacheId | undefined
  readonly tenant: TenantId | undefined
}

export interface OutgoingChange extends OutgoingCommon {
  readonly kind: 'put' | 'delete'
  readonly key: string
  /** The VALUE frame for the entry; of a deletion one that says "not found". */
  readonly frame: Buffer
}

export interface OutgoingIncrement extends OutgoingCommon {
  readonly kind: 'increment'
  readonly key: string
  by: number
  readonly checksum: number
  readonly freshMs: number
  /** What a counter must stand under to be counted on: 12 bytes of a frame. */
  readonly stamp: Stamp
  base: Base | undefined
}

export interface OutgoingEvent extends OutgoingCommon {
  readonly kind: 'append'
  readonly flags: number
  readonly payload: Buffer
}

/** A dead letter on its way back: into the stream alone. Its entry is dropped when it is applied. */
export interface OutgoingReplay extends OutgoingCommon {
  readonly kind: 'replay'
  readonly of: OperationKind
  readonly key: string
  readonly rest: Buffer
}

/** The operations that change an entry in the step that accepts them. */
export function keyOf(operation: Outgoing): string | undefined {
  return operation.kind === 'append' || operation.kind === 'replay' ? undefined : operation.key
}

const REPLAYED = 0x80

export function sizeOf(operation: Outgoing): number {
  switch (operation.kind) {
    case 'append':
      return 64 + operation.payload.length
    case 'replay':
      return 64 + operation.rest.length
    case 'increment':
      return 128 + operation.key.length
    default:
      return 64 + operation.key.length + operation.frame.length
  }
}

/** What the append script takes as its last two arguments. */
export function encodeOperations(operations: readonly Outgoing[]): { records: Buffer; controls: Buffer } {
  const records = new Writer()
  const controls = new Writer()
  for (const [index, operation] of operations.entries()) {
    const frameAt = writeRecord(records, operation, index)
    controls.u8(operation.kind === 'replay' ? CODE.append : CODE[operation.kind])
    const control = controls.reserve()
    if (operation.kind === 'put') controls.u32(frameAt)
    else if (operation.kind === 'delete') controls.bytes(operation.frame)
    else if (operation.kind === 'increment') writeCounter(controls, operation)
    controls.close(control)
  }
  return { records: records.done(), controls: controls.done() }
}

/** Answers where its rest begins, counted from behind its length. */
function writeRecord(writer: Writer, operation: Outgoing, index: number): number {
  const length = writer.reserve()
  writer.u16(index)
  writer.u8(operation.kind === 'replay' ? CODE[operation.of] | REPLAYED : CODE[operation.kind])
  writer.text(idText(operation.id))
  writer.text(idText(operation.tenant))
  writer.text(operation.kind === 'append' ? '' : operation.key)
  const restAt = writer.at - length - 4
  if (operation.kind === 'put') writer.bytes(operation.frame)
  else if (operation.kind === 'increment') writer.f64(operation.by)
  else if (operation.kind === 'replay') writer.bytes(operation.rest)
  else if (operation.kind === 'append') {
    writer.u8(operation.flags)
    writer.bytes(operation.payload)
  }
  writer.close(length)
  return restAt
}

function writeCounter(writer: Writer, { by, checksum, freshMs, stamp, base }: OutgoingIncrement): void {
  writer.f64(by)
  writer.u32(checksum)
  writer.u40(freshMs)
  writer.u32(stamp.hardHigh)
  writer.u32(stamp.hardLow)
  writer.u32(stamp.soft)
  writer.u8(base === undefined ? 0 : 1)
  if (base === undefined) return
  writer.f64(base.number)
  writer.bytes(base.token)
  writer.u8(base.isNew ? 1 : 0)
}

/** During a deployment in parts: nothing is wrong with the operation, and it must not be put aside. */
export class OfLaterVersionError extends Error {
  constructor(how: string) {
    super(
      `an operation was accepted by a later version of Corral (${how}), and waits for a worker of that version`
    )
    this.name = 'OfLaterVersionError'
  }
}

/** A record as a worker reads it. */
export interface Recorded {
  readonly index: number
  readonly kind: OperationKind
  readonly id: CacheId | undefined
  readonly tenant: TenantId | undefined
  /** Of the entry; empty for an event. */
  readonly key: string
  /** The VALUE frame, or flags and payload of an event. */
  readonly rest: Buffer
  readonly by: number
  /** A dead letter that was sent again. */
  readonly isReplay: boolean
  /** The whole of it, for a dead letter. */
  readonly bytes: Buffer
}

/** The records of one stream entry, each after its length. */
export function decodeRecords(joined: Buffer): Recorded[] {
  const records: Recorded[] = []
  for (let at = 0; at < joined.length; ) {
    const end = at + 4 + joined.readUInt32BE(at)
    records.push(decodeRecord(joined.subarray(at + 4, end)))
    at = end
  }
  return records
}

export function decodeRecord(bytes: Buffer): Recorded {
  const kind = KIND.get(bytes[2]! & ~REPLAYED)
  if (kind === undefined) throw new OfLaterVersionError(`its kind is ${bytes[2]}`)
  let at = 3
  const text = (): string => {
    const from = at + 2
    at = from + bytes.readUInt16BE(at)
    return bytes.toString('utf8', from, at)
  }
  const [id, tenant, key] = [parseId(text()), parseId(text()), text()]
  return {
    index: bytes.readUInt16BE(0),
    kind,
    id,
    tenant: tenant as TenantId | undefined,
    key,
    rest: bytes.subarray(at),
    by: kind === 'increment' ? bytes.readDoubleBE(at) : 0,
    isReplay: (bytes[2]! & REPLAYED) !== 0,
    bytes
  }
}

/**
 * JSON, with bigints: `{ page: 2n }` is `{"page":{"$n":"2"}}`. A name of the user's that begins with `$` gets one more, so that
 * no field reads as a bigint. Nothing at all for undefined.
 */
function idText(id: CacheId | undefined): string {
  if (id === undefined) return ''
  if (typeof id === 'number') return String(id)
  return JSON.stringify(id, (_, value: unknown) => {
    if (typeof value === 'bigint') return { $n: String(value) }
    return hasDollars(value) ? renamed(value, (name) => (name.startsWith('$') ? `$${name}` : name)) : value
  })
}

function parseId(text: string): CacheId | undefined {
  if (text === '') return undefined
  return JSON.parse(text, (_, value: unknown) => {
    if (!hasDollars(value)) return value
    if (typeof value['$n'] === 'string') return BigInt(value['$n'])
    return renamed(value, (name) => (name.startsWith('$') ? name.slice(1) : name))
  }) as CacheId
}

function hasDollars(value: unknown): value is Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false
  return Object.keys(value).some((name) => name.startsWith('$'))
}

function renamed(fields: Record<string, unknown>, rename: (name: string) => string): Record<string, unknown> {
  return Object.fromEntries(Object.entries(fields).map(([name, value]) => [rename(name), value]))
}

/** What a record has room for. */
const LONGEST_TEXT = 0xffff
/** Of a character, escaped: `\u0000`. */
const MOST_BYTES_EACH = 6

/** Throws `InvalidKeyError` for an id or a tenant that no record has room for: it would take its whole batch with it. */
export function assertRecordable({ id, tenant }: Outgoing): void {
  if (!isShort(id)) throw new InvalidKeyError('The id', id, `at most ${LONGEST_TEXT} bytes as JSON`)
  if (!isShort(tenant))
    throw new InvalidKeyError('The tenant', tenant, `at most ${LONGEST_TEXT} bytes as JSON`)
}

function isShort(id: CacheId | undefined): boolean {
  if (typeof id === 'number' || (typeof id === 'string' && id.length * MOST_BYTES_EACH < LONGEST_TEXT))
    return true
  return Buffer.byteLength(idText(id)) <= LONGEST_TEXT
}

class Writer {
  at = 0
  #buffer = Buffer.allocUnsafe(4096)

  u8(value: number): void {
    this.#room(1)
    this.at = this.#buffer.writeUInt8(value, this.at)
  }

  u16(value: number): void {
    this.#room(2)
    this.at = this.#buffer.writeUInt16BE(value, this.at)
  }

  u32(value: number): void {
    this.#room(4)
    this.at = this.#buffer.writeUInt32BE(value, this.at)
  }

  u40(value: number): void {
    this.#room(5)
    this.at = this.#buffer.writeUIntBE(value, this.at, 5)
  }

  f64(value: number): void {
    this.#room(8)
    this.at = this.#buffer.writeDoubleBE(value, this.at)
  }

  bytes(bytes: Buffer): void {
    this.#room(bytes.length)
    this.at += bytes.copy(this.#buffer, this.at)
  }

  text(text: string): void {
    this.#room(2 + 3 * text.length)
    const length = this.#buffer.write(text, this.at + 2)
    this.#buffer.writeUInt16BE(length, this.at)
    this.at += 2 + length
  }

  /** Room for a length that is known later; give the answer to `close`. */
  reserve(): number {
    this.u32(0)
    return this.at - 4
  }

  close(reserved: number): void {
    this.#buffer.writeUInt32BE(this.at - reserved - 4, reserved)
  }

  done(): Buffer {
    return this.#buffer.subarray(0, this.at)
  }

  #room(bytes: number): void {
    if (this.at + bytes <= this.#buffer.length) return
    const larger = Buffer.allocUnsafe(Math.max(2 * this.#buffer.length, this.at + bytes))
    this.#buffer.copy(larger, 0, 0, this.at)
    this.#buffer = larger
  }
}
