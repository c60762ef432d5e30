import { expect, it } from 'vitest'
import { explore, INTERLEAVINGS, TIMEOUT_MS } from './explore.js'
import { readPlans } from './plan.js'

it(`in ${INTERLEAVINGS} interleavings of readers, faults and invalidations, no invariant of reading is broken`, {
  timeout: TIMEOUT_MS
}, async () => {
  const { interleavings, counts } = await explore(readPlans, INTERLEAVINGS)
  expect(interleavings).toBe(INTERLEAVINGS)
  // That nothing was broken says something only where these came up often.
  const often = [
    'lease held by a loader',
    'lease renewal refused',
    'fill refused',
    'failure marked',
    'failure refused',
    'read from redis',
    'read from stale',
    'read without Redis'
  ]
  for (const what of often) expect(counts[what], what).toBeGreaterThan(INTERLEAVINGS / 100)
})
