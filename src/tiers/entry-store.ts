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
  /** Announces a writer: whatever stood there is gone, and nothing is filled until it is done. `renewal`: only if it still stands. */
  guard(key: string, token: Token, lifeMs: number, renewal: boolean): Promise<boolean>
  /** A writer is done. Stores its row if it is known to be the latest, else leaves nothing; true when stored. */
  publish(key: string, token: Token, written: Publication): Promise<boolean>
  /** Stores a value that the caller brings; every lease is void. False while writers are at work. */
  set(key: string, frame: Buffer, lifeMs: number): Promise<boolean>
  /** Removes the entries, whatever their state; answers how many there were. */
  drop(keys: readonly string[]): Promise<number>
  listen(key: string): Wake
  /** `tell` runs at every connect, before anything is read: it drops what must not be read any more. */
  beforeUse(tell: (drop: (keys: readonly string[]) => Promise<unknown>) => Promise<void>): void
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

export interface Publication {
  /** Undefined when there is nothing to store, or what became of the write is not known. */
  readonly frame: Buffer | undefined
  readonly lifeMs: number
  /** Of the row; decides between writers that overlapped. */
  readonly version: number | undefined
  /** The write may have happened or not, or may happen yet. */
  readonly unknown: boolean
}

/** `seenStands`: the VALUE that the asker has seen is still there; else it was dropped since, and must not be served. */
export type LeaseAnswer =
  | { readonly kind: 'granted'; readonly seenStands: boolean }
  /** Another one has it, for `leftMs` unless they renew it. */
  | {
      readonly kind: 'held'
      readonly leftMs: number
      readonly by: 'loader' | 'writer'
      readonly seenStands: boolean
    }
  /** There is something that the asker has not seen. */
  | { readonly kind: 'entry'; readonly fetched: FetchedEntry }
  /** A later version of this library wrote there: load, and leave the entry alone. */
  | { readonly kind: 'foreign' }
