import { CorruptEntryError } from '../errors.js'
import type { CacheId, TenantId } from '../ports.js'
import type { SinkOperation } from '../sink.js'

/** An operation with its value decoded, and the key that says what it is about. */
export type Decoded =
  | {
      readonly kind: 'put'
      readonly key: string
      readonly id: CacheId
      readonly tenant: TenantId | undefined
      readonly value: unknown
    }
  | {
      readonly kind: 'increment'
      readonly key: string
      readonly id: CacheId
      readonly tenant: TenantId | undefined
      readonly by: number
    }
  | {
      readonly kind: 'delete'
      readonly key: string
      readonly id: CacheId
      readonly tenant: TenantId | undefined
    }
  | { readonly kind: 'append'; readonly tenant: TenantId | undefined; readonly value: unknown }

/**
 * The same effect with at most one operation of a key: one ordered map, in which a deletion is an operation like any
 * other, so that "put, delete" leaves no row and "delete, put" leaves one. Events all stay.
 *
 * @param everyPut of a key all puts stay that follow one another: which of the rows is the latest is the sink's to say
 */
export function coalesce(operations: Iterable<Decoded>, everyPut = false): SinkOperation[] {
  const byKey = new Map<string, SinkOperation[]>()
  const events: SinkOperation[] = []
  for (const operation of operations) {
    if (operation.kind === 'append') {
      events.push({ kind: 'append', tenant: operation.tenant, value: operation.value })
      continue
    }
    const { key } = operation
    const known = byKey.get(key) ?? []
    const before = known.at(-1)
    const merged = after(before, operation)
    if (everyPut && operation.kind === 'put' && before?.kind === 'put') known.push(merged)
    // What was not there comes in the order of first mention; the order between keys means nothing.
    else byKey.set(key, [merged])
  }
  return [...[...byKey.values()].flat(), ...events]
}

function after(before: SinkOperation | undefined, next: Exclude<Decoded, { kind: 'append' }>): SinkOperation {
  const { id, tenant } = next
  switch (next.kind) {
    case 'delete':
      return { kind: 'delete', id, tenant }
    case 'put': {
      const replaces = before?.kind === 'delete' || (before?.kind === 'put' && before.replaces)
      return { kind: 'put', id, tenant, value: next.value, replaces }
    }
    case 'increment': {
      const { by } = next
      if (before?.kind === 'increment') return { kind: 'increment', id, tenant, by: before.by + by }
      if (before?.kind === 'delete') return { kind: 'put', id, tenant, value: by, replaces: true }
      if (before?.kind === 'put') return { ...before, value: numberIn(before.value) + by }
      return { kind: 'increment', id, tenant, by }
    }
  }
}

/** A dead letter that is sent again may be what no number can be added to: then each of the two is applied alone. */
function numberIn(value: unknown): number {
  if (typeof value === 'number') return value
  throw new CorruptEntryError('something is added to what is no number')
}
