import { AsyncLocalStorage } from 'node:async_hooks'
import type { Awaitable, TenantId } from './ports.js'

interface Held {
  tenant: TenantId | undefined
}

/** The tenant that a piece of code runs for, whatever it awaits. */
export class AmbientTenant {
  /** On Node 20 and 22 every promise of the process costs more while it is in use: from the first `run` on, or during a load. */
  readonly #storage = new AsyncLocalStorage<Held>()
  #isRunUsed = false
  /** Loads and changes under way for a tenant that was named, in a process that has never used `run`. */
  #underWay = 0

  run<Result>(tenant: TenantId, work: () => Result): Result {
    this.#isRunUsed = true
    return this.#storage.run({ tenant }, work)
  }

  /**
   * Runs what loads or changes an entry for the tenant that the entry is of, whoever asked for it. What a loader reads by the
   * way would otherwise be the caller's, and stored in an entry of another tenant, or of all; and of two callers who share
   * a load, one inside of `runAs` and one who named the tenant, the first would decide.
   */
  runFor<Result>(tenant: TenantId | undefined, work: () => Awaitable<Result>): Awaitable<Result> {
    if (tenant === undefined && this.current === undefined) return work()
    // Inside of another one of the tenant too: that may be over first.
    return this.#isRunUsed ? this.#storage.run({ tenant }, work) : this.#runAlone({ tenant }, work)
  }

  get current(): TenantId | undefined {
    return this.#isRunUsed || this.#underWay > 0 ? this.#storage.getStore()?.tenant : undefined
  }

  async #runAlone<Result>(held: Held, work: () => Awaitable<Result>): Promise<Result> {
    this.#underWay++
    try {
      return await this.#storage.run(held, work)
    } finally {
      // What was left behind, such as a timer or a connection, runs in it still: whenever another one is under way it would be
      // for this tenant, and else for none.
      held.tenant = undefined
      this.#underWay--
      if (this.#underWay === 0 && !this.#isRunUsed) this.#storage.disable()
    }
  }
}
