import type { Failover } from './failover-watch.js'
import { nowUs, type Fault } from './history.js'
import { MISSED } from './topology.js'

const UNORDERED = 'a failover that nobody ordered'

/** What was broken in the round, and how often each thing was over all of them. */
export class FaultLog {
  readonly #counts: Record<string, number> = {}
  #faults: Fault[] = []
  #failovers: Failover[] = []

  get faults(): readonly Fault[] {
    const unordered = this.#unordered().map(({ from, to }) => ({
      what: UNORDERED,
      from,
      to,
      mayLoseGuards: true,
      failsOver: true
    }))
    return [...this.#faults, ...unordered]
  }

  get counts(): Readonly<Record<string, number>> {
    const unordered = this.#unordered().length
    if (unordered === 0) return this.#counts
    return { ...this.#counts, [UNORDERED]: (this.#counts[UNORDERED] ?? 0) + unordered }
  }

  get struck(): number {
    return Object.values(this.counts).reduce((sum, count) => sum + count, 0)
  }

  newRound(): void {
    for (const _ of this.#unordered()) this.#count(UNORDERED)
    this.#faults = []
    this.#failovers = []
  }

  /** A replica has become a master: by one of the faults here, or of itself. */
  noteFailover(failover: Failover): void {
    this.#failovers.push(failover)
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
    this.#count(what.replace(/ \d+/, ''))
  }

  #count(kind: string): void {
    this.#counts[kind] = (this.#counts[kind] ?? 0) + 1
  }

  /** Those that no fault explains: a master that was stopped for a moment only, and was replaced, is one of them. */
  #unordered(): Failover[] {
    const ordered = this.#faults.filter(({ failsOver }) => failsOver === true)
    return this.#failovers.filter(
      (failover) => !ordered.some(({ from, to }) => from <= failover.to && to >= failover.from)
    )
  }
}
