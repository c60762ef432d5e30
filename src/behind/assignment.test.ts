import fc from 'fast-check'
import { expect, it } from 'vitest'
import { shardsOfWorker } from './assignment.js'

it('gives each shard to one worker, and each worker as many as the others, give or take one', () => {
  const names = fc.uniqueArray(fc.string({ minLength: 1 }), { minLength: 1, maxLength: 9 })
  fc.assert(
    fc.property(names, fc.string(), fc.integer({ min: 1, max: 64 }), (workers, queue, shards) => {
      const parts = workers.map((worker) => shardsOfWorker(worker, [...workers].reverse(), queue, shards))
      expect(parts.flat().sort((a, b) => a - b)).toEqual(Array.from({ length: shards }, (_, shard) => shard))
      const sizes = parts.map((part) => part.length)
      expect(Math.max(...sizes) - Math.min(...sizes)).toBeLessThanOrEqual(1)
    })
  )
})

it('gives nothing to a worker that does not count any more', () => {
  expect(shardsOfWorker('a', ['b', 'c'], 'views', 8)).toEqual([])
})
