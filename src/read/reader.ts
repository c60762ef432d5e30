import { ClosedError, RecursiveLoadError, RedisUnavailableError } from '../errors.js'
import type { Events, StaleReason } from '../events.js'
import type { EntryStore } from '../tiers/entry-store.js'
import type { FetchedEntry } from '../tiers/fetched-entry.js'
import type { Failures } from './failures.js'
import type { Flight } from './flight.js'
import type { Judge, Refresh, Verdict } from './judge.js'
import { LoadBatch } from './load-batch.js'
import type { LoadRunner } from './load-runner.js'
import type { Loading, LoadPlan } from './loading.js'
import type { Lookup, ReadRequest } from '../tiers/request.js'

export interface ReaderParts {
  readonly store: EntryStore
  readonly events: Events
  readonly failures: Failures
  readonly judge: Judge
  readonly loading: Loading
  readonly loads: LoadRunner
  /** A change of the source that Redis has not been told of: what is cached is known to be wrong. */
  readonly isInvalidationPending: (request: ReadRequest) => boolean
}

/** What a read comes to that has to be loaded; undefined when Redis is away, or what it has is known to be wrong. */
type LoadingVerdict = Exclude<Verdict, { act: 'serve' | 'fail' }> | undefined

/** What a look for many came to, in the order of the requests. */
type Found = readonly (FetchedEntry | RedisUnavailableError)[]

interface Missing {
  readonly index: number
  readonly request: ReadRequest
  readonly verdict: LoadingVerdict
}

/** Of one `readMany`. */
const LOADS_AT_ONCE = 1_000

/** Of one `readMany`: each inflation takes some 170 KB while it lasts. */
const JUDGED_AT_ONCE = 64

const REDIS_AWAY: LoadPlan = { reason: 'redis-away', blocking: true, alone: true }

/**
 * The life of a read: join a load that is under way, else look into the store; serve what is fresh; serve what is
 * stale and let one process refresh it; else load, or wait for whoever loads.
 */
export class Reader {
  readonly #parts: ReaderParts
  #closed = false
  #underWay = 0
  readonly #whenIdle: (() => void)[] = []

  constructor(parts: ReaderParts) {
    this.#parts = parts
  }

  read(request: ReadRequest): Promise<Lookup> {
    this.#assertOpen()
    return this.#read(request)
  }

