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
  for await (const page of pagesOf(store, area)) {
    entries += page.length
    for (const one of page) bytes += one.bytes
  }
  return { entries, bytes }
}

/**
 * The same for every tenant of a namespace, by the tenant's part of its keys.
 *
 * @param goesOn asked at every page; when it answers false the count ends there, and comes to nothing
 */
export async function measureTenants(
  store: EntryStore,
  namespace: string,
  goesOn: () => Promise<boolean>
): Promise<Map<string, Usage> | undefined> {
  const usages = new Map<string, Usage>()
  for await (const page of pagesOf(store, { namespace })) {
    if (!(await goesOn())) return undefined
    for (const one of page) {
      if (one.tenant === undefined) continue
      const { entries, bytes } = usages.get(one.tenant) ?? { entries: 0, bytes: 0 }
      usages.set(one.tenant, { entries: entries + 1, bytes: bytes + one.bytes })
    }
  }
  return usages
}

interface Measured {
  readonly tenant: string | undefined
  readonly bytes: number
}

async function* pagesOf(store: EntryStore, area: Area): AsyncGenerator<readonly Measured[]> {
  const { patterns, isIn } = entriesOf(area)
  for await (const page of store.scan(patterns, PAGE)) {
    const keys = page.filter(isIn)
    const sizes = await store.sizes(keys)
    const measured = keys.map((key, index) => ({ key, size: sizes[index]! })).filter(({ size }) => size > 0)
    yield measured.map(({ key, size }) => ({ tenant: partsOf(key)?.tenant, bytes: bytesOf(key, size) }))
  }
}

export function bytesOf(key: string, valueBytes: number): number {
  return key.length + valueBytes + BESIDE_AN_ENTRY_BYTES
}
