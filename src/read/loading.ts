import type { PayloadCodec } from '../codec/codec.js'
import { failedFrame, newToken } from '../codec/frame.js'
import {
  ClosedError,
  NotFlushedError,
  OverloadedError,
  RedisUnavailableError,
  type FailureReport
} from '../errors.js'
import { spread, type Clock } from '../clock.js'
import type { FailedEntry, Token } from '../entry.js'
import type { Events, LoadReason, RejectionReason } from '../events.js'
import type { Wake } from '../redis/key-listeners.js'
import type { EntryStore, LeaseAnswer, LeaseRequest } from '../tiers/entry-store.js'
import { ADMIT_ALL, type FillGate } from '../tiers/fill-gate.js'
import type { Capture } from '../tiers/generation.js'
import type { FetchedEntry } from '../tiers/fetched-entry.js'
import { reportOf, type Failures } from './failures.js'
import { Flight, NOTHING, type Landing } from './flight.js'
import type { Judge, Verdict } from './judge.js'
import { keepLease } from './lease-keeper.js'
import type { BatchPlace } from './load-batch.js'
import type { Loaded, LoadRunner } from './load-runner.js'
import { pack, stamper, type Packed } from '../tiers/pack.js'
import type { Lookup, ReadRequest } from '../tiers/request.js'
import { Wait } from './wait.js'

/** Between two looks at a lease that somebody else holds, when Redis will tell of its end, and when it will not. */
const LOOK_AGAIN_PUSHED_MS = 500
const LOOK_AGAIN_MS = 40
/** Waiters for the lease of a dead process do not all ask in the same millisecond. */
const TAKEOVER_SPREAD_MS = 20
/** How long other processes load a value for themselves before one tries again whether it fits the cache. */
const UNCACHEABLE_LIFE_MS = 10_000
const FAILED_SPREAD = 0.2
const OVER_BUDGET: FailureReport = { name: 'OverBudget', message: 'the tenant has used up its budget' }

export interface LoadPlan {
  readonly reason: LoadReason
  readonly seen?: Token | undefined
  readonly fallback?: FetchedEntry | undefined
  /** Readers wait for this load; else it goes on behind a value that they are served. */
  readonly blocking: boolean
  /** Load whatever is cached and whoever is loading. */
  readonly forced?: boolean
  /** Do not ask the store for a lease: it is away, or the value does not fit. */
  readonly alone?: boolean
  readonly place?: BatchPlace | undefined
  /** What is loaded takes the place of a value that is there. */
  readonly replaces?: boolean
}

export interface LoadingParts {
  readonly store: EntryStore
  readonly codec: PayloadCodec
  readonly events: Events
  readonly clock: Clock
  readonly loads: LoadRunner
  readonly failures: Failures
  readonly judge: Judge
  readonly gate: FillGate
  readonly leaseMs: number
}

/**
 * From "nothing usable is cached" to a value: one flight per key in this process, one lease per key in the fleet.
 *
 *   take the lease ─ granted ─▶ load ─▶ fill ─▶ land
 *        │  ▲ └─ an entry ─▶ judge ─▶ land
 *        │  └── woken, or time to look ──┐
 *        └─ held by another ─▶ wait ─────┘
 */
export class Loading {
  readonly #parts: LoadingParts
  readonly #flights = new Map<string, Flight>()
  readonly #aloft = new Set<Flight>()
  readonly #waiting = new Set<() => void>()
  #aborted = false

  constructor(parts: LoadingParts) {
    this.#parts = parts
  }

  flightOf(key: string): Flight | undefined {
    // Mostly there is none, and then a new key's hash need not be computed.
    return this.#flights.size === 0 ? undefined : this.#flights.get(key)
  }

  /** Begins a flight; the caller may join it in the same turn, before anything is asked. */
  launch(request: ReadRequest, plan: LoadPlan): Flight {
    const flight = new Flight(request.key, { blocking: plan.blocking, forced: plan.forced === true })
    this.#flights.set(request.key, flight)
    this.#aloft.add(flight)
    const landing = Promise.resolve()
      .then(() =>
        plan.alone === true ? this.#loadAlone(flight, request, plan) : this.#fly(flight, request, plan)
      )
      .finally(() => {
        plan.place?.pass()
        this.#aloft.delete(flight)
        this.#detachFlight(flight)
      })
    flight.land(landing)
    return flight
  }

  /** Whoever comes from now on does not join the flight of `key`. */
  detach(key: string): void {
    this.#flights.delete(key)
  }

