import { describe, expect, it } from 'vitest'
import { duration, percentile, table } from './report.js'

describe('a percentile', () => {
  it.each([
    [50, 5],
    [99, 10],
    [100, 10],
    [0, 1]
  ])('%d of 1 to 10 is %d', (percent, expected) => {
    expect(percentile([1, 2, 3, 4, 5, 6, 7, 8, 9, 10], percent)).toBe(expected)
  })
})

describe('a duration', () => {
  it.each([
    [0.1234, '0.12 ms'],
    [12.34, '12.3 ms'],
    [123.4, '123 ms'],
    [999.9, '1.00 s'],
    [1420, '1.42 s'],
    [10_000, '10 s'],
    [318_000, '5.3 min']
  ])('of %d ms reads %s', (ms, text) => {
    expect(duration(ms)).toBe(text)
  })
})

it('sets the first column to the left and the others to the right', () => {
  expect(
    table(
      ['name', 'count'],
      [
        ['a', '1'],
        ['longer', '1,000']
      ]
    )
  ).toBe(['  name     count', '  ──────   ─────', '  a            1', '  longer   1,000'].join('\n'))
})
