import { InvalidLoaderResultError } from '../errors.js'
import type { CollectionOptions } from '../options.js'
import type { CacheId, LoadContext } from '../ports.js'
import type { Source } from '../tiers/request.js'

/** The user's `loadMany`, with its answer checked and put in the order of the ids. */
export function orderedLoadMany<Id extends CacheId, Value>(
  name: string,
  { loadMany }: Pick<CollectionOptions<Id, Value>, 'loadMany'>
): Source['loadMany'] {
  if (loadMany === undefined) return undefined
  return async (ids: readonly CacheId[], context: LoadContext) => {
    // A copy: one that it sorts, or empties part by part, must not decide which value is whose.
    const result: unknown = await loadMany((ids as readonly Id[]).slice(), context)
    if (result instanceof Map && isAbout(result, ids)) return ids.map((id) => result.get(id))
    if (Array.isArray(result) && result.length === ids.length) return result as unknown[]
    throw new InvalidLoaderResultError(name, result, ids.length)
  }
}

/**
 * Whether every key of the map was asked for. Ids of another type, such as text for numbers, would otherwise read as
 * "there is no such thing", and be remembered.
 */
function isAbout(result: Map<unknown, unknown>, ids: readonly CacheId[]): result is Map<unknown, unknown> {
  const asked = new Set<unknown>(ids)
  for (const id of result.keys()) if (!asked.has(id)) return false
  return true
}
