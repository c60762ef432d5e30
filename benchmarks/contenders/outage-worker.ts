/** One process that reads at a steady rate, whether the reads before are answered or not, while Redis fails. */
import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { openLoop, ROWS, Source, type Load } from '../../test/faults/outage.js'
import { serveCommands } from '../../test/support/processes.js'
import type { Row } from '../support/rows.js'
import { definitionOf, type Contender, type Definition, type Setting } from './contenders.js'

export interface OutageOpening {
  readonly name: string
  readonly url: string
  readonly namespace: string
  /** How many loads Corral may run at once. */
  readonly limit: number
}

export interface OutageFigures {
  readonly requests: number
  readonly errors: number
  /** In order; what was not answered in time counts as long as was waited for it. */
  readonly tookMs: Float64Array
  /** Loads at the source at the same time, at most. */
  readonly mostLoads: number
}

/** Four lines, as in many a post: what Redis does not give, or fails to give, comes from the source. */
export const FALLING_BACK: Definition = {
  name: 'by hand',
  packages: ['ioredis'],
  stampede: 'nothing',
  servesStale: false,
  async open({ url, namespace, ttlMs, load }) {
    const redis = new Redis(url)
    const nothing = (): undefined => undefined
    redis.on('error', nothing)
    const get = async (id: number): Promise<Row> => {
      const key = `${namespace}:${id}`
      const text = await redis.get(key).catch(nothing)
      if (typeof text === 'string') return JSON.parse(text) as Row
      const row = await load(id)
      void redis.set(key, JSON.stringify(row), 'PX', ttlMs).catch(nothing)
      return row
    }
    return {
      get,
      invalidate: (id) => redis.del(`${namespace}:${id}`),
      close: async () => redis.disconnect()
    }
  }
}

const source = new Source()
/** What was asked of the source, for the question whether a value came from Redis. */
const loaded = new Set<number>()
let contender: Contender
let load: Load

const commands = {
  async open({ name, url, namespace, limit }: OutageOpening): Promise<void> {
    const setting: Setting = {
      url,
      namespace,
      ttlMs: 3_600_000,
      staleMs: 0,
      corralOptions: { earlyRefresh: 0 },
      corralCacheOptions: { maxConcurrentLoads: limit },
      load: async (id) => {
        loaded.add(id)
        return { ...(await source.load(id)) }
      }
    }
    contender = await (name === FALLING_BACK.name ? FALLING_BACK : definitionOf(name)).open(setting)
    for (let id = 0; id < ROWS; id++) await contender.get(id)
  },

  /** Requests from now on; those before go on, and are not counted any more. */
  begin(): void {
    void load?.stop()
    source.mostAtOnce = 0
    load = openLoop((id) => contender.get(id))
  },

  /** No more requests. */
  end(): void {
    void load.stop()
  },

  /** Ms until a value came from Redis; undefined when none did in time. */
  async untilBack(patienceMs: number): Promise<number | undefined> {
    const startedAt = performance.now()
    const sinceMs = (): number => performance.now() - startedAt
    while (sinceMs() < patienceMs) {
      if (await Promise.race([isCached(1), sleep(500, false)])) return sinceMs()
      await sleep(10)
    }
    return undefined
  },

  async figures(patienceMs: number): Promise<OutageFigures> {
    await Promise.race([load.stop(), sleep(patienceMs)])
    const tookMs = load.tookMs.toSorted((a, b) => a - b)
    while (tookMs.length < load.requests) tookMs.push(patienceMs)
    return {
      requests: load.requests,
      errors: load.errors.length,
      tookMs: Float64Array.from(tookMs),
      mostLoads: source.mostAtOnce
    }
  }
}

async function isCached(id: number): Promise<boolean> {
  loaded.delete(id)
  try {
    return (await contender.get(id)) !== undefined && !loaded.has(id)
  } catch {
    // It fails still: that is the answer.
    return false
  }
}

export type OutageWorker = typeof commands
serveCommands(commands)
