import type { WriteFunction, WriteThrough } from '../options.js'
import type { CacheId } from '../ports.js'

/**
 * Changes of the collection go to the source first, and what the source saved goes into the cache.
 *
 * @param write changes the source and returns the row as it was saved, after its transaction is committed. Whatever it
 *   throws reaches the caller, and leaves nothing cached. One that returns nothing leaves it to the next reader to load.
 */
export function writeThrough<Id extends CacheId, Value>(
  write: WriteFunction<Id, Value>
): WriteThrough<Id, Value> {
  return { kind: 'write-through', write }
}
