import { nowUs, type Fault } from './history.js'
import { MISSED } from './topology.js'

/** What was broken in the round, and how often each thing was over all of them. */
export class FaultLog {
  readonly counts: Record<string, number> = {}
  #faults: Fault[] = []

  get faults(): readonly Fault[] {
    return this.#faults
  }

  get struck(): number {
    return Object.values(this.counts).reduce((sum, count) => sum + count, 0)
  }

  newRound(): void {
    this.#faults = []
  }

  /** Runs `strike`, which resolves when the fault is over; it counts unless it answers `MISSED`. */
  async note(
    what: string,
    mayLoseGuards: boolean,
    strike: () => Promise<unknown>,
    failsOver = false
  ): Promise<void> {
    const fault: Fault = { what, from: nowUs(), to: Number.POSITIVE_INFINITY, mayLoseGuards, failsOver }
    this.#faults.push(fault)
    if ((await strike()) === MISSED) {
      this.#faults = this.#faults.filter((one) => one !== fault)
      return
    }
    fault.to = nowUs()
    const kind = what.replace(/ \d+/, '')
    this.counts[kind] = (this.counts[kind] ?? 0) + 1
  }
}
