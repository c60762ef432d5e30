import { expect, it } from 'vitest'
import { systemClock } from '../clock.js'
import { reconnectDelayMs } from './client.js'

it('the processes of a fleet come back soon, each at a moment of its own, and not in step (#103)', () => {
  for (const attempt of [1, 2, 5, 10, 1_000]) {
    const delays = Array.from({ length: 1_000 }, () => reconnectDelayMs(attempt, systemClock))
    const most = Math.max(...delays)
    expect(most).toBeLessThanOrEqual(500)
    expect(Math.min(...delays)).toBeGreaterThanOrEqual(25)
    // Spread over the second half of the time, so that no tenth of it has a third of them.
    const tenths = Array.from({ length: 10 }, () => 0)
    for (const delay of delays) tenths[Math.min(9, Math.max(0, Math.floor((delay / most - 0.5) * 20)))]!++
    expect(Math.max(...tenths)).toBeLessThan(333)
  }
})
