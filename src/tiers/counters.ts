import type { RedisUnavailableError } from '../errors.js'

/** The counters themselves, in the store. Each method is one atomic step on one counter. */
export interface Counters {
  /** As they stand, in the order of the keys; null for one that is missing, an error for one whose node was silent. */
  ask(keys: readonly string[]): Promise<readonly (string | null | RedisUnavailableError)[]>
  /** As it stands, made if it is missing: with the value `firstUs`, or the store's time. Kept for `lifeMs` at least; 0 for ever. */
  ensure(key: string, firstUs: number | undefined, lifeMs: number): Promise<string>
  /** `hard`: everything loaded before is outdated; `soft`: it is stale; `raise`: only up to `leastUs`. */
  move(
    key: string,
    how: 'hard' | 'soft' | 'raise',
    leastUs: number | undefined,
    lifeMs: number
  ): Promise<string>
  /** Announces a writer, or takes it away with `guardMs` 0; undefined when it was to be renewed and is gone. */
  guard(key: string, guard: CounterGuard): Promise<string | undefined>
}

export interface CounterGuard {
  /** In hexadecimal. */
  readonly token: string
  readonly guardMs: number
  readonly renewal: boolean
  readonly leastUs: number | undefined
  readonly lifeMs: number
}
