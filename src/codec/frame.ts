import { hashOf, sumOf } from './checksum.js'
import { parseFailed } from './failed-frame.js'
import {
  DETAIL_AT,
  isLater,
  MAGIC,
  STATE_FAILED,
  STATE_HOLD,
  STATE_VALUE,
  TOKEN_AT,
  tokenIn,
  VERSION,
  writeHead
} from './frame-head.js'
import { isGuard } from './guard-frame.js'
import {
  ABSENT,
  HOLD,
  NO_TAGS,
  TOKEN_BYTES,
  type Entry,
  type Stamp,
  type TagStamp,
  type Token,
  type ValueEntry
} from '../entry.js'
import { ValueTooLargeError } from '../errors.js'

/*
 * The bytes of a stored entry. Numbers are big-endian. The first four bytes and the token mean the same in every
 * version; the Lua scripts know the offsets marked with *.
 *
 *   0   magic 0xC0: no UTF-8 text begins with it
 *   1 * version, 1 to 15
 *   2 * state: 1 HOLD, 2 FAILED, 3 VALUE
 *   3 * HOLD: purpose (1 load, 2 write: see guard-frame.ts); FAILED: kind (1 load failed, 2 uncacheable); VALUE: 0, or
 *       the sum of 1 the source does not have it yet, 2 a counter, 4 to be dropped once the source has it
 *   4 * token, 8 bytes: the lease holder's, or the fill's
 *  HOLD ends here. FAILED goes on:
 *  12   CRC-32 of all that follows and of the bytes 2 to 11, seeded with the key's
 *  16   a failure report in JSON
 *  VALUE goes on:
 *  12 * stored at, u48, ms on Redis' clock, written by the script
 *  18 * token of the refresh lease, 8 bytes; zeros while backing off or free
 *  26 * refresh lease until, u48, ms on Redis' clock; 0 when free
 *  32   checksum of all from 46 on, seeded with a hash of the key and the fields between: a value found under another key
 *       is not taken for its own
 *  36   flags: how the payload is encoded, whether it is a remembered not-found, whether there are tags
 *  37   fresh for, u40, ms
 *  42   cost of the load, u32, ms
 *  46   the generations it was loaded under: 8 bytes for what was cleared, 4 for what was made stale
 *  58   with tags: u16 length of what follows, and for each its two generations, doubles, and its name with a u16 length
 *       payload; of a counter the payload of its number, and the eight bytes of the number once more: scripts change it,
 *       and cannot make the CRC, so its checksum is of the key alone
 *  An unflushed VALUE has the stream id of its last operation, u48 and u64, in the place of the lease.
 */
const UNFLUSHED = 1
const COUNTER = 2
const COUNTER_PAYLOAD_BYTES = 11
const COUNTER_COPY_BYTES = 8
const PURPOSE_LOAD = 1

const STORED_AT = 12
const LEASE_TOKEN_AT = 18
const LEASE_UNTIL_AT = 26
const CHECKSUM_AT = 32
const FLAGS_AT = 36
const FRESH_AT = 37
const LOAD_COST_AT = 42
const STAMP_AT = 46
const SOFT_AT = 54
/** Of a value without tags. */
const PAYLOAD_AT = 58
const TAG_BYTES = 18

/** Bits 0-5 of the flags belong to the payload codec. */
const FLAG_NOT_FOUND = 0x80
const FLAG_TAGS = 0x40
const FRAME_FLAGS = FLAG_NOT_FOUND | FLAG_TAGS

const MAX_U16 = 0xffff
const MAX_U32 = 0xffff_ffff
const TWO_TO_32 = 2 ** 32

export const VALUE_HEADER_BYTES: number = PAYLOAD_AT

export function holdFrame(token: Token): Buffer {
  const frame = Buffer.allocUnsafe(TOKEN_AT + TOKEN_BYTES)
  writeHead(frame, STATE_HOLD, PURPOSE_LOAD, token)
  return frame
}

export interface ValueFields {
  readonly token: Token
  readonly freshMs: number
  readonly loadMs: number
  readonly flags: number
  readonly notFound: boolean
  readonly stamp: Stamp
  readonly payload: Buffer
}

