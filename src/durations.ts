import { InvalidOptionError } from './errors.js'

/** Milliseconds as a number, or a whole or decimal number with its unit: `'250ms'`, `'30s'`, `'5m'`, `'1h'`, `'7d'`. */
export type Duration = number | `${number}${'ms' | 's' | 'm' | 'h' | 'd'}`

const UNIT_MS: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 }
const FORM = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/

/** Ten years: longer than any cache entry lives, and small enough for every field and timer that carries a duration. */
export const LONGEST_DURATION_MS = 10 * 365 * 86_400_000

/** The duration in whole milliseconds; throws `InvalidOptionError` naming `option` when it is malformed or out of range. */
export function toMilliseconds(duration: unknown, option: string, leastMs = 0): number {
  const ms = typeof duration === 'string' ? parse(duration) : duration
  if (typeof ms !== 'number' || !(ms >= leastMs && ms <= LONGEST_DURATION_MS)) {
    throw new InvalidOptionError(
      option,
      duration,
      `a duration of at least ${leastMs} ms and at most 10 years, as milliseconds or like '250ms', '30s', '5m', '1h', '7d'`
    )
  }
  return Math.round(ms)
}

function parse(text: string): number {
  const match = FORM.exec(text)
  return match ? Number(match[1]) * UNIT_MS[match[2]!]! : Number.NaN
}
