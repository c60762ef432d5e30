import { toMilliseconds } from './durations.js'
import { InvalidOptionError, UnknownOptionError } from './errors.js'

export const NAME = /^[A-Za-z0-9_.-]{1,64}$/
export const NAME_FORM = "1 to 64 letters, digits, '_', '.' or '-'"

export function assertKnown(options: unknown, names: readonly string[], of: string): void {
  if (typeof options !== 'object' || options === null || Array.isArray(options)) {
    throw new InvalidOptionError(`options of ${of}`, options, 'an object')
  }
  for (const name of Object.keys(options)) {
    if (!names.includes(name)) throw new UnknownOptionError(name, names)
  }
}

export function durationOr(given: unknown, option: string, fallbackMs: number, leastMs = 0): number {
  return given === undefined ? fallbackMs : toMilliseconds(given, option, leastMs)
}

export function leaseOr(given: unknown, option: string, fallbackMs: number): number {
  return atMostAMinute(durationOr(given, option, fallbackMs, 50), given, option)
}

/** A lease that is longer is taken for damage, by the scripts in Redis. */
export function atMostAMinute(ms: number, given: unknown, option: string): number {
  if (ms <= 60_000) return ms
  throw new InvalidOptionError(option, given, 'at most 60 s')
}

export function numberOr(
  given: unknown,
  option: string,
  fallback: number,
  least: number,
  most: number
): number {
  if (given === undefined) return fallback
  if (typeof given === 'number' && given >= least && given <= most) return given
  throw new InvalidOptionError(option, given, `a number from ${least} to ${most}`)
}

export function wholeOr(
  given: unknown,
  option: string,
  fallback: number,
  least: number,
  most = Number.MAX_SAFE_INTEGER
): number {
  if (given === undefined) return fallback
  if (Number.isInteger(given) && (given as number) >= least && (given as number) <= most)
    return given as number
  throw new InvalidOptionError(option, given, `a whole number from ${least} to ${most}`)
}

export function checkIterable(given: unknown, option: string, needed: string): void {
  const isIterable = typeof (given as Partial<Iterable<unknown>> | null)?.[Symbol.iterator] === 'function'
  if (typeof given === 'string' || !isIterable) throw new InvalidOptionError(option, given, needed)
}

export function checkName(name: unknown, what: string): asserts name is string {
  if (typeof name === 'string' && NAME.test(name) && name !== 'tenant') return
  // `tenant` marks the keys of tenants: a collection of that name would share their prefix.
  throw new InvalidOptionError(what, name, `${NAME_FORM}, and not 'tenant'`)
}
