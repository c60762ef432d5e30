import { TOKEN_BYTES, type Token } from '../entry.js'

/**
 * The guard that writers put on an entry before they change the source, as bytes and as what they mean. The rules of
 * `redis/lua/guard-entry.lua` and `publish-entry.lua`, for the store that has no Redis to run them.
 */
export interface Guard {
  /** Highest row version of the writers that are done; undefined when none had one. */
  readonly version: number | undefined
  /** More than one writer was here at the same time: in which order they committed is not known. */
  readonly overlapped: boolean
  /** What became of one of the writes is not known. */
  readonly unknown: boolean
  readonly writers: readonly Writer[]
}

export interface Writer {
  readonly token: Token
  /** Until then it is waited for, on the store's clock. */
  readonly untilMs: number
}

export const NO_GUARD: Guard = { version: undefined, overlapped: false, unknown: false, writers: [] }

const HEAD = Buffer.from([0xc0, 1, 1, 2])
const VERSION_AT = 4
const FLAGS_AT = 12
const WRITERS_AT = 13
const WRITER_BYTES = TOKEN_BYTES + 6

const OVERLAPPED = 1
const HAS_VERSION = 2
const UNKNOWN = 4

export function isGuard(bytes: Buffer): boolean {
  return bytes.length >= WRITERS_AT && bytes.subarray(0, HEAD.length).equals(HEAD)
}

/** Writers that are not heard of any more are left out, and leave the outcome unknown. */
export function readGuard(bytes: Buffer, nowMs: number): Guard {
  const flags = bytes[FLAGS_AT]!
  const all: Writer[] = []
  for (let at = WRITERS_AT; at + WRITER_BYTES <= bytes.length; at += WRITER_BYTES) {
    all.push({ token: bytes.subarray(at, at + TOKEN_BYTES), untilMs: bytes.readUIntBE(at + TOKEN_BYTES, 6) })
  }
  const writers = all.filter(({ untilMs }) => untilMs > nowMs)
  return {
    version: (flags & HAS_VERSION) === 0 ? undefined : bytes.readDoubleBE(VERSION_AT),
    overlapped: (flags & OVERLAPPED) !== 0,
    unknown: (flags & UNKNOWN) !== 0 || writers.length < all.length,
    writers
  }
}

export function guardFrame({ version, overlapped, unknown, writers }: Guard): Buffer {
  const frame = Buffer.alloc(WRITERS_AT + writers.length * WRITER_BYTES)
  HEAD.copy(frame)
  frame.writeDoubleBE(version ?? 0, VERSION_AT)
  frame[FLAGS_AT] =
    (overlapped ? OVERLAPPED : 0) | (version === undefined ? 0 : HAS_VERSION) | (unknown ? UNKNOWN : 0)
  for (const [index, { token, untilMs }] of writers.entries()) {
    const at = WRITERS_AT + index * WRITER_BYTES
    token.copy(frame, at)
    frame.writeUIntBE(Math.ceil(untilMs), at + TOKEN_BYTES, 6)
  }
  return frame
}

/** The guard with one more writer, or with one heard of again. */
export function withWriter(guard: Guard, writer: Writer): Guard {
  const others = guard.writers.filter(({ token }) => !token.equals(writer.token))
  const isNew = others.length === guard.writers.length
  return {
    ...guard,
    overlapped: guard.overlapped || (isNew && others.length > 0),
    writers: [...others, writer]
  }
}

/** The guard when one of several writers is done. */
export function withoutWriter(
  guard: Guard,
  token: Token,
  version: number | undefined,
  unknown: boolean
): Guard {
  return {
    version: highest(guard.version, version),
    overlapped: true,
    unknown: guard.unknown || unknown || version === undefined,
    writers: guard.writers.filter((writer) => !writer.token.equals(token))
  }
}

/** Whether the row of the last writer to be done is known to be the latest. */
export function isLatest(guard: Guard, version: number | undefined, unknown: boolean): boolean {
  if (unknown || guard.unknown) return false
  if (!guard.overlapped) return true
  return version !== undefined && (guard.version === undefined || version > guard.version)
}

function highest(one: number | undefined, other: number | undefined): number | undefined {
  if (one === undefined || other === undefined) return one ?? other
  return Math.max(one, other)
}
