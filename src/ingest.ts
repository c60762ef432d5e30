import type { AmbientTenant } from './ambient-tenant.js'
import type { Queue } from './behind/queue.js'
import type { Ingest, IngestAppends } from './cache.js'
import { InvalidKeyError, TenantRequiredError } from './errors.js'
import type { Tenancy } from './options.js'
import type { TenantId } from './ports.js'

/** What `cache.ingest` gives: events into a queue, of the tenant that is named, or that the calling code runs for. */
export function ingestInto<Value>(
  queue: Queue,
  tenancy: Tenancy,
  ambient: AmbientTenant
): Ingest<Value, Tenancy> {
  const { name } = queue
  const of = (tenant: TenantId | undefined): IngestAppends<Value> => ({
    name,
    append: async (event) => {
      const whose = tenant ?? ambient.current
      if (whose === undefined && tenancy === 'required') throw new TenantRequiredError(`"${name}"`)
      await queue.append(event, whose)
    }
  })
  return {
    ...of(undefined),
    tenant: (tenant: TenantId) => {
      if (tenant === undefined)
        throw new InvalidKeyError('The tenant', tenant, 'a string, a number or a bigint')
      return of(tenant)
    }
  }
}
