/** Time and chance, passed in so that a test can hold them still. */
export interface Clock {
  /** Milliseconds of a monotonic clock: good for durations, meaningless as a date. */
  now(): number
  /** Uniform in [0, 1). */
  random(): number
}

export const systemClock: Clock = {
  now: () => performance.now(),
  random: () => Math.random()
}

/** By the global timer, in whose place a test can put one that fires when it says so. */
export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

/** A duration spread evenly over ± `share` of itself, so that things begun together do not end together. */
export function spread(ms: number, share: number, clock: Clock): number {
  return ms * (1 - share + 2 * share * clock.random())
}

/** The longest delay that setTimeout keeps; beyond it Node fires at once. */
export const LONGEST_TIMER_MS = 2 ** 31 - 1
