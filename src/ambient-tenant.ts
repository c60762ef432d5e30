import { AsyncLocalStorage } from 'node:async_hooks'
import type { TenantId } from './ports.js'

/** The tenant that a piece of code runs for, whatever it awaits. */
export class AmbientTenant {
  /** Made at first use: on Node 20 and 22 every promise of the process costs more once there is one. */
  #storage: AsyncLocalStorage<TenantId> | undefined

  run<Result>(tenant: TenantId, work: () => Result): Result {
    this.#storage ??= new AsyncLocalStorage()
    return this.#storage.run(tenant, work)
  }

  get current(): TenantId | undefined {
    return this.#storage?.getStore()
  }
}
