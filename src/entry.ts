/**
 * What is stored for a key, and pure questions about it. The bytes are `codec/frame.ts`; who may move an entry from
 * one state to the next is decided by the scripts in `redis/lua/`, atomically, in Redis.
 *
 *   ABSENT ──take-lease──▶ HOLD ──fill──▶ VALUE ──take-lease──▶ VALUE with a lease ──fill──▶ VALUE
 *                           │ └──fail──▶ FAILED (a short life)          └──fail──▶ VALUE, backing off
 *   any state ──drop or expiry──▶ ABSENT, and with it every older lease is void
 */

/** 8 random bytes: who took a lease, or which fill stored a value. */
export type Token = Buffer

export const TOKEN_BYTES = 8

export type Entry = AbsentEntry | HoldEntry | FailedEntry | ValueEntry | OutdatedEntry | UnreadableEntry

export interface AbsentEntry {
  readonly state: 'absent'
}

/** Someone is loading; readers wait for them. */
export interface HoldEntry {
  readonly state: 'hold'
}

/** The last load failed; until this entry expires nobody tries again. */
export interface FailedEntry {
  readonly state: 'failed'
  readonly token: Token
  /** `uncacheable`: the loader works, but what it returns does not fit the cache, so readers load for themselves. */
  readonly kind: 'load-failed' | 'uncacheable'
  readonly report: { readonly name: string; readonly message: string; readonly code?: string }
  /** Until when it counts, on the store's clock; its life in Redis grows when that clock is set back. */
  readonly untilMs?: number | undefined
}

export interface ValueEntry {
  readonly state: 'value'
  /** Of the fill that stored it: two fills never share one, so "the same entry still" is one comparison. */
  readonly token: Token
  /** On Redis' own clock, set by Redis. */
  readonly storedAtMs: number
  /** Fresh for this long after `storedAtMs`; jitter included. */
  readonly freshMs: number
  /** What the load cost; early refresh weighs it. */
  readonly loadMs: number
  /** Until then, on Redis' clock, somebody refreshes this entry or nobody should: 0 when free. */
  readonly leaseUntilMs: number
  /** The lease above is not a load but a pause after a failed one. */
  readonly backingOff: boolean
  /** The source has no such thing, and that is what is remembered. */
  readonly notFound: boolean
  /** The source does not have it yet, so it is served however old it is, and nothing but a later write takes its place. */
  readonly unflushed: boolean
  readonly flags: number
  readonly payload: Buffer
  /** The whole entry, and where in it the payload begins: cutting it out costs a hit as much as checking its checksum. */
  readonly bytes: Buffer
  readonly payloadAt: number
  /** See `Stamp`. */
  readonly hardHigh: number
  readonly hardLow: number
  readonly soft: number
  readonly tags: readonly TagStamp[]
}

/** A value that was cleared since, with its collection, its tenant or by a tag; it waits to be replaced or to expire. */
export interface OutdatedEntry {
  readonly state: 'outdated'
  readonly token: Token
  /** As those of a value: somebody loads what will take its place, or nobody should for now. */
  readonly leaseUntilMs: number
  readonly backingOff: boolean
}

/**
 * Under which generations a value was loaded. Whatever can be cleared as a whole has a counter in the store, and
 * clearing changes it: a value whose stamp differs from the counters of now is not served any more.
 */
export interface Stamp {
  /** A print of the counters of its namespace, collection and tenant: 64 bits, and 32 of those that only make stale. */
  readonly hardHigh: number
  readonly hardLow: number
  readonly soft: number
  readonly tags: readonly TagStamp[]
}

export interface TagStamp {
  /** As it stands in the key of its counter. */
  readonly tag: string
  readonly hard: number
  readonly soft: number
}

export const NO_TAGS: readonly TagStamp[] = []

/** Bytes that are not an entry of ours, or were damaged. Read as a miss. */
export interface UnreadableEntry {
  readonly state: 'unreadable'
  readonly reason: string
  /** Names this very damage, so that only it is replaced; undefined when there is not even that much of an entry. */
  readonly token: Token | undefined
  /** A later version of this library wrote it: what it means is unknown, so it must not be overwritten. */
  readonly foreign: boolean
  /** As those of a value, as far as the damage lets them be read: a load under a lease on it may have failed. */
  readonly leaseUntilMs: number
  readonly backingOff: boolean
}

export const ABSENT: AbsentEntry = { state: 'absent' }
export const HOLD: HoldEntry = { state: 'hold' }

export function ageMs(entry: ValueEntry, nowMs: number): number {
  return Math.max(0, nowMs - entry.storedAtMs)
}

/** Time left in which the entry is fresh; negative when it is stale. */
export function freshForMs(entry: ValueEntry, nowMs: number): number {
  return entry.storedAtMs + entry.freshMs - nowMs
}
