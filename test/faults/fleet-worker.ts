import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import {
  createCache,
  type Cache,
  type CacheLimits,
  type Collection,
  type EntryOptions,
  type Lookup
} from '../../src/index.js'
import { serveCommands } from '../support/processes.js'

/** One process of a fleet: a cache over one Redis, and a loader that every process reports to. */

export interface FleetOptions {
  readonly url: string
  readonly limits?: CacheLimits
  readonly entries: EntryOptions
  /** How long a load takes, in milliseconds; how long its query does, see `Row`. */
  readonly loadMs: number
}

/** What the loader answers: the version of the row when its query ran, and who loaded it. */
export interface Row {
  readonly version: number
  readonly pid: number
}

export interface Answered {
  readonly values: number
  readonly distinct: readonly (Row | undefined)[]
  readonly sources: readonly Lookup['source'][]
  readonly errors: readonly string[]
  /** Milliseconds from the call to each answer, sorted. */
  readonly latencies: readonly number[]
}

let cache: Cache
let rows: Collection<number, Row>
let database: Redis
const seen: Record<string, number> = {}

export const commands = {
  async open({ url, limits, entries, loadMs }: FleetOptions): Promise<void> {
    // Not the cache's connection, nor its database: what is counted there must not disturb what is counted here.
    database = new Redis(url, { db: 1 })
    cache = createCache({ redis: url, namespace: 'fleet', ...limits })
    for (const event of ['takeover', 'leaseLost', 'fillRejected', 'load', 'wait', 'redisFailed'] as const) {
      cache.on(event, () => void (seen[event] = (seen[event] ?? 0) + 1))
    }
    rows = cache.collection('rows', {
      ...entries,
      load: async (id: number) => {
        const [[, version], [, failing], , [, held]] = (await database
          .pipeline()
          .get(`version:${id}`)
          .get('failing')
          .rpush('loads', process.pid)
          .exists('held')
          .exec()) as [[null, string | null], [null, string | null], unknown, [null, number]]
        if (failing !== null) throw Object.assign(new Error(failing), { code: 'E_SOURCE' })
        await sleep(loadMs)
        // It answers with what it has read, and not before it is let.
        for (let isHeld = held; isHeld !== 0; isHeld = await database.exists('held')) await sleep(5)
        return { version: Number(version ?? 0), pid: process.pid }
      }
    })
  },

  /** Until the cache can be used and Redis tells it of changes. */
  async ready(): Promise<void> {
    while (!cache.stats().redis.pushes) await sleep(5)
  },

  async get(id: number): Promise<Row | undefined> {
    return rows.get(id)
  },

  async getAtOnce(id: number, callers: number): Promise<Answered> {
    const latencies: number[] = []
    const sources = new Set<Lookup['source']>()
    const distinct = new Map<string, Row | undefined>()
    const errors = new Set<string>()
    let values = 0
    await Promise.all(
      Array.from({ length: callers }, async () => {
        const startedAt = performance.now()
        try {
          const { value, source } = await rows.lookup(id)
          values++
          sources.add(source)
          distinct.set(JSON.stringify(value), value)
        } catch (error) {
          errors.add(`${(error as Error).name}: ${(error as Error).message}`)
        }
        latencies.push(performance.now() - startedAt)
      })
    )
    latencies.sort((a, b) => a - b)
    return { values, distinct: [...distinct.values()], sources: [...sources], errors: [...errors], latencies }
  },

  async invalidate(id: number): Promise<void> {
    await rows.invalidate(id)
  },

  seen: () => seen,
  stats: () => cache.stats(),
  close: () => cache.close()
}

export type FleetCommands = typeof commands

serveCommands(commands)