/** A VALUE without its time of storing, which the store writes in when it accepts the fill. */
export function valueFrame(key: string, fields: ValueFields): Buffer {
  const { stamp } = fields
  const tags = stamp.tags.length === 0 ? NO_TAG_BYTES : tagBytes(stamp.tags)
  const frame = Buffer.allocUnsafe(PAYLOAD_AT + tags.length + fields.payload.length)
  writeHead(frame, STATE_VALUE, 0, fields.token)
  frame.fill(0, STORED_AT, CHECKSUM_AT)
  frame[FLAGS_AT] = fields.flags | (fields.notFound ? FLAG_NOT_FOUND : 0) | (tags.length > 0 ? FLAG_TAGS : 0)
  frame.writeUIntBE(fields.freshMs, FRESH_AT, 5)
  frame.writeUInt32BE(Math.min(Math.round(fields.loadMs), MAX_U32), LOAD_COST_AT)
  frame.writeUInt32BE(stamp.hardHigh, STAMP_AT)
  frame.writeUInt32BE(stamp.hardLow, STAMP_AT + 4)
  frame.writeUInt32BE(stamp.soft, SOFT_AT)
  tags.copy(frame, PAYLOAD_AT)
  fields.payload.copy(frame, PAYLOAD_AT + tags.length)
  frame.writeUInt32BE(checksum(key, frame), CHECKSUM_AT)
  return frame
}

const NO_TAG_BYTES = Buffer.alloc(0)

/** Throws `ValueTooLargeError` for more tags, as they stand in keys, than the length before them can tell. */
export function assertRoomForTags(parts: readonly string[]): void {
  const bytes = parts.reduce((sum, part) => sum + TAG_BYTES + Buffer.byteLength(part), 0)
  if (bytes > MAX_U16) throw new ValueTooLargeError(bytes, MAX_U16, 'tags')
}

function tagBytes(tags: readonly TagStamp[]): Buffer {
  const parts = tags.map(({ tag, hard, soft }) => {
    const name = Buffer.from(tag)
    const part = Buffer.allocUnsafe(TAG_BYTES + name.length)
    part.writeDoubleBE(hard, 0)
    part.writeDoubleBE(soft, 8)
    part.writeUInt16BE(name.length, 16)
    name.copy(part, TAG_BYTES)
    return part
  })
  const length = Buffer.allocUnsafe(2)
  length.writeUInt16BE(parts.reduce((sum, part) => sum + part.length, 0))
  return Buffer.concat([length, ...parts])
}

/** What `tagBytes` wrote; undefined when it was not that. */
function readTags(bytes: Buffer): TagStamp[] | undefined {
  const tags: TagStamp[] = []
  const end = payloadStart(bytes)
  if (end > bytes.length) return undefined
  let at = PAYLOAD_AT + 2
  while (at + TAG_BYTES <= end) {
    const nameEnd = at + TAG_BYTES + bytes.readUInt16BE(at + 16)
    if (nameEnd > end) return undefined
    const tag = bytes.toString('utf8', at + TAG_BYTES, nameEnd)
    tags.push({ hard: bytes.readDoubleBE(at), soft: bytes.readDoubleBE(at + 8), tag })
    at = nameEnd
  }
  return at === end ? tags : undefined
}

function hasTags(bytes: Buffer): boolean {
  return (bytes[FLAGS_AT]! & FLAG_TAGS) !== 0
}

function payloadStart(bytes: Buffer): number {
  if (!hasTags(bytes)) return PAYLOAD_AT
  return bytes.length < PAYLOAD_AT + 2 ? bytes.length + 1 : PAYLOAD_AT + 2 + bytes.readUInt16BE(PAYLOAD_AT)
}

/** Who has a lease on an entry, as the Lua scripts see it: the header alone, without trust in the rest. */
export interface Header {
  readonly state: 'hold' | 'guard' | 'failed' | 'value'
  readonly token: Token
  readonly leaseToken: Token
  readonly leaseUntilMs: number
}

