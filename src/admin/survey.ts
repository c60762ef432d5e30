import { isInternalKey, partsOfKey, scopePrefix } from '../keys/key-parts.js'
import type { Operator, RedisNode } from '../redis/operator.js'
import { scanPages } from './scan.js'

/** Which keys: of a namespace, and in it of a tenant, a collection, or both. Parts as they stand in keys. */
export interface Scope {
  readonly namespace: string
  readonly tenant?: string | undefined
  /** Without a tenant: of no tenant and of every tenant. */
  readonly collection?: string | undefined
}

export interface GroupCount {
  readonly tenant: string | undefined
  /** Undefined for keys that are none of a collection's. */
  readonly collection: string | undefined
  keys: number
  bytes: number
}

export interface Survey {
  readonly groups: readonly GroupCount[]
  readonly keys: number
  readonly bytes: number
  /** Counters, streams and the like, which are no entries. */
  readonly internalKeys: number
  /** Keys of which Redis did not tell the size, which some services refuse: they are not in `bytes`. */
  readonly unsized: number
}

export type Progress = (done: number, total: number) => void

/**
 * The keys of a scope, a page at a time. A collection without a tenant is found under every tenant as well: then the whole
 * namespace is scanned.
 */
export async function* keysInScope(
  operator: Operator,
  scope: Scope,
  progress?: Progress,
  onLost?: (node: string) => void
): AsyncGenerator<{ readonly node: RedisNode; readonly keys: readonly string[] }> {
  const { namespace, tenant } = scope
  const prefix = scopePrefix(tenant === undefined ? { namespace } : scope)
  for await (const { node, keys, scanned, total } of scanPages(operator, { prefix, onLost })) {
    const wanted = keys.filter((key) => isInScope(key, scope))
    progress?.(scanned, total)
    if (wanted.length > 0) yield { node, keys: wanted }
  }
}

function isInScope(key: string, scope: Scope): boolean {
  if (scope.collection === undefined) return true
  return partsOfKey(key)?.collection === scope.collection
}

/**
 * How many keys there are of each collection and tenant, and what they take of Redis' memory. While Redis resizes its
 * table SCAN may bring a key twice, which then counts twice: to remember all of them would take more than the answer is worth.
 */
export async function surveyKeys(
  operator: Operator,
  scope: Scope,
  progress?: Progress,
  onLost?: (node: string) => void
): Promise<Survey> {
  const groups = new Map<string, GroupCount>()
  let [total, totalBytes, internalKeys, unsized] = [0, 0, 0, 0]
  for await (const { node, keys } of keysInScope(operator, scope, progress, onLost)) {
    const sizes = await node.pipeline(
      keys.map((key) => ['MEMORY', 'USAGE', operator.keyPrefix + key] as const)
    )
    for (const [index, key] of keys.entries()) {
      const size = sizes[index]
      const bytes = size instanceof Error || size === null ? 0 : Number(size)
      if (size instanceof Error) unsized++
      total++
      totalBytes += bytes
      if (isInternalKey(key)) internalKeys++
      const parts = partsOfKey(key)
      const name = JSON.stringify([parts?.tenant, parts?.collection])
      const group = groups.get(name) ?? {
        tenant: parts?.tenant,
        collection: parts?.collection,
        keys: 0,
        bytes: 0
      }
      groups.set(name, group)
      group.keys++
      group.bytes += bytes
    }
  }
  const sorted = [...groups.values()].sort((a, b) => b.bytes - a.bytes || b.keys - a.keys)
  return { groups: sorted, keys: total, bytes: totalBytes, internalKeys, unsized }
}
