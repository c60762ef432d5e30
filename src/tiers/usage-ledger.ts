/** What every tenant takes, as the processes of a fleet know it together. */
export interface UsageLedger {
  /** Adds to what is noted, and answers with what is noted now, and when it was last counted. */
  update(changes: ReadonlyMap<string, number>): Promise<LedgerState>
  /** What is noted of every tenant. */
  all(): Promise<ReadonlyMap<string, number>>
  /** Adds what a count has found to be missing, or too much. */
  correct(corrections: ReadonlyMap<string, number>, countedAt: string): Promise<void>
  /** Whether this process should count now: one in the fleet at a time, and not again for `everyMs`. */
  isMyTurn(everyMs: number): Promise<boolean>
}

export interface LedgerState {
  readonly bytes: ReadonlyMap<string, number>
  readonly countedAt: string
}

/** For a cache without Redis. */
export class LocalLedger implements UsageLedger {
  readonly #bytes = new Map<string, number>()
  #countedAt = ''
  #nextTurnMs = 0
  readonly #nowMs: () => number

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs
  }

  async update(changes: ReadonlyMap<string, number>): Promise<LedgerState> {
    for (const [tenant, change] of changes) {
      this.#bytes.set(tenant, (this.#bytes.get(tenant) ?? 0) + change)
    }
    return { bytes: this.#bytes, countedAt: this.#countedAt }
  }

  async all(): Promise<ReadonlyMap<string, number>> {
    return new Map(this.#bytes)
  }

  async correct(corrections: ReadonlyMap<string, number>, countedAt: string): Promise<void> {
    for (const [tenant, correction] of corrections) {
      const bytes = (this.#bytes.get(tenant) ?? 0) + correction
      if (bytes === 0) this.#bytes.delete(tenant)
      else this.#bytes.set(tenant, bytes)
    }
    this.#countedAt = countedAt
  }

  async isMyTurn(everyMs: number): Promise<boolean> {
    if (this.#nowMs() < this.#nextTurnMs) return false
    this.#nextTurnMs = this.#nowMs() + everyMs
    return true
  }
}
