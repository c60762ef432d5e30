import type { RedisErrorClass, SeenError } from '../health.js'
import type { RedisTrouble } from './error-class.js'

/** A misconfiguration that was not met for so long counts as mended. */
const REMEMBERED_MS = 60_000
/** Codes are words of Redis', so there are few; this is for a server that invents them. */
const MOST_CODES = 32

/** The latest trouble of each class, and which misconfigurations are still met. */
export class TroubleLog {
  readonly #byClass = new Map<RedisErrorClass, SeenError>()
  readonly #misconfigured = new Map<string, { readonly trouble: RedisTrouble; readonly atMs: number }>()

  /** True for a misconfiguration that was not being met: worth telling somebody. */
  note(trouble: RedisTrouble, nowMs: number): boolean {
    const { errorClass, code, message } = trouble
    const count = (this.#byClass.get(errorClass)?.count ?? 0) + 1
    this.#byClass.set(errorClass, { code, message, count, at: new Date() })
    if (errorClass !== 'misconfigured') return false
    const before = this.#misconfigured.get(code)
    if (before === undefined && this.#misconfigured.size >= MOST_CODES) this.#misconfigured.clear()
    this.#misconfigured.set(code, { trouble, atMs: nowMs })
    return before === undefined || nowMs - before.atMs > REMEMBERED_MS
  }

  get errors(): Partial<Record<RedisErrorClass, SeenError>> {
    return Object.fromEntries(this.#byClass)
  }

  /** What has to be changed by somebody, by what was met lately. */
  problems(nowMs: number): string[] {
    const lately = [...this.#misconfigured.values()].filter(({ atMs }) => nowMs - atMs <= REMEMBERED_MS)
    return lately.map(({ trouble }) => sentenceOf(trouble))
  }
}

export function sentenceOf({ message, advice }: RedisTrouble): string {
  return advice === undefined ? `Redis: ${message}` : `Redis: ${message} (${advice})`
}
