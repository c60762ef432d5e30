import type { Row } from '../support/rows.js'
import { CORRAL, type Contender, type Definition, type Setting } from './contender.js'

export const THE_CORRAL: Definition = {
  name: CORRAL,
  packages: ['corral', 'ioredis'],
  stampede: 'one load in the fleet',
  servesStale: true,
  open: openCorral
}

/** Corral keeps large values for a while and asks Redis only whether they still stand; this one has each sent anew. */
export const WITHOUT_RECENT: Definition = {
  name: 'Corral, maxRecentBytes: 0',
  packages: ['corral', 'ioredis'],
  stampede: 'one load in the fleet',
  servesStale: true,
  open: (setting) => openCorral({ ...setting, maxRecentBytes: 0 })
}

/** Without a version in the rows, overlapping writers leave nothing in the cache; with one, the newest row. */
export const WITH_VERSION: Definition = {
  ...THE_CORRAL,
  name: 'Corral, with `version`',
  open: (setting) =>
    openCorral({ ...setting, corralOptions: { version: (row: Row) => row['version'] as number } })
}

/** What keeps keys that were stored together from expiring together, taken away. */
export const WITHOUT_SPREAD: Definition = {
  ...THE_CORRAL,
  name: 'Corral, jitter: 0, earlyRefresh: 0',
  open: (setting) => openCorral({ ...setting, corralOptions: { jitter: 0, earlyRefresh: 0 } })
}

/** Another build of Corral beside this one, to see what a change does. */
export function corralAt(folder: string): Definition {
  return {
    ...THE_CORRAL,
    name: `${CORRAL} at ${folder}`,
    open: (setting) => openCorral({ ...setting, corralFolder: folder })
  }
}

async function openCorral(setting: Setting): Promise<Contender> {
  const { url, namespace, ttlMs, staleMs, load, write, corralFolder, maxRecentBytes } = setting
  const entry = corralFolder === undefined ? 'corral' : `${corralFolder}/dist/index.js`
  const { createCache, writeThrough } = (await import(entry)) as typeof import('corral')
  const cache = createCache({
    redis: url,
    namespace,
    ...(maxRecentBytes === undefined ? {} : { maxRecentBytes }),
    ...setting.corralCacheOptions
  })
  const rows = cache.collection<number, Row>('rows', {
    ttl: ttlMs,
    stale: staleMs,
    load: (id) => load(id),
    loadMany: (ids) => Promise.all(ids.map(load)),
    ...(write === undefined ? {} : { write: writeThrough(write) }),
    ...setting.corralOptions
  })
  return {
    get: (id) => rows.get(id),
    getMany: (ids) => rows.getMany(ids),
    invalidate: (id) => rows.invalidate(id),
    set: (id, row) => rows.set(id, row),
    ...(write === undefined ? {} : { put: async (id, row) => (await rows.put(id, row)).value }),
    close: () => cache.close()
  }
}
