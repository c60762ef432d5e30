import type { Token } from '../entry.js'
import type { Wake } from '../redis/key-listeners.js'
import type { FetchedEntry } from './fetched-entry.js'

/**
 * Where entries live. Each method is one atomic step on one key, with the guarantees written over the scripts in
 * `redis/lua/`; `test/contracts/entry-store.ts` holds every implementation to them.
 *
 * A method rejects with `RedisUnavailableError` when the step was not confirmed: it may have happened or not.
 */
export interface EntryStore {
  /** What callers are told of a value found here. */
  readonly source: 'redis' | 'memory'
  /** The store's own clock: entries' times are compared on it. */
  nowMs(): number
  /** Whether a wait made by `listen` and `takeLease` ends by a push; else only a timer ends it. */
  readonly pushes: boolean

  read(key: string): Promise<FetchedEntry>
  readMany(keys: readonly string[]): Promise<FetchedEntry[]>
  takeLease(request: LeaseRequest): Promise<LeaseAnswer>
  renewLease(key: string, token: Token, leaseMs: number): Promise<boolean>
  fill(key: string, token: Token, frame: Buffer, lifeMs: number): Promise<boolean>
  fail(key: string, token: Token, frame: Buffer, lifeMs: number): Promise<boolean>
  release(key: string, token: Token): Promise<boolean>
  /** Removes the entries, whatever their state; answers how many there were. */
  drop(keys: readonly string[]): Promise<number>
  listen(key: string): Wake
  close(): Promise<void>
}

export interface LeaseRequest {
  readonly key: string
  readonly token: Token
  readonly leaseMs: number
  /** Token of the VALUE that was read and cannot be used, or will not be for long. */
  readonly seen: Token | undefined
  /** Take the lease from whoever has it, and whatever is cached. */
  readonly force: boolean
}

export type LeaseAnswer =
  | { readonly kind: 'granted' }
  /** Another one has it, for `leftMs` unless they renew it. */
  | { readonly kind: 'held'; readonly leftMs: number }
  /** There is something that the asker has not seen. */
  | { readonly kind: 'entry'; readonly fetched: FetchedEntry }
  /** A later version of this library wrote there: load, and leave the entry alone. */
  | { readonly kind: 'foreign' }
