import { AsyncLocalStorage } from 'node:async_hooks'
import type { TenantId } from './ports.js'

/** The tenant that a piece of code runs for, whatever it awaits. */
export class AmbientTenant {
  /** Made at first use: on Node 20 and 22 every promise of the process costs more once there is one. */
  #storage: AsyncLocalStorage<TenantId | undefined> | undefined

  run<Result>(tenant: TenantId, work: () => Result): Result {
    this.#storage ??= new AsyncLocalStorage()
    return this.#storage.run(tenant, work)
  }

  /**
   * Runs what loads or changes an entry for the tenant that the entry is of, whoever asked for it. What a loader reads by the
   * way would otherwise be the caller's, and stored in an entry of another tenant, or of all.
   */
  runFor<Result>(tenant: TenantId | undefined, work: () => Result): Result {
    const { current } = this
    return current === undefined || current === tenant ? work() : this.#storage!.run(tenant, work)
  }

  get current(): TenantId | undefined {
    return this.#storage?.getStore()
  }
}
