import { failedFrame } from '../codec/failed-frame.js'
import { RedisUnavailableError, type FailureReport } from '../errors.js'
import { spread, type Clock } from '../clock.js'
import type { FailedEntry, Token } from '../entry.js'
import type { Events, RejectionReason } from '../events.js'
import type { EntryStore } from '../tiers/entry-store.js'
import type { FetchedEntry } from '../tiers/fetched-entry.js'
import { ADMIT_ALL, type FillGate } from '../tiers/fill-gate.js'
import type { Packed } from '../tiers/pack.js'
import type { Lookup, ReadRequest, Source } from '../tiers/request.js'
import { isOfThisProcess, reportOf, type Failures } from './failures.js'
import type { Flight, Landing } from './flight.js'
import type { Judge } from './judge.js'

/** How long other processes load a value for themselves before one tries again whether it fits the cache. */
const UNCACHEABLE_LIFE_MS = 10_000
const FAILED_SPREAD = 0.2
const OVER_BUDGET: FailureReport = { name: 'OverBudget', message: 'the tenant has used up its budget' }

export interface SettlingParts {
  readonly store: EntryStore
  readonly events: Events
  readonly clock: Clock
  readonly failures: Failures
  readonly judge: Judge
  readonly gate: FillGate
}

/** What becomes of a load that ran under a lease: stored, left out, or failed. Each way ends the lease. */
export class Settling {
  readonly #parts: SettlingParts

  constructor(parts: SettlingParts) {
    this.#parts = parts
  }

  /** The load is over: stores what it gave, if the lease and all that was asked of it still stand. */
  async store(
    flight: Flight,
    request: ReadRequest,
    { replaces }: { readonly replaces?: boolean },
    token: Token,
    packed: Packed
  ): Promise<Landing> {
    const { store, failures } = this.#parts
    const { key } = request
    if (packed.frame === undefined || packed.stamp === undefined) {
      return this.#leaveUnstored(flight, request, token, packed, replaces === true || flight.forced)
    }
    // What takes the place of a value needs no more room than was granted to that one.
    const isAdmitted = replaces === true || request.isNeeded === true
    const gate = isAdmitted ? ADMIT_ALL : this.#parts.gate
    if (!gate.reserve(request, packed.frame.length)) {
      return this.#leaveUnstored(flight, request, token, { ...packed, isOverBudget: true }, false)
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
      this.reportRejected(request, rejection)
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
    packed: Packed & { readonly isOverBudget?: boolean },
    mayReplace: boolean
  ): Promise<Landing> {
    const { key } = request
    if (packed.tooLarge !== undefined) {
      this.reportRejected(request, 'too-large')
      await this.#settleLease(key, token, 'uncacheable', reportOf(packed.tooLarge), UNCACHEABLE_LIFE_MS)
    } else if (packed.isOverBudget) {
      this.reportRejected(request, 'over-budget')
      await this.#settleLease(key, token, 'uncacheable', OVER_BUDGET, UNCACHEABLE_LIFE_MS)
    } else if (packed.isSuperseded) {
      this.reportRejected(request, 'superseded')
      // Of what was there before nobody has said that it is wrong; who refreshed it has seen what is newer.
      if (flight.forced) await this.#parts.store.drop([key]).catch(untold)
      else await this.#settleLease(key, token, 'release')
    } else if (mayReplace) {
      // There is no such thing any more, and that is not to be remembered: nor is what was there before.
      await this.#parts.store.drop([key]).catch(untold)
    } else {
      await this.#settleLease(key, token, 'release')
    }
    return await landingOf(packed, 0, flight.marked)
  }

  /** The loader's own error for all who wait, unless there is an old value to fall back on. */
  async fail(
    flight: Flight,
    request: ReadRequest,
    { fallback }: { readonly fallback?: FetchedEntry | undefined },
    token: Token,
    error: unknown
  ): Promise<Landing> {
    const { failures, clock, judge } = this.#parts
    const { key, source } = request
    flight.mark()
    const lifeMs = failedLifeMs(source, clock)
    const isOwn = isOfThisProcess(error)
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
          : await store.fail(key, token, failedFrame(key, token, how, report, store.nowMs() + lifeMs), lifeMs)
      return settled ? 'settled' : 'lost'
    } catch (error) {
      if (error instanceof RedisUnavailableError) return 'unknown'
      throw error
    }
  }

  /** Gives back a lease under which nothing was loaded. */
  release(key: string, token: Token): Promise<unknown> {
    return this.#settleLease(key, token, 'release')
  }

  reportRejected({ key, source }: ReadRequest, reason: RejectionReason): void {
    source.stats.rejectedFills++
    this.#parts.events.emit('fillRejected', { key, collection: source.name, reason })
  }

  #reportFill({ key, source }: ReadRequest, bytes: number, lifeMs: number): void {
    source.stats.fills++
    this.#parts.events.emit('fill', { key, collection: source.name, bytes, lifeMs })
  }
}

/** How long a failure is remembered; not every process tries again in the same moment. */
export function failedLifeMs({ policy }: Source, clock: Clock): number {
  return Math.round(spread(policy.failedMs, FAILED_SPREAD, clock))
}

/** What was loaded, for all who wait for it. */
export async function landingOf(packed: Packed, ttlMs: number, validBelow: number): Promise<Landing> {
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

/** The store has reported it, and the lease runs out. */
function untold(error: unknown): void {
  if (!(error instanceof RedisUnavailableError)) throw error
}

/** The store has reported it. Who came while the loader ran reads again. */
function unknown(error: unknown): false {
  if (error instanceof RedisUnavailableError) return false
  throw error
}
