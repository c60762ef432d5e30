/** What every tenant takes, as the processes of a fleet know it together. */
export interface UsageLedger {
  /** Adds to what is noted, and answers with what is noted now, and when it was last counted. */
  update(changes: ReadonlyMap<string, number>): Promise<LedgerState>
  /** What is noted of every tenant. */
  all(): Promise<LedgerState>
  /**
   * Adds what a count has found to be missing, or too much, in the ledger as it stood `since` then. Nothing when another count
   * has ended meanwhile, which has added that already, or when the ledger was lost.
   */
  correct(
    corrections: ReadonlyMap<string, number>,
    { since, countedAt }: { readonly since: string; readonly countedAt: string }
  ): Promise<void>
  /** Whether this process should count now: one in the fleet at a time, and not again for `everyMs`. */
  isMyTurn(everyMs: number): Promise<boolean>
  /** A count goes on: nobody else is to begin one for `everyMs` more. */
  keepTurn(everyMs: number): Promise<void>
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

  async all(): Promise<LedgerState> {
    return { bytes: new Map(this.#bytes), countedAt: this.#countedAt }
  }

  async correct(
    corrections: ReadonlyMap<string, number>,
    { since, countedAt }: { readonly since: string; readonly countedAt: string }
  ): Promise<void> {
    if (this.#countedAt !== since) return
    for (const [tenant, correction] of corrections) {
      const bytes = (this.#bytes.get(tenant) ?? 0) + correction
      if (bytes === 0) this.#bytes.delete(tenant)
      else this.#bytes.set(tenant, bytes)
    }
    this.#countedAt = countedAt
  }

  async isMyTurn(everyMs: number): Promise<boolean> {
    if (this.#nowMs() < this.#nextTurnMs) return false
    await this.keepTurn(everyMs)
    return true
  }

  async keepTurn(everyMs: number): Promise<void> {
    this.#nextTurnMs = this.#nowMs() + everyMs
  }
}
