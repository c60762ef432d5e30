import { describe, expect, it } from 'vitest'
import { Cell } from './generation.js'

/** A counter before a clear, and after it. */
const [BEFORE, AFTER] = ['1000:1000', '2000:2000']

const cellWith = (text: string, askedAtMs: number, answeredAtMs: number): Cell => {
  const cell = new Cell('shop:#gen')
  cell.apply(text, askedAtMs, answeredAtMs)
  return cell
}

describe('the copy of a counter', () => {
  it('is not undone by an answer to a question that was asked before, and comes later', () => {
    const cell = cellWith(AFTER, 20, 25)
    cell.apply(BEFORE, 10, 30)
    expect([cell.hard, cell.askedAtMs]).toEqual([2_000, 20])
    cell.apply(null, 15, 35)
    expect(cell.hard).toBe(2_000)
  })

  it('is not undone by one that was asked while the newer answer was under way', () => {
    const cell = cellWith(AFTER, 20, 40)
    cell.apply(BEFORE, 30, 45)
    expect([cell.hard, cell.askedAtMs]).toEqual([2_000, 20])
  })

  it('is a lower one, or none, when that was asked after the answer had come: the counter was lost', () => {
    const cell = cellWith(AFTER, 20, 25)
    cell.apply(BEFORE, 30, 35)
    expect(cell.hard).toBe(1_000)
    cell.apply(null, 40, 45)
    expect([cell.isKnown, cell.askedAtMs]).toEqual([false, 40])
  })

  it('has another version after all that may have changed it, since what is kept goes by that', () => {
    const cell = cellWith(BEFORE, 20, 25)
    const happens: readonly (() => void)[] = [
      () => cell.happened(),
      () => (cell.undelivered = true),
      () => (cell.undelivered = false),
      () => cell.forget(),
      () => cell.apply(AFTER, 30, 35),
      () => cell.apply(null, 40, 45)
    ]
    for (const happen of happens) {
      const before = cell.version
      happen()
      expect(cell.version).toBeGreaterThan(before)
    }
  })
})
