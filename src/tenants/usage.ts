import { entriesOf, partsOf, type Area } from '../keys/key-schema.js'
import type { EntryStore } from '../tiers/entry-store.js'

/** What a tenant's entries come to, those being loaded and those that are outdated but not yet removed included. */
export interface Usage {
  readonly entries: number
  /** Keys and values, and 64 bytes for what Redis keeps beside each; not what its allocator rounds up. */
  readonly bytes: number
}

const PAGE = 500
/** A dictionary entry, an object header and an expiry, in Redis 7 on 64 bits. */
const BESIDE_AN_ENTRY_BYTES = 64

/** Counts the entries of an area page by page: exact for what stands still, approximate for the rest. */
export async function measure(store: EntryStore, area: Area): Promise<Usage> {
  let [entries, bytes] = [0, 0]
  for await (const [, usage] of pagesOf(store, area)) {
    entries += usage.entries
    bytes += usage.bytes
  }
  return { entries, bytes }
}

/** The same for every tenant of a namespace, by the tenant's part of its keys; undefined when it was ended before it was done. */
export async function measureTenants(
  store: EntryStore,
  namespace: string,
  isEnded: () => boolean
): Promise<Map<string, Usage> | undefined> {
  const usages = new Map<string, Usage>()
  for await (const [tenant, usage] of pagesOf(store, { namespace })) {
    if (isEnded()) return undefined
    if (tenant === undefined) continue
    const { entries, bytes } = usages.get(tenant) ?? { entries: 0, bytes: 0 }
    usages.set(tenant, { entries: entries + usage.entries, bytes: bytes + usage.bytes })
  }
  return usages
}

async function* pagesOf(
  store: EntryStore,
  area: Area
): AsyncGenerator<[tenant: string | undefined, usage: Usage]> {
  const { patterns, isIn } = entriesOf(area)
  for await (const page of store.scan(patterns, PAGE)) {
    const keys = page.filter(isIn)
    const sizes = await store.sizes(keys)
    for (const [index, key] of keys.entries()) {
      if (sizes[index] === 0) continue
      yield [partsOf(key)?.tenant, { entries: 1, bytes: bytesOf(key, sizes[index]!) }]
    }
  }
}

export function bytesOf(key: string, valueBytes: number): number {
  return key.length + valueBytes + BESIDE_AN_ENTRY_BYTES
}
