import type { Clock } from '../clock.js'
import type { MemoryPolicy } from '../options.js'
import type { KeptEntries } from '../redis/coherence.js'
import { DropLog } from './drop-log.js'
import { boundedLru, type Lru } from './lru.js'
import type { MemoryEntry } from './memory-entry.js'
import { TurnClock } from './turn-clock.js'

/** How exactly the order of use is kept: telling the LRU map of each hit would double its cost. */
const USE_RESOLUTION_MS = 50

/**
 * Values in this process, in front of Redis. Kept by whoever read them over the connection that Redis tells of changes
 * over (`redis/coherence.ts`), and dropped when it does; served only while that is known to work.
 */
export class MemoryTier implements KeptEntries {
  readonly #clock: Clock
  readonly #turn: TurnClock
  readonly #drops = new DropLog()
  readonly #common: Lru<MemoryEntry>
  /** Of collections with bounds of their own. */
  readonly #others: Lru<MemoryEntry>[] = []
  #trustedUntilMs = Number.NEGATIVE_INFINITY

  constructor({ maxBytes, maxEntries }: MemoryPolicy, clock: Clock) {
    this.#clock = clock
    this.#turn = new TurnClock(clock)
    this.#common = boundedLru({ maxBytes, maxEntries, onGone: unlist })
  }

  get entries(): number {
    return this.#all.reduce((sum, { size }) => sum + size, 0)
  }

  get bytes(): number {
    return this.#all.reduce((sum, { bytes }) => sum + bytes, 0)
  }

  get maxBytes(): number {
    return this.#all.reduce((sum, { maxBytes }) => sum + maxBytes, 0)
  }

  /** Where a collection's entries are kept: with the others', or within bounds of its own. */
  roomFor(
    own: { readonly maxBytes: number; readonly maxEntries: number | undefined } | undefined
  ): Lru<MemoryEntry> {
    if (own === undefined) return this.#common
    const room = boundedLru<MemoryEntry>({ ...own, onGone: unlist })
    this.#others.push(room)
    return room
  }

  nowMs(): number {
    return this.#clock.now()
  }

  /** Where the news of changes stand: to be noted before Redis is asked for what may be kept. */
  get position(): number {
    return this.#drops.position
  }

  /** Whether an answer may be kept that was asked for at `position`. */
  standsSince(position: number, key: string): boolean {
    return this.#drops.standsSince(position, key)
  }

  /** Whether `entry` may be served now; notes the use. */
  isServable(entry: MemoryEntry, room: Lru<MemoryEntry>): boolean {
    const nowMs = this.#turn.now()
    if (nowMs >= this.#trustedUntilMs || nowMs >= entry.untilMs || !entry.stands) return false
    if (nowMs - entry.usedAtMs > USE_RESOLUTION_MS) {
      entry.usedAtMs = Math.floor(nowMs)
      room.get(entry.key)
    }
    return true
  }

  /** Keeps `entry` in `room`, and nothing else under its key. */
  replace(key: string, room: Lru<MemoryEntry>, entry: MemoryEntry, bytes: number): void {
    room.delete(key)
    room.set(key, entry, bytes)
  }

  drop(key: string): void {
    this.#drops.note(key)
    if (this.#common.delete(key)) return
    for (const room of this.#others) if (room.delete(key)) return
  }

  /** The same for every key that `isWrong` picks, also where the store has nothing under it any more. */
  dropWhere(isWrong: (key: string) => boolean): void {
    // Of what is under way it is not known which keys it is about.
    this.#drops.noteAll()
    for (const room of this.#all) for (const key of room.keys()) if (isWrong(key)) room.delete(key)
  }

  dropAll(): void {
    this.#drops.noteAll()
    for (const room of this.#all) room.clear()
  }

  trustUntil(untilMs: number): void {
    this.#trustedUntilMs = Math.max(this.#trustedUntilMs, untilMs)
  }

  get #all(): readonly Lru<MemoryEntry>[] {
    return [this.#common, ...this.#others]
  }
}

const unlist = (entry: MemoryEntry): void => entry.shelf.remove(entry)
