import type { PayloadCodec } from '../codec/codec.js'
import { newToken } from '../codec/frame-head.js'
import { ClosedError, NotFlushedError, RedisUnavailableError } from '../errors.js'
import { spread, type Clock } from '../clock.js'
import type { Token } from '../entry.js'
import type { LoadReason } from '../events.js'
import type { Wake } from '../redis/key-listeners.js'
import type { LeaseAnswer, LeaseRequest } from '../tiers/entry-store.js'
import type { Capture } from '../tiers/generation.js'
import type { FetchedEntry } from '../tiers/fetched-entry.js'
import { isOfThisProcess } from './failures.js'
import { Flight, NOTHING, type Landing } from './flight.js'
import type { Verdict } from './judge.js'
import { keepLease } from './lease-keeper.js'
import type { BatchPlace } from './load-batch.js'
import type { Loaded, LoadRunner } from './load-runner.js'
import { pack, stamper, type Packed } from '../tiers/pack.js'
import type { ReadRequest } from '../tiers/request.js'
import { failedLifeMs, landingOf, Settling, type SettlingParts } from './settling.js'
import { Wait } from './wait.js'

/** Between two looks at a lease that somebody else holds, when Redis will tell of its end, and when it will not. */
const LOOK_AGAIN_PUSHED_MS = 500
const LOOK_AGAIN_MS = 40
/** Waiters for the lease of a dead process do not all ask in the same millisecond. */
const TAKEOVER_SPREAD_MS = 20
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

export interface LoadingParts extends SettlingParts {
  readonly codec: PayloadCodec
  readonly loads: LoadRunner
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
  readonly #settling: Settling
  readonly #flights = new Map<string, Flight>()
  readonly #aloft = new Set<Flight>()
  readonly #waiting = new Set<() => void>()
  #aborted = false

  constructor(parts: LoadingParts) {
    this.#parts = parts
    this.#settling = new Settling(parts)
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
          void this.#settling.release(key, token)
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
      return await this.#settling.store(flight, request, plan, token, packed)
    } catch (error) {
      return await this.#settling.fail(flight, request, plan, token, error)
    } finally {
      stopRenewing()
    }
  }

  /** One load for the callers of this process, with nothing stored. */
  async #loadAlone(flight: Flight, request: ReadRequest, plan: LoadPlan): Promise<Landing> {
    const { store, failures, clock } = this.#parts
    const { key, source } = request
    flight.mark()
    flight.loading = true
    let packed: Packed
    try {
      const { value, durationMs } = await this.#runLoader(request, plan)
      packed = await this.#pack(request, value, durationMs)
    } catch (error) {
      if (isOfThisProcess(error)) throw error
      failures.remember(key, newToken(), error, failedLifeMs(source, clock))
      throw error
    }
    failures.forget(key)
    // Without Redis nothing can tell when an invalidation elsewhere came, so sharing stays within this process's own
    // knowledge. One that gave no lease, or is back by now, may have taken an invalidation meanwhile: who came late asks it.
    const isAway = plan.reason === 'redis-away' && store.isAway(key)
    const validBelow = isAway ? Number.POSITIVE_INFINITY : flight.marked
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
    const { key, source } = request
    const stampOf = stamper(store.generations, request, capture)
    const packParts = { codec, draw: clock.random(), mostBytes: store.mostBytes(key) }
    try {
      return await pack(key, value, loadMs, source.policy, packParts, stampOf)
    } catch (error) {
      this.#settling.reportRejected(request, 'uncacheable')
      throw error
    }
  }

  #detachFlight(flight: Flight): void {
    if (this.#flights.get(flight.key) === flight) this.#flights.delete(flight.key)
  }
}

function lostUnflushed({ key, source }: ReadRequest): NotFlushedError {
  const hint = 'The entry was deleted from outside before it was flushed. Is a worker running?'
  return new NotFlushedError([key], source.policy.waitTimeoutMs, hint)
}
