import fc from 'fast-check'
import { play } from './play.js'
import type { Plan } from './plan.js'
import type { World } from './world.js'

/** More for a longer search, another seed for another one: INTERLEAVINGS=100000 SEED=7 npx vitest run test/deterministic */
export const INTERLEAVINGS = Number(process.env['INTERLEAVINGS'] ?? 10_000)

/** Enough for a machine that has much else to do; where it has very much, PATIENCE=10. */
export const TIMEOUT_MS = (60_000 + INTERLEAVINGS * 200) * Number(process.env['PATIENCE'] ?? 1)

export interface Explored {
  readonly interleavings: number
  readonly steps: number
  /** How often each thing came about. */
  readonly counts: Readonly<Record<string, number>>
}

/**
 * Plays so many plans, each in an order of steps of its own. On a violation it rejects with the smallest plan that it could
 * find, the story of that run, and the seed and path that bring it back.
 */
export function explore(
  plans: fc.Arbitrary<Plan>,
  interleavings: number,
  parameters?: { seed?: number; path?: string }
): Promise<Explored> {
  return exploreWith(play, plans, interleavings, parameters)
}

/** The same for another kind of plan. */
export async function exploreWith<P>(
  playOne: (plan: P, scheduler: fc.Scheduler) => Promise<World>,
  plans: fc.Arbitrary<P>,
  interleavings: number,
  parameters: { seed?: number; path?: string } = environment()
): Promise<Explored> {
  let steps = 0
  let played = 0
  const counts: Record<string, number> = {}
  const property = fc.asyncProperty(plans, fc.scheduler(), async (plan, scheduler) => {
    const world = await playOne(plan, scheduler)
    for (const [what, count] of Object.entries(world.counts)) counts[what] = (counts[what] ?? 0) + count
    steps += world.steps
    played++
  })
  // Making a failure small takes longer than finding it; who only asks whether there is one need not wait for that.
  const endOnFailure = process.env['FIRST_FAILURE'] !== undefined
  await fc.assert(property, {
    numRuns: interleavings,
    endOnFailure,
    ...parameters,
    includeErrorInReport: true
  })
  return { interleavings: played, steps, counts }
}

/** The same orders at every run, so that a change alone can break it; or what a failure printed: SEED=… PLAN=… */
function environment(): { seed?: number; path?: string } {
  const { SEED: seed = '1', PLAN: path } = process.env
  return { seed: Number(seed), ...(path === undefined ? {} : { path }) }
}
