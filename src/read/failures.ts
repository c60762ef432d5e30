import { LRUCache } from 'lru-cache'
import {
  ClosedError,
  LoadFailedElsewhereError,
  LoadTimeoutError,
  OverloadedError,
  textOf,
  type FailureReport
} from '../errors.js'
import type { Clock } from '../clock.js'
import type { Entry, Token } from '../entry.js'

const MOST_REMEMBERED = 1_000

interface Remembered {
  readonly error: unknown
  readonly token: Token
}

/** A value under refresh has no room for a report. */
const UNKNOWN: FailureReport = { name: 'Error', message: 'its last refresh failed in another process' }

/**
 * The errors of loads that failed in this process, for as long as their FAILED marker lives: callers here get the
 * loader's own error, and while Redis is away the marker's purpose is kept in this process at least.
 */
export class Failures {
  readonly #byKey: LRUCache<string, Remembered>

  constructor(clock: Clock) {
    this.#byKey = new LRUCache({
      max: MOST_REMEMBERED,
      ttl: 1,
      ttlResolution: 0,
      perf: { now: () => clock.now() }
    })
  }

  remember(key: string, token: Token, error: unknown, lifeMs: number): void {
    if (lifeMs >= 1) this.#byKey.set(key, { token, error }, { ttl: Math.floor(lifeMs) })
  }

  forget(key: string): void {
    this.#byKey.delete(key)
  }

  forgetAll(isIn: (key: string) => boolean): void {
    for (const key of this.#byKey.keys()) if (isIn(key)) this.#byKey.delete(key)
  }

  /** What to throw when the store says that the last load failed: the loader's own error, if that was here. */
  errorFor(key: string, entry: Entry): unknown {
    const own = this.#byKey.get(key)
    if (entry.state !== 'failed') return own?.error ?? new LoadFailedElsewhereError(key, UNKNOWN)
    return own?.token.equals(entry.token) ? own.error : new LoadFailedElsewhereError(key, entry.report)
  }

  /** Undefined when the last load here did not fail, or long enough ago. */
  recentOf(key: string): Remembered | undefined {
    return this.#byKey.get(key)
  }
}

/** Of this process, and not of the source, which had not its time: another process may do better, and so may the next caller. */
export function isOfThisProcess(error: unknown): boolean {
  if (error instanceof LoadTimeoutError) return error.waitedMs > error.timeoutMs / 2
  return error instanceof ClosedError || error instanceof OverloadedError
}

/** What other processes are told of an error. Bounded by the frame that carries it. */
export function reportOf(error: unknown): FailureReport {
  if (!(error instanceof Error)) return { name: 'Error', message: textOf(error) }
  try {
    return reportOfError(error)
  } catch {
    // A getter of its own threw.
    return { name: 'Error', message: 'an error that cannot be read' }
  }
}

function reportOfError(error: Error): FailureReport {
  const { code } = error as { code?: unknown }
  const report = { name: String(error.name), message: String(error.message) }
  return typeof code === 'string' || typeof code === 'number' ? { ...report, code: String(code) } : report
}
