import { idPart, isTenantPart } from '../admin/names.js'
import { UsageError } from './exit.js'
import type { Scope } from '../admin/survey.js'
import { requiredNamespace, type Settings } from './config.js'

export interface ScopeFlags {
  readonly tenant?: string
  readonly collection?: string
}

const COLLECTION = /^([A-Za-z0-9_.-]{1,64}|~)$/

/** With its namespace and without the driver's `keyPrefix`, however it was given: as it stands in Redis, or without either. */
export function fullKey(key: string, { namespace, target: { keyPrefix = '' } }: Settings): string {
  const start = namespace === undefined ? '' : `${namespace}:`
  if (keyPrefix !== '' && key.startsWith(keyPrefix + start)) return key.slice(keyPrefix.length)
  return key.startsWith(start) ? key : start + key
}

export function scopeOf(flags: ScopeFlags, settings: Settings): Scope {
  const namespace = requiredNamespace(settings)
  const { tenant, collection } = flags
  if (collection !== undefined && (!COLLECTION.test(collection) || collection === 'tenant')) {
    throw new UsageError(
      `--collection is "${collection}"; needed: the name of a collection, or ~ for what has none.`
    )
  }
  return { namespace, collection, tenant: tenant === undefined ? undefined : tenantAsInKey(tenant) }
}

/** As it stands in keys, where the number 7 is 7 and the text is '7'. What no tenant is written as, such as 007, is a text. */
function tenantAsInKey(tenant: string): string {
  if (tenant === '') throw new UsageError('--tenant is empty.')
  return isTenantPart(tenant) ? tenant : idPart(tenant)
}

/** In words, for questions and reports. */
export function scopeText({ namespace, tenant, collection }: Scope): string {
  const what = collection === undefined ? 'everything' : `the collection ${collection}`
  const whose =
    tenant === undefined
      ? collection === undefined
        ? ''
        : ', of every tenant and of none'
      : ` of tenant ${tenant}`
  return `${what}${whose} in ${namespace}`
}
