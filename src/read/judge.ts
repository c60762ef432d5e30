import { isShareable, type PayloadCodec } from '../codec/codec.js'
import { CorruptEntryError, RedisUnavailableError, textOf } from '../errors.js'
import type { Clock } from '../clock.js'
import { ageMs, freshForMs, type Token, type ValueEntry } from '../entry.js'
import type { Events } from '../events.js'
import type { Awaitable, StandardResult } from '../ports.js'
import { withDeadline } from '../policy/deadline.js'
import type { EntryStore } from '../tiers/entry-store.js'
import type { FetchedEntry } from '../tiers/fetched-entry.js'
import { decide, hasJustFailed, isPlainlyFresh, isWithinStale } from './decide.js'
import type { Failures } from './failures.js'
import type { Lookup, ReadRequest } from '../tiers/request.js'

/** What one look into the store comes to. */
export type Verdict =
  | { readonly act: 'serve'; readonly lookup: Lookup; readonly refresh: Refresh | undefined }
  | LoadVerdict
  /** Load without a lease, store nothing. */
  | { readonly act: 'load-alone' }
  | { readonly act: 'fail'; readonly error: unknown }

export interface LoadVerdict {
  readonly act: 'load'
  /** The entry that cannot be used as it is. */
  readonly seen: Token | undefined
  /** That entry, when it may still be served should the source fail. */
  readonly fallback: FetchedEntry | undefined
}

/** One process in the fleet should load while everybody is served. */
export interface Refresh {
  readonly reason: 'refresh' | 'early-refresh'
  readonly seen: Token
  readonly fallback: FetchedEntry
}

const UNUSABLE = Symbol('unusable')
const LOAD_ALONE: Verdict = { act: 'load-alone' }

/** Reads an entry and says what to do with it: the decision, the decoding and the schema, and nothing that waits on Redis. */
export class Judge {
  readonly #store: EntryStore
  readonly #codec: PayloadCodec
  readonly #events: Events
  readonly #clock: Clock
  readonly #failures: Failures

  constructor(store: EntryStore, codec: PayloadCodec, events: Events, clock: Clock, failures: Failures) {
    this.#store = store
    this.#codec = codec
    this.#events = events
    this.#clock = clock
    this.#failures = failures
  }

