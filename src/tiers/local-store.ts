import { LRUCache } from 'lru-cache'
import type { Clock } from '../clock.js'
import { isUncacheable } from '../codec/failed-frame.js'
import {
  holdFrame,
  NO_TOKEN,
  readHeader,
  readStoredAt,
  staleFrom,
  storedAt,
  withLease,
  type Header
} from '../codec/frame.js'
import {
  guardFrame,
  isGuard,
  isLatest,
  NO_GUARD,
  readGuard,
  withoutWriter,
  withWriter,
  type Guard
} from '../codec/guard-frame.js'
import type { Token } from '../entry.js'
import type { MemoryHealth, WakeUpHealth } from '../health.js'
import { KeyListeners, type Wake } from '../redis/key-listeners.js'
import type { EntryStore, LeaseAnswer, LeaseRequest, Publication, Question, Untold } from './entry-store.js'
import { FetchedEntry } from './fetched-entry.js'
import type { Scope } from './generation.js'
import { Generations } from './generations.js'
import { LocalCounters } from './local-counters.js'
import type { MemoryTier } from './memory-tier.js'

/** What lru-cache and V8 keep for an entry beside its bytes; measured, rounded up. */
const OVERHEAD_BYTES = 200

/** Where this store's clock begins, so that no time on it is ever below zero. */
const BEGINNING_MS = 1e12

/**
 * Entries in this process, for a cache without Redis: the same states and transitions, on the same bytes, bounded by
 * size. An entry pushed out by others is absent like any other, so a lease lost that way voids its fill.
 */
export class LocalStore implements EntryStore {
  readonly source = 'memory'
  readonly pushes = true
  readonly generations: Generations
  readonly #clock: Clock
  readonly #entries: LRUCache<string, Buffer>
  readonly #listeners = new KeyListeners()
  readonly #memory: MemoryTier | undefined