  async #read(request: ReadRequest): Promise<Lookup> {
    const { loading, store, judge, isInvalidationPending } = this.#parts
    let missed = false
    this.#underWay++
    try {
      for (;;) {
        let flight = loading.flightOf(request.key)
        if (flight?.blocking !== true) {
          let verdict: Verdict | undefined
          try {
            if (!isInvalidationPending(request)) {
              const judged = judge.judge(await store.read(request), request)
              verdict = judged instanceof Promise ? await judged : judged
            }
          } catch (error) {
            this.#assertAway(error, request)
          }
          if (verdict?.act === 'serve') return this.#served(verdict.lookup, verdict.refresh, request)
          if (verdict?.act === 'fail') throw verdict.error
          flight = this.#flightFor(request, verdict)
        }
        if (!missed) this.#missed(request)
        missed = true
        const lookup = await this.#join(flight)
        if (lookup !== undefined) return this.#landed(lookup, request)
      }
    } finally {
      this.#done()
    }
  }

  /** The values: one look for all, one `loadMany` for what is missing; in the order of the requests. */
  async readMany(requests: readonly ReadRequest[]): Promise<readonly unknown[]> {
    this.#assertOpen()
    this.#underWay++
    try {
      return await this.#readMany(requests)
    } finally {
      this.#done()
    }
  }

  async #readMany(requests: readonly ReadRequest[]): Promise<readonly unknown[]> {
    const { events, judge, loading, store, isInvalidationPending } = this.#parts
    const many = new ManyReads(requests.length)
    const toAsk: number[] = []
    for (let index = 0; index < requests.length; index++) {
      const request = requests[index]!
      // Noted before asking: by the time of the answer it may be delivered, and the answer older than that.
      const isForItself = loading.flightOf(request.key)?.blocking === true || isInvalidationPending(request)
      if (isForItself) many.expect(index, this.#read(request))
      else toAsk.push(index)
    }

    const isWhole = toAsk.length === requests.length
    const found = await this.#lookMany(isWhole ? requests : toAsk.map((index) => requests[index]!))
    const nowMs = store.nowMs()
    const hearsHits = events.has('hit')
    const missing: Missing[] = []
    const settle = (index: number, request: ReadRequest, verdict: Verdict | undefined): void => {
      if (verdict?.act === 'serve')
        many.values[index] = this.#served(verdict.lookup, verdict.refresh, request).value
      else if (verdict?.act === 'fail') many.expect(index, Promise.reject(verdict.error as Error))
      else missing.push({ index, request, verdict })
    }
    // Of those that have to be inflated, or asked an asynchronous schema about.
    const judging: Promise<void>[] = []
    for (let at = 0; at < toAsk.length; at++) {
      const index = toAsk[at]!
      const request = requests[index]!
      const fetched = this.#foundAt(found, at, request)
      const fresh = fetched === undefined || hearsHits ? undefined : judge.freshValue(fetched, request, nowMs)
      if (fresh !== undefined) {
        request.source.stats.hits++
        many.values[index] = fresh
        continue
      }
      const judged = fetched && judge.judge(fetched, request, nowMs)
      if (!(judged instanceof Promise)) {
        settle(index, request, judged)
        continue
      }
      judging.push(judged.then((verdict) => settle(index, request, verdict)))
      if (judging.length >= JUDGED_AT_ONCE) await Promise.all(judging.splice(0))
    }
    await Promise.all(judging)
    if (missing.length > 0) await this.#loadInPages(missing, many)
    return many.all()
  }

  /** What is cached now and may be served; undefined when there is nothing, or Redis is away. Never loads. */
  async peek(request: ReadRequest): Promise<Lookup | undefined> {
    this.#assertOpen()
    const { judge, store, isInvalidationPending } = this.#parts
    if (isInvalidationPending(request)) return undefined
    this.#underWay++
    try {
      const verdict = await judge.judge(await store.read(request), request)
      return verdict.act === 'serve' ? this.#served(verdict.lookup, undefined, request) : undefined
    } catch (error) {
      if (error instanceof RedisUnavailableError) return undefined
      throw error
    } finally {
      this.#done()
    }
  }

  /** Loads now, whatever is cached and whoever is loading. */
  async refresh(request: ReadRequest): Promise<Lookup> {
    this.#assertOpen()
    const { loading } = this.#parts
    for (;;) {
      const current = loading.flightOf(request.key)
      const joinable = current?.forced === true && !current.loading
      if (!joinable) this.#assertOutsideOf(request.key)
      const flight = joinable
        ? current
        : loading.launch(request, { reason: 'forced', blocking: false, forced: true })
      const lookup = await this.#join(flight)
      if (lookup !== undefined) return lookup
    }
  }

  #done(): void {
    this.#underWay--
    if (this.#underWay === 0) for (const resolve of this.#whenIdle.splice(0)) resolve()
  }

  /** Resolves when no look into the store is under way; what has to be loaded is waited for by `Loading`. */
  drain(): Promise<void> {
    if (this.#underWay === 0) return Promise.resolve()
    return new Promise((resolve) => this.#whenIdle.push(resolve))
  }

  /** Refuses new calls. */
  close(): void {
    this.#closed = true
  }

  /** Whoever comes from now on joins nothing that is under way for these keys. */
  forget(keys: readonly string[]): void {
    for (const key of keys) {
      this.#parts.loading.detach(key)
      this.#parts.failures.forget(key)
    }
  }

  /** The same for every key that `isIn` names. */
  forgetAll(isIn: (key: string) => boolean): void {
    this.#parts.loading.detachAll(isIn)
    this.#parts.failures.forgetAll(isIn)
  }

  /** The load to wait for: one that others of this process wait for already, or a new one. */
  #flightFor(request: ReadRequest, verdict: LoadingVerdict): Flight {
    const { loading } = this.#parts
    const current = loading.flightOf(request.key)
    if (current === undefined) {
      this.#assertOutsideOf(request.key)
      return loading.launch(request, planFor(verdict))
    }
    // Perhaps a refresh behind a value that has meanwhile gone: now readers do wait for it.
    current.blocking = true
    return current
  }

  #join(flight: Flight): Promise<Lookup | undefined> {
    this.#assertOutsideOf(flight.key)
    return this.#parts.loads.waitFor(flight.key, flight.join())
  }

  /** Before a load is begun as well as before one is joined: a loader that begins its own again would go on without end. */
  #assertOutsideOf(key: string): void {
    if (this.#parts.loads.isInsideLoadOf(key)) throw new RecursiveLoadError(key)
  }

  /** Undefined when Redis is away: everything is missing then. */
  async #lookMany(requests: readonly ReadRequest[]): Promise<Found | undefined> {
    if (requests.length === 0) return []
    try {
      return await this.#parts.store.readMany(requests)
    } catch (error) {
      for (const request of requests) this.#assertAway(error, request)
      return undefined
    }
  }

  /** Undefined when Redis is away, or the node of a Cluster that has it. */
  #foundAt(found: Found | undefined, at: number, request: ReadRequest): FetchedEntry | undefined {
    const fetched = found?.[at]
    if (!(fetched instanceof RedisUnavailableError)) return fetched
    this.#assertAway(fetched, request)
    return undefined
  }

  /** Page after page: leases that are taken all at once run out before the last of so many values is stored. */
  async #loadInPages(missing: readonly Missing[], many: ManyReads): Promise<void> {
    for (let at = 0; at < missing.length; at += LOADS_AT_ONCE) {
      if (at > 0) await many.all()
      this.#loadMissing(missing.slice(at, at + LOADS_AT_ONCE), many)
    }
  }

  #loadMissing(missing: readonly Missing[], many: ManyReads): void {
    const { loading, loads } = this.#parts
    for (const { request } of missing) this.#assertOutsideOf(request.key)
    // One flight for each key: two ids may be spelt differently and mean the same, as `{a, b}` and `{b, a}`.
    const firstOfKey = new Map<string, Missing>()
    for (const one of missing) if (!firstOfKey.has(one.request.key)) firstOfKey.set(one.request.key, one)
    const unshared = [...firstOfKey.values()].filter(
      ({ request }) => loading.flightOf(request.key) === undefined
    )
    const isBatched = unshared.length > 1 && unshared[0]!.request.source.loadMany !== undefined
    const batch = isBatched
      ? new LoadBatch(unshared.length, (wanted) => loads.loadMany(wanted, 'miss'))
      : undefined
    const launched = new Set(unshared)
    for (const one of missing) {
      const flight = launched.has(one)
        ? loading.launch(one.request, { ...planFor(one.verdict), place: batch?.place() })
        : this.#flightFor(one.request, one.verdict)
      many.expect(one.index, this.#missedAndLanded(flight, one.request))
    }
  }

  /** Who came too late for the flight's result reads again, alone. */
  async #missedAndLanded(flight: Flight, request: ReadRequest): Promise<Lookup> {
    this.#missed(request)
    const lookup = await this.#join(flight)
    return lookup === undefined ? this.#read(request) : this.#landed(lookup, request)
  }

  /** What a load came to; an old value, when it failed and that is allowed. */
  #landed(lookup: Lookup, request: ReadRequest): Lookup {
    if (lookup.source === 'stale') this.#reportStale(request, lookup, 'load-failed')
    return lookup
  }

  #served(lookup: Lookup, refresh: Refresh | undefined, request: ReadRequest): Lookup {
    if (refresh !== undefined) this.#refreshBehind(request, refresh)
    if (lookup.source === 'stale') this.#reportStale(request, lookup, 'refreshing')
    else this.#reportHit(request, lookup)
    return lookup
  }

  #refreshBehind(request: ReadRequest, refresh: Refresh): void {
    const { loading, loads } = this.#parts
    if (loads.isInsideLoadOf(request.key)) return
    if (loading.flightOf(request.key) !== undefined) return
    // In nobody's place: whoever was served does not wait for it, not even inside of a load.
    loads.outside(() => loading.launch(request, { ...refresh, blocking: false }))
  }

  #reportHit({ key, source }: ReadRequest, lookup: Lookup): void {
    const { events, store } = this.#parts
    source.stats.hits++
    if (!events.has('hit')) return
    events.emit('hit', { key, collection: source.name, source: store.source, ageMs: lookup.ageMs })
  }

  #reportStale({ key, source }: ReadRequest, { ageMs }: Lookup, reason: StaleReason): void {
    source.stats.staleHits++
    this.#parts.events.emit('stale', { key, collection: source.name, ageMs, reason })
  }

  #missed({ key, source }: ReadRequest): void {
    source.stats.misses++
    const { events } = this.#parts
    if (events.has('miss')) events.emit('miss', { key, collection: source.name })
  }

  /** Rethrows all but "Redis is away"; that too, while a load that failed a moment ago should not be repeated. */
  #assertAway(error: unknown, request: ReadRequest): void {
    if (!(error instanceof RedisUnavailableError)) throw error
    const failure = this.#parts.failures.recentOf(request.key)
    if (failure !== undefined) throw failure.error
  }

  #assertOpen(): void {
    if (this.#closed) throw new ClosedError()
  }
}

function planFor(verdict: LoadingVerdict): LoadPlan {
  if (verdict === undefined) return REDIS_AWAY
  if (verdict.act === 'load-alone') return { reason: 'uncacheable', blocking: true, alone: true }
  return { reason: 'miss', seen: verdict.seen, fallback: verdict.fallback, blocking: true }
}

/** The answers of one `readMany`, of which some are there at once. */
class ManyReads {
  readonly values: unknown[]
  readonly #expected: Promise<void>[] = []

  constructor(count: number) {
    this.values = Array.from({ length: count })
  }

  expect(index: number, landed: Promise<Lookup>): void {
    const expected = landed.then((lookup) => void (this.values[index] = lookup.value))
    // A rejection is thrown by `all`; until that is called it must not count as unhandled.
    expected.catch(() => undefined)
    this.#expected.push(expected)
  }

  async all(): Promise<readonly unknown[]> {
    if (this.#expected.length > 0) await Promise.all(this.#expected)
    return this.values
  }
}
