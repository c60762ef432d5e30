import type { Mark } from '../sink.js'

/**
 * Whether an operation has been applied. A batch may be accepted in part, and be sent again, under its number, to a Redis that
 * has forgotten it and accepts more of it: what was refused the first time is not applied, whatever came after it was.
 */
export function isCovered(mark: Mark | undefined, batch: number, index: number): boolean {
  if (mark === undefined || batch > mark.batch) return false
  if (batch < mark.batch) return true
  return index <= mark.index && !mark.without.includes(index)
}

/** The mark when these operations of a batch are applied too. Indexes are those that are new, in order. */
export function advanced(mark: Mark | undefined, batch: number, indexes: readonly number[]): Mark {
  if (mark !== undefined && mark.batch > batch) return mark
  const before = mark?.batch === batch ? mark : undefined
  const index = Math.max(before?.index ?? -1, indexes.at(-1)!)
  const applied = new Set(indexes)
  const without: number[] = []
  for (let at = 0; at <= index; at++) if (!applied.has(at) && !isCovered(before, batch, at)) without.push(at)
  return { batch, index, without }
}
