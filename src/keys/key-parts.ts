import { partsOf } from './key-schema.js'

/** What a key of Corral's says; the reverse of `key-schema.ts`, for those who look at a Redis from outside. */
export interface KeyParts {
  readonly namespace: string
  /** As it stands in the key, escaped. */
  readonly tenant: string | undefined
  /** `~` for what was stored without a collection. */
  readonly collection: string
  /** As it stands in the key, escaped. */
  readonly id: string
}

/** Undefined for a key that no collection has: another program's, or one of Corral's own that holds no entry. */
export function partsOfKey(key: string): KeyParts | undefined {
  const parts = partsOf(key)
  const namespace = key.slice(0, key.indexOf(':'))
  if (parts === undefined || namespace === '' || isInternal(parts.collection)) return undefined
  return { namespace, ...parts }
}

/** Counters, streams and the like: no collection's name begins so. */
export function isInternalKey(key: string): boolean {
  return isInternal(key.split(':')[1])
}

/** A part that was hashed for its length begins with the same character, and is told by its own. */
const INTERNAL_PART = /:#(?![A-Za-z0-9_-]{43}(:|$))/

/** The same wherever it stands, for a key that may have something of a driver's `keyPrefix` before its namespace. */
export function mayBeInternalKey(key: string): boolean {
  return INTERNAL_PART.test(key)
}

function isInternal(part: string | undefined): boolean {
  return part?.startsWith('#') === true
}

/** The start of all keys of a namespace, a tenant, a collection, or a tenant's collection; parts as they stand in keys. */
export function scopePrefix(scope: {
  readonly namespace: string
  readonly tenant?: string | undefined
  readonly collection?: string | undefined
}): string {
  const { namespace, tenant, collection } = scope
  const start = tenant === undefined ? `${namespace}:` : `${namespace}:tenant:${tenant}:`
  return collection === undefined ? start : `${start}${collection}:`
}

/** A text in a MATCH pattern that stands for itself. */
export function escapedGlob(text: string): string {
  return text.replaceAll(/[\\*?[\]]/g, '\\$&')
}