/** Undefined for bytes that are no entry; `'foreign'` for one of a later version. */
export function readHeader(bytes: Buffer): Header | 'foreign' | undefined {
  if (bytes.length < TOKEN_AT + TOKEN_BYTES || bytes[0] !== MAGIC) return undefined
  if (bytes[1] !== VERSION) return isLater(bytes[1]!) ? 'foreign' : undefined
  const token = tokenIn(bytes)
  if (isGuard(bytes)) return { state: 'guard', token: NO_TOKEN, leaseToken: NO_TOKEN, leaseUntilMs: 0 }
  if (bytes[2] === STATE_HOLD && isLease(bytes)) {
    return { state: 'hold', token, leaseToken: NO_TOKEN, leaseUntilMs: 0 }
  }
  if (bytes[2] === STATE_FAILED) return { state: 'failed', token, leaseToken: NO_TOKEN, leaseUntilMs: 0 }
  if (bytes[2] !== STATE_VALUE || bytes.length < CHECKSUM_AT) return undefined
  const leaseToken = bytes.subarray(LEASE_TOKEN_AT, LEASE_TOKEN_AT + TOKEN_BYTES)
  return { state: 'value', token, leaseToken, leaseUntilMs: bytes.readUIntBE(LEASE_UNTIL_AT, 6) }
}

export const NO_TOKEN: Token = Buffer.alloc(TOKEN_BYTES)

/** A copy of a VALUE with another lease on it. */
export function withLease(value: Buffer, token: Token, untilMs: number): Buffer {
  const frame = Buffer.from(value)
  token.copy(frame, LEASE_TOKEN_AT)
  frame.writeUIntBE(Math.floor(untilMs), LEASE_UNTIL_AT, 6)
  return frame
}

/** A copy of a VALUE with its time of storing written in. */
export function storedAt(value: Buffer, nowMs: number): Buffer {
  const frame = Buffer.from(value)
  frame.writeUIntBE(Math.floor(nowMs), STORED_AT, 6)
  return frame
}

/** A copy of a VALUE that is fresh until `nowMs` at most. */
export function staleFrom(value: Buffer, nowMs: number): Buffer {
  const freshMs = value[FRESH_AT]! * TWO_TO_32 + value.readUInt32BE(FRESH_AT + 1)
  return storedAt(value, Math.min(readStoredAt(value), Math.floor(nowMs) - freshMs))
}

export function readStoredAt(value: Buffer): number {
  return readU48(value, STORED_AT)
}

/** Reads what Redis had under `key`. Never throws: whatever is not an entry comes back as `unreadable`. */
export function parseFrame(key: string, bytes: Buffer | null): Entry {
  if (bytes === null) return ABSENT
  if (bytes.length < TOKEN_AT + TOKEN_BYTES || bytes[0] !== MAGIC)
    return unreadable('it does not begin like an entry')
  if (bytes[1] !== VERSION) {
    return {
      state: 'unreadable',
      reason: `its version is ${bytes[1]}`,
      token: undefined,
      foreign: isLater(bytes[1]!),
      leaseUntilMs: 0,
      backingOff: false
    }
  }
  switch (bytes[2]) {
    case STATE_VALUE:
      return parseValue(key, bytes)
    case STATE_HOLD:
      return isGuard(bytes) || isLease(bytes) ? HOLD : unreadable('it is a lease of the wrong length')
    case STATE_FAILED: {
      const failed = parseFailed(key, bytes)
      return typeof failed === 'string' ? unreadable(failed, bytes) : failed
    }
    default:
      return unreadable(`its state is ${bytes[2]}`)
  }
}

function parseValue(key: string, bytes: Buffer): Entry {
  if (bytes.length < PAYLOAD_AT) return unreadable('it is cut short', bytes)
  if ((bytes[DETAIL_AT]! & COUNTER) !== 0) return parseCounter(key, bytes)
  if (bytes.readUInt32BE(CHECKSUM_AT) !== checksum(key, bytes)) {
    return unreadable('its checksum does not match', bytes)
  }
  return valueIn(bytes)
}

function valueIn(bytes: Buffer): Entry {
  const tags = hasTags(bytes) ? readTags(bytes) : NO_TAGS
  return tags === undefined ? unreadable('its tags are damaged', bytes) : new StoredValue(bytes, bytes, tags)
}

function parseCounter(key: string, bytes: Buffer): Entry {
  const end = bytes.length - COUNTER_COPY_BYTES
  if (end !== payloadStart(bytes) + COUNTER_PAYLOAD_BYTES) return unreadable('it is cut short', bytes)
  const isKeys = bytes.readUInt32BE(CHECKSUM_AT) === counterChecksum(key)
  const isTwice = bytes.compare(bytes, end, bytes.length, end - COUNTER_COPY_BYTES, end) === 0
  if (!isKeys || !isTwice) return unreadable('its checksum does not match', bytes)
  return valueIn(bytes.subarray(0, end))
}

