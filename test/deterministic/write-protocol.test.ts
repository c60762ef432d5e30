import { expect, it } from 'vitest'
import { explore, INTERLEAVINGS } from './explore.js'
import { writePlans } from './plan.js'

it(`in ${INTERLEAVINGS} interleavings of writers, readers and faults, no invariant of writing is broken`, {
  // Enough for a machine that has much else to do.
  timeout: 60_000 + INTERLEAVINGS * 60
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
