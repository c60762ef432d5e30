/** One process that reads at a steady rate, whether the reads before are answered or not, while Redis fails. */
import { setTimeout as sleep } from 'node:timers/promises'
import { openLoop, ROWS, Source, type Load } from '../../test/faults/outage.js'
import { serveCommands } from '../../test/support/processes.js'
import { definitionOf, type Contender, type Setting } from './contenders.js'

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
  /** From when a request was due, in order; what was not answered in time counts as long as was waited for it. */
  readonly waitedMs: Float64Array
  /** Loads at the source at the same time, at most. */
  readonly mostLoads: number
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
    contender = await definitionOf(name).open(setting)
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
    const waitedMs = load.waitedMs.toSorted((a, b) => a - b)
    while (waitedMs.length < load.requests) waitedMs.push(patienceMs)
    return {
      requests: load.requests,
      errors: load.errors.length,
      waitedMs: Float64Array.from(waitedMs),
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