/** Parsed on every hit, so what only a load asks for is cut out when it is asked for. */
class StoredValue implements ValueEntry {
  readonly state = 'value'
  readonly storedAtMs: number
  readonly freshMs: number
  readonly loadMs: number
  readonly leaseUntilMs: number
  readonly backingOff: boolean
  readonly notFound: boolean
  readonly unflushed: boolean
  readonly flags: number
  readonly hardHigh: number
  readonly hardLow: number
  readonly soft: number
  readonly tags: readonly TagStamp[]
  readonly bytes: Buffer

  /** @param header of the same fill as `bytes`, perhaps read later */
  constructor(bytes: Buffer, header: Buffer, tags: readonly TagStamp[]) {
    const flags = bytes[FLAGS_AT]!
    this.storedAtMs = readU48(header, STORED_AT)
    this.freshMs = bytes[FRESH_AT]! * TWO_TO_32 + bytes.readUInt32BE(FRESH_AT + 1)
    this.loadMs = bytes.readUInt32BE(LOAD_COST_AT)
    this.unflushed = (header[DETAIL_AT]! & UNFLUSHED) !== 0
    this.leaseUntilMs = this.unflushed ? 0 : readU48(header, LEASE_UNTIL_AT)
    this.backingOff = this.leaseUntilMs !== 0 && isZero(header, LEASE_TOKEN_AT)
    this.notFound = (flags & FLAG_NOT_FOUND) !== 0
    this.flags = flags & ~FRAME_FLAGS
    this.hardHigh = bytes.readUInt32BE(STAMP_AT)
    this.hardLow = bytes.readUInt32BE(STAMP_AT + 4)
    this.soft = bytes.readUInt32BE(SOFT_AT)
    this.tags = tags
    this.bytes = bytes
  }

  get token(): Token {
    return tokenIn(this.bytes)
  }

  get payloadAt(): number {
    return payloadStart(this.bytes)
  }

  get payload(): Buffer {
    return this.bytes.subarray(this.payloadAt)
  }
}

function readU48(bytes: Buffer, at: number): number {
  return bytes.readUInt16BE(at) * TWO_TO_32 + bytes.readUInt32BE(at + 2)
}

/** Whether `header`, the first bytes of what stands under the key now, is of the same fill as `bytes`. */
export function isSameFill(bytes: Buffer, header: Buffer): boolean {
  return (
    header.length === PAYLOAD_AT &&
    bytes.compare(header, 0, STORED_AT, 0, STORED_AT) === 0 &&
    bytes.compare(header, CHECKSUM_AT, PAYLOAD_AT, CHECKSUM_AT, PAYLOAD_AT) === 0
  )
}

/** A value that was read whole before, with what may have changed since: its lease. */
export function parseRevalidated(bytes: Buffer, entry: ValueEntry, header: Buffer): ValueEntry {
  return new StoredValue(bytes, header, entry.tags)
}

/** Of all that follows it, for this key alone. */
function checksum(key: string, frame: Buffer): number {
  const fields =
    frame.readUInt32BE(FLAGS_AT) ^
    (frame.readUInt32BE(FLAGS_AT + 4) * 31) ^
    (frame.readUInt16BE(FLAGS_AT + 8) << 7)
  const seed = (hashOf(key) ^ fields) >>> 0
  return sumOf(frame, STAMP_AT, seed)
}

/** What stands in the place of a counter's checksum, for this key alone. */
export function counterChecksum(key: string): number {
  return (hashOf(key) ^ COUNTER_SEED) >>> 0
}

const COUNTER_SEED = 0x636e7472

function isZero(bytes: Buffer, at: number): boolean {
  return bytes.readUInt32BE(at) === 0 && bytes.readUInt32BE(at + TOKEN_BYTES / 2) === 0
}

function isLease(bytes: Buffer): boolean {
  return bytes.length === TOKEN_AT + TOKEN_BYTES && bytes[DETAIL_AT] === PURPOSE_LOAD
}

function unreadable(reason: string, bytes?: Buffer): Entry {
  const isLeasable = bytes !== undefined && bytes[2] === STATE_VALUE && bytes.length >= CHECKSUM_AT
  return {
    state: 'unreadable',
    reason,
    token: bytes && tokenIn(bytes),
    foreign: false,
    leaseUntilMs: isLeasable ? readU48(bytes, LEASE_UNTIL_AT) : 0,
    backingOff: isLeasable && isZero(bytes, LEASE_TOKEN_AT)
  }
}
