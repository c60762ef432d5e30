import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { play } from './play.js'
import { writePlans, type Plan } from './plan.js'

const plan: Plan = {
  seed: 3,
  pace: 0.1,
  pushes: 'none',
  skewMs: [10, -10, 0],
  slowness: 0.2,
  options: { entries: { ttl: '1h' }, versioned: false, whenRedisAway: 'refuse' },
  callers: [
    {
      process: 0,
      operations: [
        { do: 'put', key: 'a' },
        { do: 'get', key: 'a' }
      ]
    },
    { process: 1, operations: [{ do: 'getMany' }, { do: 'put', key: 'a' }] }
  ],
  faults: [{ do: 'disconnect', process: 1 }],
  commandFaults: [],
  givenUp: [],
  loads: ['slow'],
  writes: []
}

describe('a run of the modelled fleet', () => {
  it('is the same again with the same seed', async () => {
    const stories: string[] = []
    for (let round = 0; round < 2; round++) {
      const property = fc.asyncProperty(fc.scheduler(), async (scheduler) => {
        stories.push((await play(plan, scheduler)).trace.join('\n'))
      })
      await fc.assert(property, { seed: 5, numRuns: 20 })
    }
    expect(stories.slice(20)).toEqual(stories.slice(0, 20))
    expect(new Set(stories).size).toBeGreaterThan(10)
  })

  it('takes no time: timers fire when the run says so, and Node’s are back afterwards', async () => {
    const real = setTimeout
    await fc.assert(
      fc.asyncProperty(
        writePlans,
        fc.scheduler(),
        async (random, scheduler) => void (await play(random, scheduler))
      ),
      { seed: 5, numRuns: 5 }
    )
    expect(setTimeout).toBe(real)
  })
})
