import { expect, it } from 'vitest'
import { explore, INTERLEAVINGS, TIMEOUT_MS } from './explore.js'
import { memoryPlans } from './plan.js'

it(`in ${INTERLEAVINGS} interleavings of readers that keep values, changes and broken news, no invariant of memory is broken`, {
  timeout: TIMEOUT_MS
}, async () => {
  const { interleavings, counts } = await explore(memoryPlans, INTERLEAVINGS)
  expect(interleavings).toBe(INTERLEAVINGS)
  // That nothing was broken says something only where these came up often.
  const often = ['read from memory', 'old from memory, within its bound', 'message lost']
  for (const what of often) expect(counts[what], what).toBeGreaterThan(INTERLEAVINGS / 100)
})
