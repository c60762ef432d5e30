import type { ConcurrencyLimit } from '../policy/concurrency-limit.js'
import type { EntryPolicy, WritePolicy } from '../options.js'
import type { Awaitable, CacheId, LoadContext, StandardSchema, TenantId } from '../ports.js'
import type { CollectionStats } from '../stats.js'
import { tagPart } from '../keys/key-schema.js'
import type { Question } from './entry-store.js'

/** What reads of one collection, or one `getOrLoad`, have in common. Values are `unknown` here; the types stand at the edge. */
export interface Source {
  readonly name: string
  readonly policy: EntryPolicy
  readonly stats: CollectionStats
  /** Of the collection alone, beside that of the cache. */
  readonly loadLimit: ConcurrencyLimit | undefined
  readonly schema: StandardSchema | undefined
  readonly writing: WritePolicy
  readonly write: ((id: CacheId, input: unknown, context: LoadContext) => Awaitable<unknown>) | undefined
  readonly remove: ((id: CacheId, context: LoadContext) => Awaitable<unknown>) | undefined
  readonly version: ((row: unknown) => number) | undefined
  readonly tags: ((value: unknown, id: CacheId) => Iterable<string>) | undefined
  load(id: CacheId, context: LoadContext): Awaitable<unknown>
  /** Values in the order of `ids`. Undefined where the user gave no `loadMany`. */
  readonly loadMany:
    | ((ids: readonly CacheId[], context: LoadContext) => Promise<readonly unknown[]>)
    | undefined
}

/** One read. */
export interface ReadRequest extends Question {
  readonly source: Source
  readonly id: CacheId
  readonly tenant: TenantId | undefined
  /** What it loads is stored whatever the tenant's budget says: something is about to be added to it. */
  readonly isNeeded?: boolean
}

/** The tags of a value as they stand in keys, each once; a remembered not-found has none. */
export function tagsOf({ source, id }: ReadRequest, value: unknown): string[] {
  if (source.tags === undefined || value === undefined) return []
  return [...new Set(Array.from(source.tags(value, id), tagPart))]
}

/** Where a value came from, and how old it is. */
export interface Lookup<Value = unknown> {
  /** Undefined when the source has no such thing. */
  readonly value: Value | undefined
  /** `stale`: past its `ttl`, from whichever tier. */
  readonly source: 'memory' | 'redis' | 'loader' | 'stale'
  /** Milliseconds since it was stored; 0 for one just loaded. */
  readonly ageMs: number
  /** Milliseconds for which it stays fresh; 0 when it is stale or was not stored. */
  readonly ttlMs: number
}
