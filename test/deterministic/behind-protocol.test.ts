import { expect, it } from 'vitest'
import { behindPlans } from './behind-plan.js'
import { playBehind } from './behind-play.js'
import { exploreWith, INTERLEAVINGS, TIMEOUT_MS } from './explore.js'

it(`in ${INTERLEAVINGS} interleavings of producers, workers and faults, no invariant of writing behind is broken`, {
  timeout: TIMEOUT_MS
}, async () => {
  const { interleavings, counts } = await exploreWith(playBehind, behindPlans, INTERLEAVINGS)
  expect(interleavings).toBe(INTERLEAVINGS)
  // That nothing was broken says something only where these came up often.
  expect(counts['accepted']).toBeGreaterThan(INTERLEAVINGS)
  const often = [
    'told unknown',
    'lost by Redis',
    'fenced',
    'waits for a transaction',
    'a reader waits for the flush',
    'counted',
    'counted, told later',
    'refused for good'
  ]
  for (const what of often) expect(counts[what], what).toBeGreaterThan(INTERLEAVINGS / 200)
})
