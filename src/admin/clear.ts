import { createCache, type Cache, type Cleaning } from '../index.js'
import { AD_HOC } from '../keys/key-schema.js'
import { parseId } from '../keys/parse-id.js'
import type { TenantId } from '../ports.js'
import type { Operator } from '../redis/operator.js'
import { doubtOf } from '../redis/shard-stream.js'
import type { Progress, Scope } from './survey.js'

export interface ClearRequest {
  readonly scope: Scope
  /** Values become stale instead of worthless. */
  readonly soft: boolean
  /** Entries that there are, by a count before: for the progress. */
  readonly expected: number
  readonly timeoutMs: number
  readonly progress?: Progress
  /** Called at the moment from which on nobody is served what was loaded before. */
  readonly onCleared?: () => void
}

/** Why a scope cannot be cleared as a whole. */
export class CannotClear extends Error {}

/**
 * Clears a scope as the library does it: from one moment on nobody is served what was loaded before, in any process;
 * then what has become worthless is removed, page by page. Gives how many entries were removed.
 */
export async function clearScope(operator: Operator, request: ClearRequest): Promise<number> {
  const { scope, soft, expected, timeoutMs, progress, onCleared } = request
  const cache = createCache({
    redis: operator.driver(),
    namespace: scope.namespace,
    commandTimeout: timeoutMs
  })
  try {
    cache.on('cleaning', ({ removed }) => progress?.(removed, expected))
    const cleaning = await clear(cache, scope, soft).catch((error: unknown) => {
      // Its answer was lost, or is late.
      if (doubtOf(error) === 'unknown')
        throw new Error('Nobody knows whether it is cleared, so clear it again:', { cause: error })
      // Such as that this is a replica.
      const { reason } = cache.health().redis
      throw reason === undefined ? error : new Error(`Nothing was cleared: ${reason}.`)
    })
    onCleared?.()
    const { outcome, removed, error } = await cleaning.finished
    if (outcome === 'failed')
      throw new Error(
        'It is cleared, and what is left of it in Redis goes when it expires. Removing it failed:',
        {
          cause: error
        }
      )
    return removed
  } finally {
    await cache.close()
  }
}

function clear(cache: Cache, { tenant: part, collection: name }: Scope, soft: boolean): Promise<Cleaning> {
  const tenant = part === undefined ? undefined : tenantOf(part)
  if (name === undefined || name === AD_HOC) {
    const all = tenant === undefined ? cache : cache.tenant(tenant)
    return all.clear({ soft, collections: name === undefined })
  }
  const collection = cache.collection(name, { ttl: 1, load: (_id: number): undefined => undefined })
  return (tenant === undefined ? collection : collection.tenant(tenant)).clear({ soft })
}

function tenantOf(part: string): TenantId {
  const tenant = parseId(part)
  if (tenant === undefined) {
    throw new CannotClear(
      `The tenant ${part} is too long to stand in its keys; clear it from a program, by cache.tenant(…).clear().`
    )
  }
  return tenant as TenantId
}
