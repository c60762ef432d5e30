import { expect, it } from 'vitest'
import { explore, INTERLEAVINGS, TIMEOUT_MS } from './explore.js'
import { writePlans } from './plan.js'

it(`in ${INTERLEAVINGS} interleavings of writers, readers and faults, no invariant of writing is broken`, {
  timeout: TIMEOUT_MS
}, async () => {
  const { interleavings, counts } = await explore(writePlans, INTERLEAVINGS)
  expect(interleavings).toBe(INTERLEAVINGS)
  // That nothing was broken says something only where these came up often.
  const often = [
    'lease held by a writer',
    'fill refused',
    'row published',
    'row not published',
    'guard renewal done',
    'guard renewal refused',
    'read from redis',
    'read without Redis'
  ]
  for (const what of often) expect(counts[what], what).toBeGreaterThan(INTERLEAVINGS / 100)
})