  /** At once for a plain value; a promise when it has to be inflated, or its schema is asynchronous. */
  judge(
    fetched: FetchedEntry,
    request: ReadRequest,
    nowMs: number = this.#store.nowMs()
  ): Awaitable<Verdict> {
    const { entry } = fetched
    const decision = decide(entry, nowMs, request.source.policy, this.#clock.random())
    switch (decision.act) {
      case 'serve':
      case 'serve-stale': {
        const opened = this.#open(fetched, entry as ValueEntry, request)
        if (!(opened instanceof Promise))
          return this.#serve(fetched, opened, nowMs, request, decision.refresh)
        return opened.then((value: unknown) => this.#serve(fetched, value, nowMs, request, decision.refresh))
      }
      case 'load':
        if (entry.state === 'unreadable') this.#reportUnreadable(request, entry.reason)
        return { act: 'load', seen: decision.seen, fallback: this.#fallback(fetched, nowMs, request) }
      case 'load-alone':
        if (entry.state === 'unreadable') this.#reportUnreadable(request, entry.reason)
        return LOAD_ALONE
      case 'fail':
        return { act: 'fail', error: this.#failures.errorFor(fetched.key, entry) }
    }
  }

  /**
   * The value of the commonest case alone, a fresh one that nothing has to be done about; undefined for all others, which
   * `judge` is for. Of the many of one read each is spared the objects that say so.
   */
  freshValue(fetched: FetchedEntry, request: ReadRequest, nowMs: number): unknown {
    const { entry } = fetched
    const { policy, schema } = request.source
    if (entry.state !== 'value' || schema !== undefined || request.memory !== undefined) return undefined
    if (!isPlainlyFresh(entry, nowMs, policy, this.#clock)) return undefined
    const value = this.#open(fetched, entry, request)
    return value instanceof Promise || value === UNUSABLE ? undefined : value
  }

  /** An old value, for when the source has failed; undefined when it may not be served any more, or cannot be read after all. */
  async serveStale(fetched: FetchedEntry, request: ReadRequest): Promise<Lookup | undefined> {
    const { entry } = await this.#asOfNow(fetched, request)
    // The load took its time, and it may have begun while the value was fresh.
    const nowMs = this.#store.nowMs()
    if (entry.state !== 'value' || !isWithinStale(entry, nowMs, request.source.policy.staleIfErrorMs))
      return undefined
    const value = await this.#open(fetched, entry, request)
    return value === UNUSABLE ? undefined : this.#lookup(entry, value, nowMs)
  }

  /** Whether it was cleared since it was read, as far as can be told. */
  async #asOfNow(fetched: FetchedEntry, { scope }: ReadRequest): Promise<FetchedEntry> {
    try {
      return await this.#store.again(fetched, scope)
    } catch (error) {
      if (error instanceof RedisUnavailableError) return fetched
      throw error
    }
  }

  /** The same answer for one more caller: a value that cannot be frozen is decoded for each. */
  async copyOf(fetched: FetchedEntry, lookup: Lookup, { source }: ReadRequest): Promise<Lookup> {
    const entry = fetched.entry as ValueEntry
    const { isolate } = source.policy
    if (entry.notFound || (isShareable(entry.flags) && !isolate)) return lookup
    return { ...lookup, value: await fetched.decode(entry, this.#codec, isolate) }
  }

  #serve(
    fetched: FetchedEntry,
    value: unknown,
    nowMs: number,
    request: ReadRequest,
    refresh: Refresh['reason'] | 'none'
  ): Verdict {
    const entry = fetched.entry as ValueEntry
    if (value === UNUSABLE) {
      if (hasJustFailed(entry, nowMs))
        return { act: 'fail', error: this.#failures.errorFor(fetched.key, entry) }
      return { act: 'load', seen: entry.token, fallback: undefined }
    }
    // What is about to be refreshed is about to be dropped.
    if (refresh === 'none') request.memory?.keep(request, fetched, value, this.#store.nowMs())
    return {
      act: 'serve',
      lookup: this.#lookup(entry, value, nowMs),
      refresh: refresh === 'none' ? undefined : { reason: refresh, seen: entry.token, fallback: fetched }
    }
  }

  #lookup(entry: ValueEntry, value: unknown, nowMs: number): Lookup {
    const freshFor = freshForMs(entry, nowMs)
    const source = freshFor > 0 || entry.unflushed ? this.#store.source : 'stale'
    return { value, source, ageMs: ageMs(entry, nowMs), ttlMs: Math.max(0, freshFor) }
  }

  #fallback(fetched: FetchedEntry, nowMs: number, request: ReadRequest): FetchedEntry | undefined {
    const { entry } = fetched
    if (entry.state !== 'value') return undefined
    return isWithinStale(entry, nowMs, request.source.policy.staleIfErrorMs) ? fetched : undefined
  }

  #open(fetched: FetchedEntry, entry: ValueEntry, request: ReadRequest): unknown {
    let value: unknown
    try {
      value = fetched.decode(entry, this.#codec, request.source.policy.isolate)
    } catch (error) {
      return this.#unusable(request, error)
    }
    if (value instanceof Promise) return this.#openLater(value, request)
    return request.source.schema === undefined || entry.notFound ? value : this.#checked(value, request)
  }

  async #openLater(inflating: Promise<unknown>, request: ReadRequest): Promise<unknown> {
    let value: unknown
    try {
      value = await inflating
    } catch (error) {
      return this.#unusable(request, error)
    }
    return request.source.schema === undefined ? value : this.#checked(value, request)
  }

  /** The value as it is, whatever the schema would make of it: a hit must equal the miss that stored it. */
  #checked(value: unknown, request: ReadRequest): unknown {
    const failed = (error: unknown): unknown => this.#matching([{ message: textOf(error) }], value, request)
    const judged = ({ issues }: StandardResult<unknown>): unknown => this.#matching(issues, value, request)
    try {
      const result = request.source.schema!['~standard'].validate(value)
      return isThenable(result) ? inTime(result, request).then(judged).catch(failed) : judged(result)
    } catch (error) {
      return failed(error)
    }
  }

  #matching(
    issues: readonly { message: string }[] | undefined,
    value: unknown,
    request: ReadRequest
  ): unknown {
    if (issues === undefined) return value
    this.#reportUnreadable(
      request,
      `it does not match the schema: ${issues[0]?.message ?? 'no reason given'}`
    )
    return UNUSABLE
  }

  #unusable(request: ReadRequest, error: unknown): typeof UNUSABLE {
    if (!(error instanceof CorruptEntryError)) throw error
    this.#reportUnreadable(request, error.message)
    return UNUSABLE
  }

  #reportUnreadable({ key, source }: ReadRequest, reason: string): void {
    source.stats.unreadable++
    this.#events.emit('unreadable', { key, collection: source.name, reason })
  }
}

/** One that never answers would hold every reader of the entry, for ever. */
function inTime<T>(result: Promise<T>, { source }: ReadRequest): Promise<T> {
  const { loadTimeoutMs } = source.policy
  const late = (): Error => new Error(`no answer within the "loadTimeout" of ${loadTimeoutMs} ms`)
  return withDeadline(Promise.resolve(result), loadTimeoutMs, late)
}

/** By its shape: a schema is the user's, and so is its promise. */
function isThenable<T>(result: Awaitable<T>): result is Promise<T> {
  return typeof (result as Partial<Promise<T>> | undefined)?.then === 'function'
}
