import { setTimeout as sleep } from 'node:timers/promises'
import type { FaultLog } from './fault-log.js'
import type { ServerFault } from './topology.js'

/** One fault after the other, drawn by their weights, until then. */
export async function strikeServers(
  faults: readonly ServerFault[],
  log: FaultLog,
  random: () => number,
  until: number
): Promise<void> {
  const sum = faults.reduce((total, { weight }) => total + weight, 0)
  while (performance.now() < until) {
    await sleep(200 + 1_300 * random())
    let draw = random() * sum
    const fault = faults.find(({ weight }) => (draw -= weight) < 0) ?? faults[0]!
    if (performance.now() > until) return
    await log.note(fault.what, fault.mayLoseGuards, () => fault.strike(random), fault.failsOver)
  }
}
