import fc from 'fast-check'
import { expect, it } from 'vitest'
import type { Mark } from '../sink.js'
import { advanced, isCovered } from './marks.js'

const SIZE = 8

/** What one server accepted of a batch, in order, and how much of that was applied before the server was lost. */
const attempt = fc.record({
  accepted: fc.uniqueArray(fc.nat(SIZE - 1), { minLength: 1 }).map((all) => all.toSorted((a, b) => a - b)),
  parts: fc.nat(SIZE)
})

it('a mark covers what was applied, and nothing else, however often a batch was accepted in part', () => {
  fc.assert(
    fc.property(fc.array(attempt, { minLength: 1, maxLength: 4 }), (attempts) => {
      const applied = new Set<number>()
      let mark: Mark | undefined = { batch: 1, index: 3, without: [2] }
      for (const { accepted, parts } of attempts) {
        const fresh = accepted.filter((index) => !isCovered(mark, 2, index))
        expect(fresh.filter((index) => applied.has(index))).toEqual([])
        // A poison divides it, and each part is applied for itself.
        const [first, rest] = [fresh.slice(0, parts), fresh.slice(parts)]
        for (const part of [first, rest]) {
          if (part.length === 0) continue
          mark = advanced(mark, 2, part)
          for (const index of part) applied.add(index)
        }
      }
      for (let index = 0; index < SIZE; index++) expect(isCovered(mark, 2, index)).toBe(applied.has(index))
      expect(isCovered(mark, 1, 2)).toBe(applied.size > 0)
      expect(isCovered(mark, 3, 0)).toBe(false)
    })
  )
})

it('a mark does not go back', () => {
  const mark = { batch: 5, index: 1, without: [0] }
  expect(advanced(mark, 4, [7])).toBe(mark)
})
