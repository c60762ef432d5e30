import type { Token } from '../entry.js'
import type { RedisUnavailableError } from '../errors.js'
import type { MemoryHealth, WakeUpHealth } from '../health.js'
import type { Wake } from '../redis/key-listeners.js'
import type { FetchedEntry } from './fetched-entry.js'
import type { Scope } from './generation.js'
import type { Generations } from './generations.js'
import type { MemoryShelf } from './memory-shelf.js'

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
  /** Whether it is known not to answer at present for what lies under `key`: nothing is sent to it. */
  isAway(key: string): boolean
  /** What an entry under `key` may take; one that is larger is stored by nobody. */
  mostBytes(key: string): number
  /** Whether a wait made by `listen` and `takeLease` ends by a push; else only a timer ends it. */
  readonly pushes: boolean

  /** What entries stand under, and what was cleared. */
  readonly generations: Generations

  read(question: Question): Promise<FetchedEntry>
  /** In the order of the questions; an error for one whose node of a Cluster was silent. */
  readMany(questions: readonly Question[]): Promise<(FetchedEntry | RedisUnavailableError)[]>
  /** An entry that was read before, by the generations of now. */
  again(fetched: FetchedEntry, scope: Scope): Promise<FetchedEntry>
  takeLease(request: LeaseRequest): Promise<LeaseAnswer>
  renewLease(key: string, token: Token, leaseMs: number): Promise<boolean>
  fill(key: string, token: Token, frame: Buffer, lifeMs: number): Promise<boolean>
  /** A value that was being refreshed stays, and backs off; when what was loaded does not fit the cache, the frame takes its place. */
  fail(key: string, token: Token, frame: Buffer, lifeMs: number): Promise<boolean>
  release(key: string, token: Token): Promise<boolean>
  /** Announces a writer: whatever stood there is gone, and nothing is filled until it is done. `renewal`: only if it still stands. */
  guard(key: string, token: Token, lifeMs: number, renewal: boolean): Promise<boolean>
  /** A writer is done. Stores its row if it is known to be the latest, else leaves nothing; true when stored. */
  publish(key: string, token: Token, written: Publication): Promise<boolean>
  /** Stores a value that the caller brings; every lease is void. False while writers are at work. */
  set(key: string, frame: Buffer, lifeMs: number): Promise<boolean>
  /** Removes the entries, whatever their state, but for what the source does not have yet; answers how many there were. */
  drop(keys: readonly string[]): Promise<number>
  /** The same for as many as can be; answers by key why others could not. */
  dropWhatCanBe(keys: readonly string[]): Promise<Untold>
  /** Makes the values stale, and voids every load of them; answers how many there were. */
  soften(keys: readonly string[]): Promise<number>
  /**
   * Pages through the keys of entries that match one of the patterns; a key may come twice. Where keys travel between nodes
   * meanwhile, `isWhole` finds these as well, or rejects; otherwise they may be missed.
   */
  scan(patterns: readonly string[], pageSize: number, isWhole?: boolean): AsyncIterable<readonly string[]>
  /** Removes what was stored before a time on the store's clock, leases and guards excepted; answers how many. */
  dropOlder(keys: readonly string[], beforeMs: number): Promise<number>
  /** What each of the entries takes, in bytes, without its key; 0 for one that is gone. */
  sizes(keys: readonly string[]): Promise<number[]>
  /** Runs a change of entries that is not one of these steps, so that this process, and who depends on it, keeps nothing of them. */
  changing<T>(keys: readonly string[], change: () => Promise<T>): Promise<T>
  listen(key: string): Wake
  /** `tell` runs at every connect, before anything is read: it drops what must not be read any more. */
  beforeUse(tell: (undelivered: Delivery) => Promise<void>): void
  /** Resolves when it is known how this process hears of changes. */
  whenNewsAreDecided(): Promise<void>
  wakeUpHealth(): WakeUpHealth
  memoryHealth(): MemoryHealth
  close(): Promise<void>
}

/** An entry, and the generations it stands under. */
export interface Question {
  readonly key: string
  readonly scope: Scope
  /** Where the answer may be kept; undefined where it is not to be. */
  readonly memory?: MemoryShelf | undefined
}

export interface LeaseRequest extends Question {
  readonly token: Token
  readonly leaseMs: number
  /** Token of the VALUE that was read and cannot be used, or will not be for long. */
  readonly seen: Token | undefined
  /** Take the lease from whoever has it, and whatever is cached. */
  readonly force: boolean
}

/** Keys that Redis could not be told of, and why: of a Cluster those of a node that does not answer. */
export type Untold = ReadonlyMap<string, unknown>

/** How what could not be told is told. */
export interface Delivery {
  drop(keys: readonly string[]): Promise<Untold>
  move(counterKey: string, keptMs: number): Promise<unknown>
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
      /** `flush`: the entry is lost, and the source does not have what was written behind. */
      readonly by: 'loader' | 'writer' | 'flush'
      readonly seenStands: boolean
    }
  /** There is something that the asker has not seen. */
  | { readonly kind: 'entry'; readonly fetched: FetchedEntry }
  /** A later version of this library wrote there: load, and leave the entry alone. */
  | { readonly kind: 'foreign' }
