import { describe, expect, it } from 'vitest'
import { Cell } from './generation.js'

describe('a copy of a counter', () => {
  it('is not undone by "there is none" to a question that was under way while the counter was made', () => {
    const cell = new Cell('a')
    // Asked for at 10 and made, answered at 20; asked for at 15 before it was made, answered at 25.
    cell.apply('7:7', 10, 20)
    cell.apply(null, 15, 25)
    expect(cell).toMatchObject({ hard: 7, soft: 7, askedAtMs: 10 })
  })

  it('is lost when a later question finds none', () => {
    const cell = new Cell('a')
    cell.apply('7:7', 10, 20)
    cell.apply(null, 15, 25)
    cell.apply(null, 21, 26)
    expect(cell.isKnown).toBe(false)
  })

  it('does not go back to what it was before it was moved, whichever answer comes first', () => {
    const [one, other] = [new Cell('a'), new Cell('a')]
    one.apply('8:8', 10, 20)
    one.apply('7:7', 15, 25)
    other.apply('7:7', 15, 20)
    other.apply('8:8', 10, 25)
    expect([one.hard, other.hard]).toEqual([8, 8])
  })

  it('learns of a writer although its number is the same', () => {
    const cell = new Cell('a')
    cell.apply('7:7', 10, 20)
    cell.apply('7:7:ab@99', 15, 25)
    expect(cell.guardedUntilMs).toBe(99)
  })
})