  /** @param memory what decoded values are kept in, and dropped from when their entry changes */
  constructor(maxBytes: number, clock: Clock, memory?: MemoryTier) {
    this.#clock = clock
    this.#memory = memory
    // Nobody else changes anything here, so there is nothing to miss.
    memory?.trustUntil(Number.POSITIVE_INFINITY)
    this.generations = new Generations(
      new LocalCounters(() => this.nowMs()),
      clock,
      0,
      () => memory?.position
    )
    this.#entries = new LRUCache({
      maxSize: maxBytes,
      sizeCalculation: (bytes, key) => bytes.length + besideBytes(key),
      ttl: 1,
      ttlResolution: 0,
      perf: { now: () => clock.now() }
    })
  }

  nowMs(): number {
    return BEGINNING_MS + this.#clock.now()
  }

  isAway(): boolean {
    return false
  }

  mostBytes(key: string): number {
    return Math.max(0, this.#entries.maxSize - besideBytes(key))
  }

  async read({ key, scope }: Question): Promise<FetchedEntry> {
    return this.again(this.#look(key), scope)
  }

  readMany(questions: readonly Question[]): Promise<FetchedEntry[]> {
    return Promise.all(questions.map((question) => this.read(question)))
  }

  async again(fetched: FetchedEntry, scope: Scope): Promise<FetchedEntry> {
    const { key, entry } = fetched
    if (entry.state !== 'value') return fetched
    return fetched.standing(await this.generations.standingNow(entry, key, scope), this.nowMs())
  }

  async takeLease(request: LeaseRequest): Promise<LeaseAnswer> {
    const answer = this.#takeLease(request)
    if (answer.kind !== 'entry') return answer
    return { kind: 'entry', fetched: await this.again(answer.fetched, request.scope) }
  }

  #takeLease({ key, token, leaseMs, seen, force }: LeaseRequest): LeaseAnswer {
    const bytes = this.#entries.get(key)
    const header = bytes && readHeader(bytes)
    if (header === 'foreign') return { kind: 'foreign' }
    if (bytes === undefined || header === undefined) return this.#hold(key, token, leaseMs)
    // Asked again, as one does of Redis when the first answer was lost.
    if (header.state === 'hold' && header.token.equals(token)) return { kind: 'granted', seenStands: false }
    if (header.state === 'guard')
      return { kind: 'held', leftMs: this.#lifeOf(key), by: 'writer', seenStands: false }
    if (header.state === 'hold' && !force) {
      return { kind: 'held', leftMs: this.#lifeOf(key), by: 'loader', seenStands: false }
    }
    if (header.state !== 'value') {
      const overrule = force || (seen !== undefined && header.token.equals(seen))
      return overrule ? this.#hold(key, token, leaseMs) : this.#entry(key)
    }
    const seenStands = seen !== undefined && header.token.equals(seen)
    if (!force) {
      if (!seenStands) return this.#entry(key)
      const leftMs = header.leaseUntilMs - this.nowMs()
      if (leftMs > 0 && header.leaseToken.equals(token)) return { kind: 'granted', seenStands }
      if (leftMs > 0 && header.leaseToken.equals(NO_TOKEN)) return this.#entry(key)
      if (leftMs > 0) return { kind: 'held', leftMs, by: 'loader', seenStands }
    }
    this.#putLease(key, bytes, token, leaseMs)
    return { kind: 'granted', seenStands }
  }

  async renewLease(key: string, token: Token, leaseMs: number): Promise<boolean> {
    const [bytes, holder] = this.#leaseOf(key, token)
    if (holder === 'hold') this.#put(key, bytes!, leaseMs)
    if (holder === 'value') this.#putLease(key, bytes!, token, leaseMs)
    return holder !== undefined
  }

  async fill(key: string, token: Token, frame: Buffer, lifeMs: number): Promise<boolean> {
    if (this.#leaseOf(key, token)[1] === undefined) return false
    this.#put(key, storedAt(frame, this.nowMs()), lifeMs)
    return true
  }

  async fail(key: string, token: Token, frame: Buffer, lifeMs: number): Promise<boolean> {
    const [bytes, holder] = this.#leaseOf(key, token)
    if (holder === undefined) return false
    if (holder === 'hold' || isUncacheable(frame)) this.#put(key, frame, lifeMs)
    else this.#put(key, withLease(bytes!, NO_TOKEN, this.nowMs() + lifeMs), this.#lifeOf(key))
    return true
  }

  async release(key: string, token: Token): Promise<boolean> {
    const [bytes, holder] = this.#leaseOf(key, token)
    if (holder === 'hold') this.#delete(key)
    if (holder === 'value') this.#put(key, withLease(bytes!, NO_TOKEN, 0), this.#lifeOf(key))
    return holder !== undefined
  }

  async guard(key: string, token: Token, lifeMs: number, renewal: boolean): Promise<boolean> {
    const guard = this.#guardOn(key)
    if (renewal && !guard.writers.some((writer) => writer.token.equals(token))) return false
    this.#putGuard(key, withWriter(guard, { token, untilMs: this.nowMs() + lifeMs }))
    return true
  }

  async publish(
    key: string,
    token: Token,
    { frame, lifeMs, version, unknown }: Publication
  ): Promise<boolean> {
    const guard = this.#guardOn(key)
    const isMine = guard.writers.some((writer) => writer.token.equals(token))
    if (!isMine && guard.writers.length > 0) {
      this.#putGuard(key, { ...guard, unknown: true })
      return false
    }
    if (isMine && guard.writers.length > 1) {
      this.#putGuard(key, withoutWriter(guard, token, version, unknown))
      return false
    }
    if (isMine && frame !== undefined && isLatest(guard, version, unknown)) {
      this.#put(key, storedAt(frame, this.nowMs()), lifeMs)
      return true
    }
    this.#delete(key)
    return false
  }

  async set(key: string, frame: Buffer, lifeMs: number): Promise<boolean> {
    const bytes = this.#entries.get(key)
    const header = bytes && readHeader(bytes)
    if (header === 'foreign' || header?.state === 'guard') return false
    this.#put(key, storedAt(frame, this.nowMs()), lifeMs)
    return true
  }

  async drop(keys: readonly string[]): Promise<number> {
    return keys.filter((key) => this.#delete(key)).length
  }

  async dropWhatCanBe(keys: readonly string[]): Promise<Untold> {
    await this.drop(keys)
    return new Map()
  }

  async soften(keys: readonly string[]): Promise<number> {
    return keys.filter((key) => this.#soften(key)).length
  }

  #soften(key: string): boolean {
    const bytes = this.#entries.get(key)
    const header = bytes && readHeader(bytes)
    if (header === undefined || header === 'foreign') return this.#delete(key)
    if (header.state === 'guard') return false
    if (header.state !== 'value') return this.#delete(key)
    this.#put(key, withLease(staleFrom(bytes!, this.nowMs()), NO_TOKEN, 0), this.#lifeOf(key))
    return true
  }

  async *scan(patterns: readonly string[], pageSize: number): AsyncGenerator<readonly string[]> {
    const prefixes = patterns.map((pattern) => pattern.slice(0, pattern.indexOf('*')))
    const keys = [...this.#entries.keys()].filter((key) => prefixes.some((prefix) => key.startsWith(prefix)))
    for (let at = 0; at < keys.length; at += pageSize) yield keys.slice(at, at + pageSize)
  }

  async dropOlder(keys: readonly string[], beforeMs: number): Promise<number> {
    return keys.filter((key) => {
      const bytes = this.#entries.get(key)
      const header = bytes && readHeader(bytes)
      if (header === undefined || header === 'foreign') return false
      const isLeased = header.leaseUntilMs > this.nowMs()
      const isOld = header.state === 'value' && !isLeased && readStoredAt(bytes!) < beforeMs
      return (isOld || header.state === 'failed') && this.#delete(key)
    }).length
  }

  async sizes(keys: readonly string[]): Promise<number[]> {
    return keys.map((key) => this.#entries.get(key)?.length ?? 0)
  }

  changing<T>(_keys: readonly string[], change: () => Promise<T>): Promise<T> {
    return change()
  }

  listen(key: string): Wake {
    return this.#listeners.listen(key)
  }

  /** Never away, so nothing is ever undelivered. */
  beforeUse(): void {}

  async whenNewsAreDecided(): Promise<void> {}

  wakeUpHealth(): WakeUpHealth {
    return { mode: 'push', reason: undefined }
  }

  memoryHealth(): MemoryHealth {
    const { size: entries, calculatedSize, maxSize } = this.#entries
    const bytes = calculatedSize + (this.#memory?.bytes ?? 0)
    const maxBytes = maxSize + (this.#memory?.maxBytes ?? 0)
    return { mode: 'only', reason: 'the cache has no Redis', entries, bytes, maxBytes }
  }

  async close(): Promise<void> {
    this.#entries.clear()
    this.#memory?.dropAll()
    this.#listeners.wakeAll()
  }

  /** What the entries take, by the count that bounds them. */
  get bytes(): number {
    return this.#entries.calculatedSize
  }

  #look(key: string): FetchedEntry {
    return new FetchedEntry(key, this.#entries.get(key) ?? null, this.#memory?.position)
  }

  #entry(key: string): LeaseAnswer {
    return { kind: 'entry', fetched: this.#look(key) }
  }

  #hold(key: string, token: Token, leaseMs: number): LeaseAnswer {
    this.#put(key, holdFrame(token), leaseMs)
    return { kind: 'granted', seenStands: false }
  }

  #guardOn(key: string): Guard {
    const bytes = this.#entries.get(key)
    return bytes !== undefined && isGuard(bytes) ? readGuard(bytes, this.nowMs()) : NO_GUARD
  }

  #putGuard(key: string, guard: Guard): void {
    const untilMs = Math.max(...guard.writers.map((writer) => writer.untilMs))
    this.#put(key, guardFrame(guard), untilMs - this.nowMs())
  }

  /** The entry under `token`'s lease, and what kind of lease it is. */
  #leaseOf(key: string, token: Token): [bytes: Buffer | undefined, holder: Header['state'] | undefined] {
    const bytes = this.#entries.get(key)
    const header = bytes && readHeader(bytes)
    if (header === undefined || header === 'foreign') return [bytes, undefined]
    if (header.state === 'hold' && header.token.equals(token)) return [bytes, 'hold']
    if (header.state === 'value' && header.leaseToken.equals(token)) return [bytes, 'value']
    return [bytes, undefined]
  }

  #putLease(key: string, value: Buffer, token: Token, leaseMs: number): void {
    this.#put(key, withLease(value, token, this.nowMs() + leaseMs), Math.max(this.#lifeOf(key), leaseMs))
  }

  #lifeOf(key: string): number {
    return this.#entries.getRemainingTTL(key)
  }

  #put(key: string, bytes: Buffer, lifeMs: number): void {
    this.#entries.set(key, bytes, { ttl: Math.max(1, Math.ceil(lifeMs)) })
    this.#memory?.drop(key)
    this.#listeners.wake(key)
  }

  #delete(key: string): boolean {
    const deleted = this.#entries.delete(key)
    this.#memory?.drop(key)
    this.#listeners.wake(key)
    return deleted
  }
}

/** What an entry takes beside its bytes. */
function besideBytes(key: string): number {
  return key.length * 2 + OVERHEAD_BYTES
}
