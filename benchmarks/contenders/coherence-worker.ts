/** One process of a fleet in which each keeps rows in memory: it reads them all the time, or changes them. */
import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { serveCommands } from '../../test/support/processes.js'
import { COHERENT_CONTENDERS, type CoherentContender } from './coherent-contenders.js'

export interface CoherenceOpening {
  readonly name: string
  /** The way to the cache. */
  readonly url: string
  /** The way to the source, a database of its own in Redis. */
  readonly sourceUrl: string
  readonly namespace: string
  readonly keys: number
}

export interface CoherenceSeen {
  readonly reads: number
  readonly errors: number
  /** By row and version, when the last read began that gave it; ms of a clock that all processes of this machine share. */
  readonly lastSeenMs: readonly ReadonlyMap<number, number>[]
}

/** Between a reader's looks at all rows: busy, and not so busy that it has no time for the news. */
const PAUSE_MS = 1

let contender: CoherentContender
let source: Redis
let isWatching = false
let watching: Promise<CoherenceSeen>

const now = (): number => performance.timeOrigin + performance.now()

const commands = {
  async open({ name, url, sourceUrl, namespace, keys }: CoherenceOpening): Promise<void> {
    source = new Redis(sourceUrl, { db: 1 })
    contender = await COHERENT_CONTENDERS.find((one) => one.name === name)!.open({
      url,
      namespace,
      keys,
      load: async (id) => ({ id, version: Number((await source.get(`${namespace}:${id}`)) ?? 0) })
    })
    for (let round = 0; round < 3; round++) for (let id = 0; id < keys; id++) await contender.get(id)
  },

  /** Reads all rows again and again, until it is told to end. */
  watch(keys: number): void {
    isWatching = true
    watching = read(keys)
  },

  endWatch(): Promise<CoherenceSeen> {
    isWatching = false
    return watching
  },

  /** Changes the source and then says so; gives the new version and when the call had returned. */
  async change(namespace: string, id: number): Promise<{ version: number; atMs: number }> {
    const version = await source.incr(`${namespace}:${id}`)
    await contender.invalidate(id)
    return { version, atMs: now() }
  },

  /** The version of each row that a caller gets now. */
  async look(keys: number): Promise<number[]> {
    const versions: number[] = []
    for (let id = 0; id < keys; id++) versions.push((await contender.get(id))?.version ?? -1)
    return versions
  }
}

export type CoherenceWorker = typeof commands

serveCommands(commands)

async function read(keys: number): Promise<CoherenceSeen> {
  const lastSeenMs = Array.from({ length: keys }, () => new Map<number, number>())
  let [reads, errors] = [0, 0]
  while (isWatching) {
    for (let id = 0; id < keys; id++) {
      const startedAtMs = now()
      reads++
      try {
        const row = await contender.get(id)
        if (row !== undefined) lastSeenMs[id]!.set(row.version, startedAtMs)
      } catch {
        errors++
      }
    }
    await sleep(PAUSE_MS)
  }
  return { reads, errors, lastSeenMs }
}
