import { Redis } from 'ioredis'
import { createCache, writeThrough, type Cache, type Collection } from '../../src/index.js'
import { serveCommands } from '../support/processes.js'

/** One process of a fleet that keeps values in memory, with a source that has a version of every row. */

export interface Row {
  readonly version: number
  readonly loadedAtMs: number
}

export type Change = 'invalidate' | 'put' | 'delete' | 'clear' | 'tag'

/** What one process saw of one row. */
export interface Seen {
  readonly id: number
  /** When the last read began that gave the version, or a later one was not yet known; ms, the same clock for all processes. */
  readonly lastSeenMs: Readonly<Record<number, number>>
}

export interface Watched {
  readonly reads: number
  readonly fromMemory: number
  readonly rows: readonly Seen[]
  /** Of values past their `ttl`, the furthest past it. */
  readonly mostExpiredMs: number
}

const TTL_MS = 400

let cache: Cache
let rows: Collection<number, Row>
let short: Collection<number, Row>
let database: Redis

/** The same for all processes of this machine. */
const now = (): number => performance.timeOrigin + performance.now()
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

const load = async (id: number): Promise<Row | undefined> => {
  const loadedAtMs = now()
  const version = await database.get(`version:${id}`)
  return { version: Number(version ?? 0), loadedAtMs }
}

export const commands = {
  async open(url: string, keepsInMemory = true): Promise<void> {
    database = new Redis(url, { db: 1 })
    cache = createCache({
      redis: url,
      namespace: 'fleet',
      commandTimeout: '2s',
      memory: keepsInMemory && { maxBytes: 16_000_000 }
    })
    const bump = async (id: number): Promise<Row> => ({
      version: await database.incr(`version:${id}`),
      loadedAtMs: now()
    })
    rows = cache.collection('rows', {
      ttl: '1h',
      tags: (_row, id: number) => [`row:${id}`],
      load,
      write: writeThrough((id: number) => bump(id)),
      remove: bump
    })
    short = cache.collection('short', { ttl: TTL_MS, jitter: 0, load })
    await cache.ready()
  },

  /** Changes the source, and returns when the call that says so has returned. */
  async change(id: number, how: Change): Promise<number> {
    if (how === 'put') await rows.put(id, { version: 0, loadedAtMs: 0 })
    else if (how === 'delete') await rows.delete(id)
    else {
      await database.incr(`version:${id}`)
      if (how === 'invalidate') await rows.invalidate(id)
      else if (how === 'clear') await rows.clear()
      else await cache.invalidateTags([`row:${id}`])
    }
    return now()
  },

  /** Reads all of them again and again, for so long, with a pause between. A deleted row counts as its latest version. */
  async watch(ids: readonly number[], ms: number, pauseMs = 0): Promise<Watched> {
    const lastSeen = new Map(ids.map((id) => [id, {} as Record<number, number>]))
    let reads = 0
    let mostExpiredMs = 0
    const before = cache.stats().total.memoryHits
    for (const untilMs = now() + ms; now() < untilMs; ) {
      for (const id of ids) {
        const startedAtMs = now()
        const row = await rows.get(id)
        reads++
        if (row !== undefined) lastSeen.get(id)![row.version] = startedAtMs
        const brief = (await short.get(id))!
        mostExpiredMs = Math.max(mostExpiredMs, now() - brief.loadedAtMs - TTL_MS)
      }
      if (pauseMs === 0) await turn()
      else await new Promise((resolve) => setTimeout(resolve, pauseMs))
    }
    return {
      reads,
      fromMemory: cache.stats().total.memoryHits - before,
      rows: [...lastSeen].map(([id, lastSeenMs]) => ({ id, lastSeenMs })),
      mostExpiredMs
    }
  },

  /** Reads one of so many rows every few milliseconds, as a server with little to do. */
  async readNowAndThen(count: number, everyMs: number, ms: number): Promise<number> {
    let reads = 0
    for (const untilMs = now() + ms; now() < untilMs; reads++) {
      await rows.get(1_000 + ((reads * 7) % count))
      await new Promise((resolve) => setTimeout(resolve, everyMs))
    }
    return reads
  },

  /** Loads and keeps so many rows. */
  async warm(count: number): Promise<void> {
    const ids = Array.from({ length: count }, (_, id) => 1_000 + id)
    for (let round = 0; round < 3; round++) await rows.getMany(ids)
  },

  versionOf: async (id: number): Promise<number | undefined> => (await rows.get(id))?.version,
  mode: () => cache.health().memory.mode,
  close: () => cache.close()
}

export type MemoryCommands = typeof commands

serveCommands(commands)
