import { describe, expect, it } from 'vitest'
import { toMilliseconds } from './durations.js'
import { InvalidOptionError } from './errors.js'

describe('durations', () => {
  it.each([
    [250, 250],
    ['250ms', 250],
    ['30s', 30_000],
    ['5m', 300_000],
    ['1h', 3_600_000],
    ['7d', 604_800_000],
    ['1.5s', 1_500],
    [0, 0]
  ])('%s is %i ms', (given, ms) => expect(toMilliseconds(given, 'ttl')).toBe(ms))

  it.each([
    Number.NaN,
    -1,
    Number.POSITIVE_INFINITY,
    '',
    '5',
    '5 s',
    '-5s',
    '1w',
    's',
    null,
    undefined,
    {},
    5n,
    '99999d'
  ])('refuses %s, and names the option', (bad) => {
    expect(() => toMilliseconds(bad, 'ttl')).toThrow(InvalidOptionError)
    expect(() => toMilliseconds(bad, 'ttl')).toThrow(/"ttl".*needed: a duration/)
  })
})
