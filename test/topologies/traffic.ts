import { setTimeout as sleep } from 'node:timers/promises'
import type { Cache, Collection } from '../../src/index.js'

interface Row {
  readonly id: number
  readonly version: number
}

export interface Violation {
  readonly id: number
  readonly got: number | undefined
  /** The version whose write was over before the read began, and when that was. */
  readonly wanted: number
  readonly completedAtMs: number
  readonly source: string
}

export interface TrafficReport {
  readonly reads: number
  readonly writes: number
  /** Of which the cache was not told, as their callers were. */
  readonly refusedWrites: number
  readonly errors: readonly unknown[]
  readonly violations: readonly Violation[]
  /** Reads by where their value came from. */
  readonly sources: Readonly<Record<string, number>>
  /** The longest time in which no read was answered by Redis, and when it began. */
  readonly longestGapMs: number
  readonly slowestReadMs: number
}

const TICK_MS = 10
const IDS = 60

/**
 * Readers and writers over several caches, as processes of a fleet have them, with a source that is always well. Of the
 * writes some go through the cache, and some past it and are told by `invalidate`, by a tag, or by clearing the collection.
 * Every read is held against the writes that were over when it began: it may be newer, never older.
 */
export class Traffic {
  readonly #caches: readonly Cache[]
  readonly #collections: Collection<number, Row, 'optional'>[]
  readonly #source = new Map<number, number>()
  readonly #completed = new Map<number, { version: number; atMs: number }[]>()
  readonly #settleMs: number
  readonly #writing = new Set<number>()
  readonly #running = new Set<Promise<void>>()
  readonly #errors: unknown[] = []
  readonly #violations: Violation[] = []
  readonly #sources: Record<string, number> = {}
  #reads = 0
  #writes = 0
  #refused = 0
  #lastHitAtMs = 0
  #longestGapMs = 0
  #slowestReadMs = 0
  #stopped = false
  #loop: Promise<void> | undefined

