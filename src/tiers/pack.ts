import { isShareable, type PayloadCodec } from '../codec/codec.js'
import { newToken } from '../codec/frame-head.js'
import { assertRoomForTags, valueFrame } from '../codec/frame.js'
import type { Stamp } from '../entry.js'
import { RedisUnavailableError, ValueTooLargeError } from '../errors.js'
import type { EntryPolicy } from '../options.js'
import type { Awaitable } from '../ports.js'
import type { Capture } from './generation.js'
import type { Generations } from './generations.js'
import { tagsOf, type ReadRequest } from './request.js'

/** A loaded value, ready to be stored and to be handed out. */
export interface Packed {
  /**
   * Undefined for what must not be stored: larger than `maxValueBytes` or than the store, a not-found that is not to be remembered, or
   * loaded under a tag that was invalidated since.
   */
  readonly frame: Buffer | undefined
  readonly stamp: Stamp | undefined
  /** What it stands under has moved since the load began. */
  readonly isSuperseded: boolean
  /** Why it must not be stored, when it is too large. */
  readonly tooLarge: ValueTooLargeError | undefined
  /** One copy serves every caller: it is frozen, or not the cache's. */
  readonly isShared: boolean
  readonly freshMs: number
  /** How long the store keeps the entry: as long as anyone may serve it. */
  readonly lifeMs: number
  /**
   * The value as a hit would give it: decoded from what is stored, so that a miss and a hit have the same shape, and
   * frozen where it is shared. One that is too large to be stored is handed out as the loader gave it.
   */
  copy(): Awaitable<unknown>
}

/** What a value is made into an entry with. */
export interface PackParts {
  readonly codec: PayloadCodec
  /** Uniform in [0, 1). */
  readonly draw: number
  /** Of an entry that the store has room for. */
  readonly mostBytes: number
}

/**
 * @param stampOf the generations it was loaded under; undefined when it must not be stored
 *
 * Throws `UncacheableValueError` for what could not be given back unchanged.
 */
export async function pack(
  key: string,
  value: unknown,
  loadMs: number,
  policy: EntryPolicy,
  { codec, draw, mostBytes }: PackParts,
  stampOf: (value: unknown, lifeMs: number) => Promise<Stamp | undefined>
): Promise<Packed> {
  const notFound = value === undefined
  const freshMs = jittered(notFound ? policy.notFoundMs : policy.ttlMs, policy.jitter, draw)
  if (notFound && policy.notFoundMs === 0) return unstored(undefined)
  try {
    const lifeMs = freshMs + policy.staleIfErrorMs
    // Both begin at once: whoever brought the value may go on to change it.
    const encoding = notFound ? NOT_FOUND : codec.encode(value)
    const [{ flags, bytes }, stamp] = await Promise.all([encoding, stampOf(value, lifeMs)])
    const fields = { token: newToken(), freshMs, loadMs, flags, notFound, payload: bytes }
    const frame = stamp && valueFrame(key, { ...fields, stamp })
    if (frame !== undefined && frame.length > mostBytes)
      throw new ValueTooLargeError(frame.length, mostBytes, 'entry')
    const copy = notFound ? (): unknown => undefined : copies(codec, flags, bytes, policy.isolate)
    const isShared = notFound || (isShareable(flags) && !policy.isolate)
    return {
      frame,
      stamp,
      isSuperseded: stamp === undefined,
      tooLarge: undefined,
      isShared,
      freshMs,
      lifeMs,
      copy
    }
  } catch (error) {
    if (error instanceof ValueTooLargeError) return unstored(value, error)
    throw error
  }
}

/**
 * How a value gets its stamp: by what was captured before it was loaded or written, and by its own tags. For one that a caller
 * brings `given` captures when it is stamped, after its tags were taken: the caller may go on to change it.
 */
export function stamper(
  generations: Generations,
  request: ReadRequest,
  given: Capture | undefined | (() => Promise<Capture | undefined>)
): (value: unknown, lifeMs: number) => Promise<Stamp | undefined> {
  return async (value, lifeMs) => {
    const tags = tagsOf(request, value)
    const capture = typeof given === 'function' ? await given() : given
    if (capture === undefined) return undefined
    assertRoomForTags(tags)
    try {
      return await generations.stamp(capture, request.scope, tags, lifeMs)
    } catch (error) {
      if (error instanceof RedisUnavailableError) return undefined
      throw error
    }
  }
}

const NOT_FOUND = { flags: 0, bytes: Buffer.alloc(0) }

const UNSTORED = {
  frame: undefined,
  stamp: undefined,
  isSuperseded: false,
  isShared: true,
  freshMs: 0,
  lifeMs: 0
} as const

function unstored(value: unknown, tooLarge?: ValueTooLargeError): Packed {
  return { ...UNSTORED, tooLarge, copy: () => value }
}

function copies(
  codec: PayloadCodec,
  flags: number,
  bytes: Buffer,
  isolate: boolean
): () => Awaitable<unknown> {
  if (isolate || !isShareable(flags)) return () => codec.decode(flags, bytes, isolate)
  let shared: { readonly value: unknown } | undefined
  return () => {
    shared ??= { value: codec.decode(flags, bytes) }
    return shared.value
  }
}

/** Only ever shorter: what is stated as fresh for an hour is never served for longer. */
export function jittered(ms: number, jitter: number, draw: number): number {
  return Math.max(1, Math.round(ms * (1 - jitter * draw)))
}
