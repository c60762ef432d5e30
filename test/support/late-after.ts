import { setTimeout as sleep } from 'node:timers/promises'

const STEP_MS = 10

/**
 * Resolves with `late` after so much time in which this process could run. What must be over by then is raced against it, and
 * not measured: a second in which the machine stands still counts as two steps, however long it takes.
 */
export async function lateAfter(ms: number): Promise<'late'> {
  for (let left = ms; left > 0; ) {
    const before = performance.now()
    await sleep(STEP_MS)
    left -= Math.min(performance.now() - before, 2 * STEP_MS)
  }
  return 'late'
}