  /** @param settleMs how old a value may be served after the write that replaced it: 0 without a tier in memory */
  constructor(caches: readonly Cache[], { settleMs = 0 }: { readonly settleMs?: number } = {}) {
    this.#settleMs = settleMs
    this.#collections = caches.map((cache) =>
      cache.collection('rows', {
        ttl: '1h',
        load: async (id: number) => {
          await sleep(1)
          return this.#row(id)
        },
        loadMany: async (ids) => {
          await sleep(1)
          return new Map(ids.map((id) => [id, this.#row(id)]))
        },
        write: async (id) => {
          await sleep(1)
          this.#source.set(id, this.#row(id).version + 1)
          return this.#row(id)
        },
        version: (row) => row.version,
        tags: (row) => [`row:${row.id}`]
      })
    )
    this.#caches = caches
  }

  start(readsPerSecond = 1_000, writesPerSecond = 50): void {
    this.#lastHitAtMs = performance.now()
    this.#loop = this.#run(readsPerSecond, writesPerSecond)
  }

  /** Counts from now on. */
  forget(): void {
    this.#longestGapMs = 0
    this.#slowestReadMs = 0
  }

  async stop(): Promise<TrafficReport> {
    this.#stopped = true
    await this.#loop
    await Promise.all(this.#running)
    return {
      reads: this.#reads,
      writes: this.#writes,
      refusedWrites: this.#refused,
      errors: this.#errors,
      violations: this.#violations,
      sources: this.#sources,
      longestGapMs: Math.max(this.#longestGapMs, performance.now() - this.#lastHitAtMs),
      slowestReadMs: this.#slowestReadMs
    }
  }

  async #run(readsPerSecond: number, writesPerSecond: number): Promise<void> {
    let [readsDue, writesDue] = [0, 0]
    let before = performance.now()
    while (!this.#stopped) {
      await sleep(TICK_MS)
      const now = performance.now()
      // A machine that stalls gets what it missed, but not all of a long pause at once.
      const elapsed = Math.min(100, now - before) / 1_000
      before = now
      readsDue += elapsed * readsPerSecond
      writesDue += elapsed * writesPerSecond
      for (; readsDue >= 1; readsDue--)
        this.#spawn(this.#reads % 20 === 0 ? this.#readMany() : this.#readOne())
      for (; writesDue >= 1; writesDue--) this.#spawn(this.#writeOne())
    }
  }

  #spawn(work: Promise<void>): void {
    this.#running.add(work)
    void work.finally(() => this.#running.delete(work))
  }

  async #readOne(): Promise<void> {
    const id = randomId()
    const floor = this.#floorOf(id)
    this.#reads++
    const startedAt = performance.now()
    try {
      const { value, source } = await this.#anyCollection().lookup(id)
      this.#judge(id, floor, value, source)
      this.#sources[source] = (this.#sources[source] ?? 0) + 1
      if (source === 'redis') this.#hit()
    } catch (error) {
      this.#errors.push(error)
    }
    this.#slowestReadMs = Math.max(this.#slowestReadMs, performance.now() - startedAt)
  }

  async #readMany(): Promise<void> {
    const ids = Array.from({ length: 10 }, randomId)
    const floors = new Map(ids.map((id) => [id, this.#floorOf(id)]))
    this.#reads++
    try {
      const rows = await this.#anyCollection().getMany(ids)
      for (const [id, floor] of floors) this.#judge(id, floor, rows.get(id), 'getMany')
    } catch (error) {
      this.#errors.push(error)
    }
  }

  async #writeOne(): Promise<void> {
    const id = randomId()
    // One writer a row at a time, so that versions say in which order the writes were over.
    if (this.#writing.has(id)) return
    this.#writing.add(id)
    try {
      const version = await this.#change(id)
      const over = this.#completed.get(id) ?? []
      over.push({ version, atMs: performance.now() })
      this.#completed.set(id, over)
      this.#writes++
    } catch (error) {
      // The caller was told that the cache may not know of it, and nothing is wrong.
      if ((error as { code?: string }).code === 'REDIS_UNAVAILABLE') this.#refused++
      else this.#errors.push(error)
    } finally {
      this.#writing.delete(id)
    }
  }

  /** Resolves with the version that every read from now on must know of. */
  async #change(id: number): Promise<number> {
    const which = Math.floor(Math.random() * this.#caches.length)
    const collection = this.#collections[which]!
    const draw = Math.random()
    if (draw < 0.8) return (await collection.put(id, this.#row(id))).value.version
    const version = this.#row(id).version + 1
    this.#source.set(id, version)
    if (draw < 0.9) await collection.invalidate(id)
    else if (draw < 0.995) await this.#caches[which]!.invalidateTags([`row:${id}`])
    else await collection.clear()
    return version
  }

  /** The last write that was over long enough ago for every read from now on to know of it. */
  #floorOf(id: number): { version: number; atMs: number } | undefined {
    const latest = performance.now() - this.#settleMs
    return this.#completed.get(id)?.findLast(({ atMs }) => atMs <= latest)
  }

  #judge(
    id: number,
    floor: { version: number; atMs: number } | undefined,
    row: Row | undefined,
    source: string
  ): void {
    if (floor === undefined || (row !== undefined && row.version >= floor.version)) return
    this.#violations.push({ id, got: row?.version, wanted: floor.version, completedAtMs: floor.atMs, source })
  }

  #hit(): void {
    const now = performance.now()
    this.#longestGapMs = Math.max(this.#longestGapMs, now - this.#lastHitAtMs)
    this.#lastHitAtMs = now
  }

  #anyCollection(): Collection<number, Row, 'optional'> {
    return this.#collections[Math.floor(Math.random() * this.#collections.length)]!
  }

  #row(id: number): Row {
    return { id, version: this.#source.get(id) ?? 1 }
  }
}

function randomId(): number {
  return Math.floor(Math.random() * IDS)
}

export function summaryOf(what: string, report: TrafficReport): string {
  const { reads, writes, refusedWrites, errors, violations, sources, longestGapMs, slowestReadMs } = report
  return (
    `${what}: ${reads} reads, ${writes} writes (${refusedWrites} refused), ${errors.length} errors, ${violations.length} violations, ` +
    `${JSON.stringify(sources)}, longest without Redis ${longestGapMs.toFixed(0)} ms, slowest read ${slowestReadMs.toFixed(0)} ms`
  )
}