  detachAll(isIn: (key: string) => boolean): void {
    for (const key of this.#flights.keys()) if (isIn(key)) this.#flights.delete(key)
  }

  /** Resolves when no flight is under way. */
  async drain(): Promise<void> {
    while (this.#aloft.size > 0) await Promise.allSettled([...this.#aloft].map((flight) => flight.done))
  }

  /** Loaders' signals fire, and waits end; every caller gets a `ClosedError`. */
  abort(): void {
    this.#aborted = true
    for (const goOn of this.#waiting) goOn()
    this.#parts.loads.abortAll()
  }

  async #fly(flight: Flight, request: ReadRequest, plan: LoadPlan): Promise<Landing> {
    const { store, clock, events, leaseMs } = this.#parts
    const { key } = request
    const token = newToken()
    const wait = new Wait(request, events, clock)
    let { seen, fallback } = plan
    for (;;) {
      const wake = store.listen(key)
      try {
        if (this.#aborted) throw new ClosedError()
        flight.mark()
        const { scope } = request
        const answer = await this.#askForLease({ key, scope, token, leaseMs, seen, force: flight.forced })
        // Who loads without Redis may still load together.
        if (answer.kind !== 'granted' && answer.kind !== 'unavailable') plan.place?.pass()
        if (this.#aborted) throw new ClosedError()
        if (answer.kind === 'unavailable') {
          wait.over('redis-away')
          // Granted perhaps, with the answer lost: others need not wait for a load that nobody runs.
          void this.#settleLease(key, token, 'release')
          return await this.#loadAlone(flight, request, { ...plan, reason: 'redis-away' })
        }
        // What was seen is gone: somebody declared it wrong, so it is nothing to fall back on any more.
        if ('seenStands' in answer && !answer.seenStands) fallback = undefined
        if (answer.kind === 'granted') {
          wait.over('takeover')
          const replaces = answer.seenStands
          return await this.#loadUnderLease(flight, request, { ...plan, fallback, replaces }, token)
        }
        if (answer.kind === 'foreign')
          return await this.#loadAlone(flight, request, { ...plan, reason: 'uncacheable' })
        if (answer.kind === 'entry') {
          const verdict = await this.#parts.judge.judge(answer.fetched, request)
          if (verdict.act !== 'load') {
            wait.over(verdict.act === 'fail' ? 'failed' : 'value')
            return await this.#landOn(answer.fetched, verdict, flight, request, plan)
          }
          const isNews = seen === undefined || verdict.seen === undefined || !seen.equals(verdict.seen)
          ;({ seen, fallback } = verdict)
          if (isNews) continue
          // Our estimate of the store's clock and the clock itself disagree for a moment on whether a lease has ended.
        }
        if (!flight.blocking && !flight.forced) return NOTHING
        if (answer.kind === 'held' && answer.by === 'writer') wait.writerSeen()
        if (wait.isTooLong) {
          wait.over('timeout')
          // The source has something older than what was acknowledged: no answer is better than that one.
          if (answer.kind === 'held' && answer.by === 'flush') throw lostUnflushed(request)
          return await this.#waitedTooLong(flight, request, plan, fallback)
        }
        wait.begin()
        const heldForMs = answer.kind === 'held' ? answer.leftMs : 0
        await this.#untilChanged(wake, Math.min(wait.leftMs, this.#lookAgainMs(heldForMs, clock)))
      } finally {
        wake.cancel()
      }
    }
  }

  async #askForLease(request: LeaseRequest): Promise<LeaseAnswer | { kind: 'unavailable' }> {
    try {
      return await this.#parts.store.takeLease(request)
    } catch (error) {
      if (error instanceof RedisUnavailableError) return { kind: 'unavailable' }
      throw error
    }
  }

  /** Before the load begins: what is cleared after that is not hidden by what the load will store. */
  async #capture({ scope }: ReadRequest): Promise<Capture | undefined> {
    try {
      return await this.#parts.store.generations.capture(scope)
    } catch (error) {
      // Then it stores nothing; its callers are served all the same.
      if (error instanceof RedisUnavailableError) return undefined
      throw error
    }
  }

  /** Until the entry may have changed, the time is up, or the cache closes. */
  #untilChanged(wake: Wake, ms: number): Promise<void> {
    return new Promise((resolve) => {
      const goOn = (): void => {
        clearTimeout(timer)
        this.#waiting.delete(goOn)
        resolve()
      }
      const timer = setTimeout(goOn, Math.max(1, ms))
      this.#waiting.add(goOn)
      void wake.changed.then(goOn)
    })
  }

  #lookAgainMs(leftMs: number, clock: Clock): number {
    const lookAgain = spread(this.#parts.store.pushes ? LOOK_AGAIN_PUSHED_MS : LOOK_AGAIN_MS, 0.25, clock)
    return Math.min(lookAgain, leftMs + 1 + TAKEOVER_SPREAD_MS * clock.random())
  }

  /** Another process's load, or an earlier one, left something: good for all who joined before it was read. */
  async #landOn(
    fetched: FetchedEntry,
    verdict: Exclude<Verdict, { act: 'load' }>,
    flight: Flight,
    request: ReadRequest,
    plan: LoadPlan
  ): Promise<Landing> {
    if (verdict.act === 'fail') throw verdict.error
    if (verdict.act === 'load-alone')
      return this.#loadAlone(flight, request, { ...plan, reason: 'uncacheable' })
    return {
      give: () => this.#parts.judge.copyOf(fetched, verdict.lookup, request),
      validBelow: flight.marked
    }
  }

