import { expect } from 'vitest'
import { createCache, type Cache, type RedisInput } from '../../src/index.js'
import { until } from '../support/until.js'

export interface EngineOptions {
  /** One that nothing was stored in before. Default 'shop'. */
  readonly namespace?: string
  /** Whether the server tells waiters of changes; on a Cluster they look by timer. */
  readonly hasPushes: boolean
}

/** Everything the engine does, by two caches that are a fleet: leases, waits, many keys, guards, tags, clearing. */
export async function provesEngine(
  open: () => RedisInput,
  { hasPushes, namespace = 'shop' }: EngineOptions
): Promise<void> {
  const [first, second] = [0, 1].map(() =>
    createCache({ redis: open(), namespace, commandTimeout: '10s' })
  ) as [Cache, Cache]
  const failures: unknown[] = []
  for (const cache of [first, second])
    cache.on('redisFailed', ({ action, error }) => failures.push([action, error]))
  try {
    let loads = 0
    const options = {
      ttl: '1h',
      stale: '1h',
      tags: (row: { id: number }) => [`parity:${row.id % 2}`],
      load: async (id: number) => {
        loads++
        await new Promise((resolve) => setTimeout(resolve, 60))
        return { id, at: new Date(7) }
      },
      write: async (_id: number, row: { id: number; at: Date }) => row
    } as const
    const [here, there] = [first.collection('products', options), second.collection('products', options)]
    await here.get(0)
    if (hasPushes)
      await until('changes are announced', () => first.stats().redis.pushes && second.stats().redis.pushes)
    loads = 0
    // One load for a fleet that asks for one missing key.
    const values = await Promise.all([
      ...Array.from({ length: 30 }, () => here.get(1)),
      ...Array.from({ length: 30 }, () => there.get(1))
    ])
    expect(new Set(values.map((value) => value?.id))).toEqual(new Set([1]))
    expect(loads).toBe(1)
    // Many keys, in many slots.
    const ids = Array.from({ length: 40 }, (_, id) => id)
    expect((await here.getMany(ids)).size).toBe(40)
    expect((await there.getMany(ids)).size).toBe(40)
    expect(loads).toBe(39)
    // A write is seen by the other at once; an invalidation too.
    expect((await here.put(5, { id: 5, at: new Date(8) })).cache).toBe('published')
    expect((await there.get(5))?.at).toEqual(new Date(8))
    expect(await there.invalidate(6)).toBe('confirmed')
    expect((await here.lookup(6)).source).toBe('loader')
    // A tag, and a collection, over all slots.
    await first.invalidateTags(['parity:1'])
    expect((await there.lookup(7)).source).toBe('loader')
    expect((await there.lookup(8)).source).toBe('redis')
    await there.clear()
    expect((await here.lookup(8)).source).toBe('loader')
    expect(failures).toEqual([])
  } finally {
    await Promise.all([first.close(), second.close()])
  }
}

/** What a process keeps in memory goes when another changes it, by tracking or by the channel. */
export async function provesMemory(
  open: () => RedisInput,
  mode: 'tracking' | 'channel',
  namespace = 'shop'
): Promise<void> {
  const [first, second] = [0, 1].map(() =>
    createCache({ redis: open(), namespace, commandTimeout: '1s', memory: { maxBytes: 8 * 1024 * 1024 } })
  ) as [Cache, Cache]
  try {
    const source = new Map<number, number>()
    const options = {
      ttl: '1h',
      load: async (id: number) => ({ id, version: source.get(id) ?? 1 }),
      write: async (id: number, row: { id: number; version: number }) => {
        source.set(id, row.version)
        return row
      }
    } as const
    const [here, there] = [first.collection('kept', options), second.collection('kept', options)]
    const isKept = async (collection: typeof here, id: number): Promise<boolean> =>
      (await collection.lookup(id)).source === 'memory'
    for (let version = 2; version < 22; version++) {
      const id = version % 4
      await until(
        'both keep it in memory',
        async () => (await isKept(here, id)) && (await isKept(there, id)),
        20_000
      )
      expect([first, second].map((cache) => cache.health().memory.mode)).toEqual([mode, mode])
      await (version % 2 === 0 ? here : there).put(id, { id, version })
      await until(
        'the other hears of it',
        async () => (await (version % 2 === 0 ? there : here).get(id))?.version === version,
        1_000
      )
    }
  } finally {
    await Promise.all([first.close(), second.close()])
  }
}
