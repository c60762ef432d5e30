import { ageMs, freshForMs, type Entry, type FailedEntry, type Token, type ValueEntry } from '../entry.js'
import type { EntryPolicy } from '../options.js'

/** What to do with what was found. */
export type Decision =
  | { readonly act: 'serve'; readonly refresh: 'none' | 'early-refresh' }
  | { readonly act: 'serve-stale'; readonly refresh: 'none' | 'refresh' }
  /** Ask for the lease, and load or wait; `seen` is the entry that cannot be used. */
  | { readonly act: 'load'; readonly seen: Token | undefined }
  /** The last load failed a moment ago. */
  | { readonly act: 'fail' }
  /** Load without asking anyone, store nothing. */
  | { readonly act: 'load-alone'; readonly reason: 'uncacheable' | 'foreign' }

const SERVE: Decision = { act: 'serve', refresh: 'none' }
const SERVE_AND_REFRESH_EARLY: Decision = { act: 'serve', refresh: 'early-refresh' }
const SERVE_STALE: Decision = { act: 'serve-stale', refresh: 'none' }
const SERVE_STALE_AND_REFRESH: Decision = { act: 'serve-stale', refresh: 'refresh' }
const LOAD: Decision = { act: 'load', seen: undefined }
const FAIL: Decision = { act: 'fail' }
const LOAD_UNCACHEABLE: Decision = { act: 'load-alone', reason: 'uncacheable' }
const LOAD_FOREIGN: Decision = { act: 'load-alone', reason: 'foreign' }

/** An entry stored this far in the future tells of a clock that was set back: its age is unknown. */
const CLOCK_TOLERANCE_MS = 5_000
/** The longest `failedTtl`, spread by a fifth. */
const LONGEST_PAUSE_MS = 72_000

/**
 * @param nowMs on the clock of the store
 * @param draw uniform in [0, 1), for early refresh
 */
export function decide(entry: Entry, nowMs: number, policy: EntryPolicy, draw: number): Decision {
  switch (entry.state) {
    case 'value':
      return decideOnValue(entry, nowMs, policy, draw)
    case 'absent':
    case 'hold':
      return LOAD
    case 'failed':
      if (isLeftBehind(entry, nowMs)) return { act: 'load', seen: entry.token }
      return entry.kind === 'uncacheable' ? LOAD_UNCACHEABLE : FAIL
    case 'outdated':
      return hasJustFailed(entry, nowMs) ? FAIL : { act: 'load', seen: entry.token }
    case 'unreadable':
      if (entry.foreign) return LOAD_FOREIGN
      return hasJustFailed(entry, nowMs) ? FAIL : { act: 'load', seen: entry.token }
  }
}

/** Whether the decision would be to serve a value and do nothing else; false when it may be another. */
export function isPlainlyFresh(
  entry: ValueEntry,
  nowMs: number,
  { earlyRefresh }: EntryPolicy,
  clock: { random(): number }
): boolean {
  const freshFor = freshForMs(entry, nowMs)
  if (freshFor <= 0 || isFromTheFuture(entry, nowMs)) return false
  // Without a draw where even an unlikely one would not refresh it: the logarithm of 2^-53 is -36.7.
  const isFarFromDue = freshFor > 37 * entry.loadMs * earlyRefresh
  return isFarFromDue || !isEarlyRefreshDue(entry, freshFor, earlyRefresh, clock.random())
}

function decideOnValue(entry: ValueEntry, nowMs: number, policy: EntryPolicy, draw: number): Decision {
  if (entry.unflushed) return SERVE
  const freshFor = freshForMs(entry, nowMs)
  if (freshFor > 0 && !isFromTheFuture(entry, nowMs)) {
    if (isLeased(entry, nowMs) || !isEarlyRefreshDue(entry, freshFor, policy.earlyRefresh, draw)) return SERVE
    return SERVE_AND_REFRESH_EARLY
  }
  if (isWithinStale(entry, nowMs, policy.staleMs)) {
    return isLeased(entry, nowMs) ? SERVE_STALE : SERVE_STALE_AND_REFRESH
  }
  if (isLeased(entry, nowMs) && entry.backingOff) {
    return isWithinStale(entry, nowMs, policy.staleIfErrorMs) ? SERVE_STALE : FAIL
  }
  return { act: 'load', seen: entry.token }
}

/** Whether a value may be served `windowMs` after it went stale. */
export function isWithinStale(entry: ValueEntry, nowMs: number, windowMs: number): boolean {
  return ageMs(entry, nowMs) < entry.freshMs + windowMs
}

/** The last load under a lease on an entry that cannot be used failed. A pause that is longer than any is damage. */
export function hasJustFailed(
  { backingOff, leaseUntilMs }: Pick<ValueEntry, 'backingOff' | 'leaseUntilMs'>,
  nowMs: number
): boolean {
  return backingOff && isAhead(leaseUntilMs, nowMs)
}

/** The clock of the store was set back since, and it would count for as long. */
function isLeftBehind({ untilMs }: FailedEntry, nowMs: number): boolean {
  return untilMs !== undefined && untilMs - nowMs > LONGEST_PAUSE_MS
}

/** Somebody refreshes the entry, or nobody should for now. */
function isLeased(entry: ValueEntry, nowMs: number): boolean {
  return isAhead(entry.leaseUntilMs, nowMs)
}

/** No further than any lease or pause: else the clock of the store was set back since, and it would last for as long. */
function isAhead(untilMs: number, nowMs: number): boolean {
  return untilMs > nowMs && untilMs - nowMs <= LONGEST_PAUSE_MS
}

function isFromTheFuture(entry: ValueEntry, nowMs: number): boolean {
  return entry.storedAtMs - nowMs > CLOCK_TOLERANCE_MS
}

/**
 * XFetch: a reader refreshes early with a probability that rises towards expiry, the sooner the dearer the load.
 * Alone it recomputes e^(1/beta) times per expiry; here it only chooses who asks for the lease, and one gets it.
 *
 * A. Vattani, F. Chierichetti, K. Lowenstein: Optimal Probabilistic Cache Stampede Prevention, VLDB 2015.
 */
export function isEarlyRefreshDue(entry: ValueEntry, freshFor: number, beta: number, draw: number): boolean {
  if (beta === 0) return false
  return -Math.log(1 - draw) * entry.loadMs * beta >= freshFor
}