  async #loadUnderLease(
    flight: Flight,
    request: ReadRequest,
    plan: LoadPlan,
    token: Token
  ): Promise<Landing> {
    const { store, leaseMs, events } = this.#parts
    const { key, source } = request
    const capture = await this.#capture(request)
    // From here on a caller comes after the load began, so the value is theirs only if the fill proves it current.
    flight.mark()
    flight.loading = true
    const stopRenewing = keepLease(store, key, token, leaseMs, () => {
      source.stats.leasesLost++
      events.emit('leaseLost', { key, collection: source.name })
      this.#detachFlight(flight)
    })
    try {
      const { value, durationMs } = await this.#runLoader(request, plan)
      const packed = await this.#pack(request, value, durationMs, capture)
      stopRenewing()
      return await this.#store(flight, request, plan, token, packed)
    } catch (error) {
      return await this.#loadFailed(flight, request, plan, token, error)
    } finally {
      stopRenewing()
    }
  }

  async #store(
    flight: Flight,
    request: ReadRequest,
    { replaces }: LoadPlan,
    token: Token,
    packed: Packed
  ): Promise<Landing> {
    const { store, failures } = this.#parts
    const { key } = request
    if (packed.frame === undefined || packed.stamp === undefined) {
      return this.#leaveUnstored(flight, request, token, packed)
    }
    // What takes the place of a value needs no more room than was granted to that one.
    const gate = replaces === true ? ADMIT_ALL : this.#parts.gate
    if (!gate.reserve(request, packed.frame.length)) {
      return this.#leaveUnstored(flight, request, token, { ...packed, isOverBudget: true })
    }
    const cameBeforeLoad = flight.marked
    // That the lease stands when the store takes the value proves it current for those who have come by now. Who comes
    // while the reply is under way may come after an invalidation that followed the fill.
    flight.mark()
    let [stored, isCurrent] = [false, false]
    let rejection: RejectionReason = 'superseded'
    try {
      // The lease says nothing of what was cleared as a whole, or by a tag.
      ;[stored, isCurrent] = await Promise.all([
        store.fill(key, token, packed.frame, packed.lifeMs),
        store.generations.isCurrent(packed.stamp, request.scope).catch(unknown)
      ])
    } catch (error) {
      if (!(error instanceof RedisUnavailableError)) throw error
      rejection = 'redis-away'
    }
    if (!stored) {
      gate.giveBack(request, packed.frame.length)
      this.#reportRejected(request, rejection)
      return await landingOf(packed, 0, cameBeforeLoad)
    }
    failures.forget(key)
    gate.stored(request, packed.frame.length, packed.lifeMs)
    this.#reportFill(request, packed.frame.length, packed.lifeMs)
    return await landingOf(packed, packed.freshMs, isCurrent ? flight.marked : cameBeforeLoad)
  }

  /** The others load for themselves meanwhile, when the reason is one that stays. */
  async #leaveUnstored(
    flight: Flight,
    request: ReadRequest,
    token: Token,
    packed: Packed & { readonly isOverBudget?: boolean }
  ): Promise<Landing> {
    const { key } = request
    if (packed.tooLarge !== undefined) {
      this.#reportRejected(request, 'too-large')
      await this.#settleLease(key, token, 'uncacheable', reportOf(packed.tooLarge), UNCACHEABLE_LIFE_MS)
    } else if (packed.isOverBudget) {
      this.#reportRejected(request, 'over-budget')
      // A refresh that was asked for has found that there is something newer: what is cached must not go on being served.
      if (flight.forced) await this.#parts.store.drop([key]).catch(unknown)
      await this.#settleLease(key, token, 'uncacheable', OVER_BUDGET, UNCACHEABLE_LIFE_MS)
    } else {
      if (packed.isSuperseded) this.#reportRejected(request, 'superseded')
      await this.#settleLease(key, token, 'release')
    }
    return await landingOf(packed, 0, flight.marked)
  }

  async #loadFailed(
    flight: Flight,
    request: ReadRequest,
    { fallback }: LoadPlan,
    token: Token,
    error: unknown
  ): Promise<Landing> {
    const { failures, clock, judge } = this.#parts
    const { key, source } = request
    flight.mark()
    const lifeMs = Math.round(spread(source.policy.failedMs, FAILED_SPREAD, clock))
    // Of this process, not of the source: another process may do better.
    const isOwn = error instanceof ClosedError || error instanceof OverloadedError
    const outcome =
      lifeMs < 1 || isOwn
        ? await this.#settleLease(key, token, 'release')
        : await this.#settleLease(key, token, 'load-failed', reportOf(error), lifeMs)
    if (!isOwn) failures.remember(key, token, error, lifeMs)
    // With the lease gone somebody declared the old value wrong, and it must not come back.
    if (fallback === undefined || flight.forced || outcome === 'lost') throw error
    const lookup = await judge.serveStale(fallback, request)
    if (lookup === undefined) throw error
    return { give: () => judge.copyOf(fallback, lookup, request), validBelow: flight.marked }
  }

  async #settleLease(
    key: string,
    token: Token,
    how: FailedEntry['kind'] | 'release',
    report?: FailureReport,
    lifeMs = 0
  ): Promise<'settled' | 'lost' | 'unknown'> {
    const { store } = this.#parts
    try {
      const settled =
        how === 'release' || report === undefined
          ? await store.release(key, token)
          : await store.fail(key, token, failedFrame(key, token, how, report), lifeMs)
      return settled ? 'settled' : 'lost'
    } catch (error) {
      if (error instanceof RedisUnavailableError) return 'unknown'
      throw error
    }
  }

  /** One load for the callers of this process, with nothing stored. */
  async #loadAlone(flight: Flight, request: ReadRequest, plan: LoadPlan): Promise<Landing> {
    const { failures, clock } = this.#parts
    const { key, source } = request
    flight.mark()
    flight.loading = true
    let packed: Packed
    try {
      const { value, durationMs } = await this.#runLoader(request, plan)
      packed = await this.#pack(request, value, durationMs)
    } catch (error) {
      if (error instanceof OverloadedError) throw error
      failures.remember(key, newToken(), error, spread(source.policy.failedMs, FAILED_SPREAD, clock))
      throw error
    }
    failures.forget(key)
    // Without Redis nothing can tell when an invalidation elsewhere came, so sharing stays within this process's own knowledge.
    const validBelow = plan.reason === 'redis-away' ? Number.POSITIVE_INFINITY : flight.marked
    return await landingOf(packed, 0, validBelow)
  }

  async #waitedTooLong(
    flight: Flight,
    request: ReadRequest,
    plan: LoadPlan,
    fallback: FetchedEntry | undefined
  ): Promise<Landing> {
    const { judge } = this.#parts
    const lookup = fallback && (await judge.serveStale(fallback, request))
    if (fallback && lookup)
      return { give: () => judge.copyOf(fallback, lookup, request), validBelow: flight.marked }
    return this.#loadAlone(flight, request, { ...plan, reason: 'waited-too-long' })
  }

  #runLoader(request: ReadRequest, { place, reason }: LoadPlan): Promise<Loaded> {
    return place?.isOpen ? place.load(request) : this.#parts.loads.load(request, reason)
  }

  /** @param capture undefined for what is not going to be stored */
  async #pack(request: ReadRequest, value: unknown, loadMs: number, capture?: Capture): Promise<Packed> {
    const { codec, clock, store } = this.#parts
    const stampOf = stamper(store.generations, request, capture)
    try {
      return await pack(request.key, value, loadMs, request.source.policy, codec, clock.random(), stampOf)
    } catch (error) {
      this.#reportRejected(request, 'uncacheable')
      throw error
    }
  }

  #detachFlight(flight: Flight): void {
    if (this.#flights.get(flight.key) === flight) this.#flights.delete(flight.key)
  }

  #reportFill({ key, source }: ReadRequest, bytes: number, lifeMs: number): void {
    source.stats.fills++
    this.#parts.events.emit('fill', { key, collection: source.name, bytes, lifeMs })
  }

  #reportRejected({ key, source }: ReadRequest, reason: RejectionReason): void {
    source.stats.rejectedFills++
    this.#parts.events.emit('fillRejected', { key, collection: source.name, reason })
  }
}

/** The store has reported it. Who came while the loader ran reads again. */
function unknown(error: unknown): false {
  if (error instanceof RedisUnavailableError) return false
  throw error
}

function lostUnflushed({ key, source }: ReadRequest): NotFlushedError {
  const hint = 'The entry was deleted from outside before it was flushed. Is a worker running?'
  return new NotFlushedError([key], source.policy.waitTimeoutMs, hint)
}

async function landingOf(packed: Packed, ttlMs: number, validBelow: number): Promise<Landing> {
  if (!packed.isShared) {
    return {
      give: async () => ({ value: await packed.copy(), source: 'loader', ageMs: 0, ttlMs }),
      validBelow
    }
  }
  // One answer for thousands of callers: each costs no more than being woken.
  const lookup: Lookup = { value: await packed.copy(), source: 'loader', ageMs: 0, ttlMs }
  return { give: () => lookup, validBelow }
}
