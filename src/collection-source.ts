import type { AmbientTenant } from './ambient-tenant.js'
import type { CollectionOptions, Tenancy } from './options.js'
import { checkIterable } from './option-values.js'
import { ConcurrencyLimit, type QueueBound } from './policy/concurrency-limit.js'
import type { CacheId } from './ports.js'
import { orderedLoadMany } from './read/load-many.js'
import {
  resolveEntryPolicy,
  resolveLoadLimit,
  resolveWritePolicy,
  writeFunctionOf
} from './resolve-options.js'
import type { CollectionStats } from './stats.js'
import type { Source } from './tiers/request.js'

/**
 * A collection's options as the engine goes by them. What it calls runs for the tenant of the entry, whoever asked for that:
 * the caller who waits may be of another.
 */
export function collectionSource<Id extends CacheId, Value, C extends Tenancy>(
  name: string,
  options: CollectionOptions<Id, Value, C>,
  stats: CollectionStats,
  loadQueue: QueueBound,
  ambient: AmbientTenant
): Source {
  const write = writeFunctionOf(options.write)
  const loadMany = orderedLoadMany(name, options)
  const most = resolveLoadLimit(options.maxConcurrentLoads)
  // As methods of `options`: it may be an object that has more than what is read here.
  return {
    name,
    stats,
    policy: resolveEntryPolicy(options),
    writing: resolveWritePolicy(options),
    schema: options.schema,
    loadLimit: most === undefined ? undefined : new ConcurrencyLimit(most, loadQueue),
    load: (id, context) => ambient.runFor(context.tenant, () => options.load(id as Id, context)),
    loadMany:
      loadMany && (async (ids, context) => ambient.runFor(context.tenant, () => loadMany(ids, context))),
    write:
      write &&
      ((id, value, context) =>
        ambient.runFor(context.tenant, () => write(id as Id, value as Value, context))),
    remove:
      options.remove &&
      ((id, context) => ambient.runFor(context.tenant, () => options.remove!(id as Id, context))),
    version: options.version && ((row) => options.version!(row as Value)),
    tags:
      options.tags &&
      ((value, id) => {
        const tags = options.tags!(value as Value, id as Id)
        checkIterable(tags, 'tags(…)', 'an array or a set of tags')
        return tags
      })
  }
}
