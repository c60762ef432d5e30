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
import type { Lookup, ReadRequest } from './request.js'

export interface ReaderParts {
  readonly store: EntryStore
  readonly events: Events
  readonly failures: Failures
  readonly judge: Judge
  readonly loading: Loading
  readonly loads: LoadRunner
}

const REDIS_AWAY: LoadPlan = { reason: 'redis-away', blocking: true, alone: true }

/**
 * The life of a read: join a load that is under way, else look into the store; serve what is fresh; serve what is
 * stale and let one process refresh it; else load, or wait for whoever loads.
 */
export class Reader {
  readonly #parts: ReaderParts
  #closed = false

  constructor(parts: ReaderParts) {
    this.#parts = parts
  }

  async read(request: ReadRequest): Promise<Lookup> {
    this.#assertOpen()
    const { loading, store } = this.#parts
    let missed = false
    for (;;) {
      let flight = loading.flightOf(request.key)
      if (flight?.blocking !== true) {
        let verdict: Verdict | undefined
        try {
          verdict = await this.#parts.judge.judge(await store.read(request.key), request)
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
      if (lookup !== undefined) return lookup
    }
  }

  /** One look for all, one `loadMany` for what is missing; in the order of the requests. */
  async readMany(requests: readonly ReadRequest[]): Promise<Lookup[]> {
    this.#assertOpen()
    const { judge, loading } = this.#parts
    const lookups: (Lookup | Promise<Lookup | undefined> | undefined)[] = Array.from(
      requests,
      () => undefined
    )
    const asked: number[] = []
    for (const [index, { key }] of requests.entries()) {
      const flight = loading.flightOf(key)
      if (flight?.blocking === true) lookups[index] = awaitedLater(this.#join(flight))
      else asked.push(index)
    }

    const found = await this.#lookMany(asked.map((index) => requests[index]!))
    const missing: { index: number; verdict: Verdict | undefined }[] = []
    for (const [at, index] of asked.entries()) {
      const request = requests[index]!
      const fetched = found?.[at]
      const judged = fetched && judge.judge(fetched, request)
      const verdict = judged instanceof Promise ? await judged : judged
      if (verdict?.act === 'serve') lookups[index] = this.#served(verdict.lookup, verdict.refresh, request)
      else if (verdict?.act === 'fail') lookups[index] = awaitedLater(Promise.reject(verdict.error as Error))
      else missing.push({ index, verdict })
    }
    this.#loadMissing(requests, missing, lookups)

    const landed = await Promise.all(lookups)
    // Who came too late for a flight's result reads again, alone.
    return Promise.all(landed.map((lookup, index) => lookup ?? this.read(requests[index]!)))
  }

  /** Loads now, whatever is cached and whoever is loading. */
  async refresh(request: ReadRequest): Promise<Lookup> {
    this.#assertOpen()
    const { loading } = this.#parts
    for (;;) {
      const current = loading.flightOf(request.key)
      const joinable = current?.forced === true && !current.loading
      const flight = joinable
        ? current
        : loading.launch(request, { reason: 'forced', blocking: false, forced: true })
      const lookup = await this.#join(flight)
      if (lookup !== undefined) return lookup
    }
  }

  /** After it resolves nobody gets a value whose load began before. Rejects when Redis did not confirm. */
  async invalidate(requests: readonly ReadRequest[]): Promise<void> {
    this.#assertOpen()
    const { store, events } = this.#parts
    const keys = requests.map(({ key }) => key)
    for (const { source } of requests) source.stats.invalidations++
    this.#forget(keys)
    const dropped = keys.length === 0 ? 0 : await store.drop(keys)
    // Again: a flight that began meanwhile may have read what was dropped only after.
    this.#forget(keys)
    events.emit('invalidated', { keys, dropped })
  }

  /** Refuses new calls. */
  close(): void {
    this.#closed = true
  }

  #forget(keys: readonly string[]): void {
    for (const key of keys) {
      this.#parts.loading.detach(key)
      this.#parts.failures.forget(key)
    }
  }

  /** The load to wait for: one that others of this process wait for already, or a new one. */
  #flightFor(request: ReadRequest, verdict: Exclude<Verdict, { act: 'serve' | 'fail' }> | undefined): Flight {
    const { loading } = this.#parts
    const current = loading.flightOf(request.key)
    if (current === undefined) return loading.launch(request, planFor(verdict))
    // Perhaps a refresh behind a value that has meanwhile gone: now readers do wait for it.
    current.blocking = true
    return current
  }

  #join(flight: Flight): Promise<Lookup | undefined> {
    if (this.#parts.loads.isInsideLoadOf(flight.key)) throw new RecursiveLoadError(flight.key)
    return flight.join()
  }

  /** Undefined when Redis is away: everything is missing then. */
  async #lookMany(requests: readonly ReadRequest[]): Promise<FetchedEntry[] | undefined> {
    if (requests.length === 0) return []
    try {
      return await this.#parts.store.readMany(requests.map(({ key }) => key))
    } catch (error) {
      for (const request of requests) this.#assertAway(error, request)
      return undefined
    }
  }

  #loadMissing(
    requests: readonly ReadRequest[],
    missing: readonly { index: number; verdict: Verdict | undefined }[],
    lookups: (Lookup | Promise<Lookup | undefined> | undefined)[]
  ): void {
    const { loading, loads } = this.#parts
    const fresh = missing.filter(({ index }) => loading.flightOf(requests[index]!.key) === undefined)
    const batched = fresh.length > 1 && requests[fresh[0]!.index]!.source.loadMany !== undefined
    const batch = batched
      ? new LoadBatch(fresh.length, (wanted) => loads.loadMany(wanted, 'miss'))
      : undefined
    const begun = new Set(fresh)
    for (const one of missing) {
      const request = requests[one.index]!
      this.#missed(request)
      const verdict = one.verdict as Exclude<Verdict, { act: 'serve' | 'fail' }> | undefined
      const flight = begun.has(one)
        ? loading.launch(request, { ...planFor(verdict), place: batch?.place() })
        : this.#flightFor(request, verdict)
      lookups[one.index] = awaitedLater(this.#join(flight))
    }
  }

  #served(lookup: Lookup, refresh: Refresh | undefined, request: ReadRequest): Lookup {
    if (refresh !== undefined) this.#refreshBehind(request, refresh)
    if (lookup.source === 'stale') this.#reportStale(request, lookup, 'refreshing')
    else this.#reportHit(request, lookup)
    return lookup
  }

  #refreshBehind(request: ReadRequest, refresh: Refresh): void {
    const { loading } = this.#parts
    if (loading.flightOf(request.key) === undefined) loading.launch(request, { ...refresh, blocking: false })
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
    this.#parts.events.emit('miss', { key, collection: source.name })
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

function planFor(verdict: Exclude<Verdict, { act: 'serve' | 'fail' }> | undefined): LoadPlan {
  if (verdict === undefined) return REDIS_AWAY
  if (verdict.act === 'load-alone') return { reason: 'uncacheable', blocking: true, alone: true }
  return { reason: 'miss', seen: verdict.seen, fallback: verdict.fallback, blocking: true }
}

/** Its rejection is thrown when all are awaited together; until then it must not count as unhandled. */
function awaitedLater<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => undefined)
  return promise
}
