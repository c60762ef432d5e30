/**
 * How long does another process serve an old value from memory, and what does it cost those who write?
 *
 *     npx tsx benchmarks/memory-news.ts [--quick]
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import type { Change, MemoryCommands } from '../test/faults/memory-worker.js'
import { startWorker, type WorkerProcess } from '../test/support/processes.js'
import { startRedisServer } from '../test/support/redis-server.js'
import { keep } from './keep.js'
import {
  barsOf,
  memoryNewsMarkdown,
  tableMarkdown,
  type ChangeLine,
  type MemoryNewsResult
} from './reports/memory-news.js'
import { circumstances } from './support/machine.js'
import { optionsOf } from './support/options.js'
import { startProgress } from './support/progress.js'
import { RedisMeter } from './support/redis-facts.js'
import { percentile, rounded, spreadOf } from './support/statistics.js'

const { quick } = optionsOf({})

const READERS = 3
const KEYS = 20
/** Between a reader's looks at all of the rows: busy, and not so busy that it has no time for the news. */
const PAUSE_MS = 1
const CHANGES_MS = quick ? 1_000 : 4_000
const TRACKERS = 10
const KEPT_KEYS = 500
const WRITTEN_KEYS = 5_000
const WRITER_ROUNDS = quick ? 2 : 14
const WRITER_MS = quick ? 600 : 3_000
/** In which all that is kept is dropped for the first time: each of these keys is written within some 100 ms. */
const FIRST_MS = 300
const READ_EVERY_MS = 20
const CHANGES: readonly Change[] = ['invalidate', 'put', 'delete', 'tag', 'clear']

const file = new URL('../test/faults/memory-worker.ts', import.meta.url)

await using server = await startRedisServer()
const meter = new RedisMeter(server.url)
const progress = startProgress(CHANGES.length + 1)
const changes: ChangeLine[] = []
for (const change of CHANGES) {
  progress.step(change)
  changes.push(await measureChange(change))
}
progress.step('writers')
const writers = await measureWriters()
progress.end()
const result: MemoryNewsResult = {
  circumstances: circumstances(await meter.version(), ['corral', 'ioredis']),
  settings: { readers: READERS, keys: KEYS, trackers: TRACKERS },
  changes,
  writers
}
meter.close()
console.log(`\n${tableMarkdown(result)}\n`)
console.log(memoryNewsMarkdown(result).split('\n\n')[3])
for (const { what, passed } of barsOf(result)) console.log(`${passed ? 'reached' : 'MISSED '}  ${what}`)
keep('memory-news', result, quick)

async function openWorkers(
  count: number,
  keepsInMemory: boolean,
  url = server.url
): Promise<WorkerProcess<MemoryCommands>[]> {
  const workers = await Promise.all(Array.from({ length: count }, () => startWorker<MemoryCommands>(file)))
  await Promise.all(workers.map((worker) => worker.call('open', url, keepsInMemory)))
  return workers
}

async function measureChange(change: Change): Promise<ChangeLine> {
  await meter.empty()
  const workers = await openWorkers(READERS + 1, true)
  try {
    const [writer, ...readers] = workers
    const ids = Array.from({ length: KEYS }, (_, id) => id)
    const watching = readers.map((reader) => reader.call('watch', ids, CHANGES_MS + 600, PAUSE_MS))
    await sleep(400)
    const versions = new Map<number, number>()
    const done: { id: number; version: number; atMs: number }[] = []
    const endAt = performance.now() + CHANGES_MS
    for (let round = 0; performance.now() < endAt; round++) {
      const id = (round * 7) % KEYS
      const atMs = await writer!.call('change', id, change)
      const version = (versions.get(id) ?? 0) + 1
      versions.set(id, version)
      done.push({ id, version, atMs })
      // Clearing makes everything load anew, and readers are to find something in memory.
      await sleep(change === 'clear' ? 150 : 8)
    }
    const watched = await Promise.all(watching)
    const old: number[] = []
    for (const { id, version, atMs } of done) {
      for (const { rows } of watched) {
        const { lastSeenMs } = rows.find((row) => row.id === id)!
        const before = Object.entries(lastSeenMs).filter(([seen]) => Number(seen) < version)
        old.push(Math.max(0, ...before.map(([, lastMs]) => lastMs - atMs)))
      }
    }
    old.sort((a, b) => a - b)
    return {
      change,
      changes: done.length,
      reads: watched.reduce((sum, { reads }) => sum + reads, 0),
      // Two collections are read alternately.
      fromMemory: watched.reduce((sum, { fromMemory }) => sum + fromMemory, 0) / 2,
      p50: percentile(old, 0.5),
      p99: percentile(old, 0.99),
      most: percentile(old, 1)
    }
  } finally {
    await Promise.all(workers.map((worker) => worker.kill()))
  }
}

/**
 * With and without in turns, each fleet beside a Redis of its own and idle during the other's turn: on a machine that others
 * use as well, a second is not like the next, so that the turns are many, and what starts up is left out.
 */
async function measureWriters(): Promise<MemoryNewsResult['writers']> {
  await using plainServer = await startRedisServer()
  await using trackedServer = await startRedisServer()
  const fleets = [
    { url: plainServer.url, workers: await openWorkers(TRACKERS, false, plainServer.url) },
    { url: trackedServer.url, workers: await openWorkers(TRACKERS, true, trackedServer.url) }
  ]
  const rounds: { plain: Written; tracked: Written }[] = []
  try {
    for (let round = 0; round <= WRITER_ROUNDS; round++) {
      const written: Written[] = []
      for (const { url, workers } of round % 2 === 0 ? fleets : fleets.toReversed()) {
        // One loads, the others find.
        for (const worker of workers) await worker.call('warm', KEPT_KEYS)
        const reading = workers.map((worker) =>
          worker.call('readNowAndThen', KEPT_KEYS, READ_EVERY_MS, WRITER_MS + 200)
        )
        await sleep(100)
        written.push(await writeFor(url, WRITER_MS))
        await Promise.all(reading)
      }
      const [plain, tracked] = (round % 2 === 0 ? written : written.toReversed()) as [Written, Written]
      // The first warms up.
      if (round > 0) rounds.push({ plain, tracked })
    }
  } finally {
    await Promise.all(fleets.flatMap(({ workers }) => workers.map((worker) => worker.kill())))
  }
  return {
    without: spreadOf(rounds.map(({ plain }) => plain.perSecond)),
    withTracking: spreadOf(rounds.map(({ tracked }) => tracked.perSecond)),
    ratio: spreadOf(rounds.map(({ plain, tracked }) => rounded(tracked.perSecond / plain.perSecond))),
    firstMs: FIRST_MS,
    firstRatio: spreadOf(
      rounds.map(({ plain, tracked }) => rounded(tracked.firstPerSecond / plain.firstPerSecond))
    )
  }
}

interface Written {
  readonly perSecond: number
  /** Of the first `FIRST_MS`. */
  readonly firstPerSecond: number
}

/** Writes the bytes of entries where there is one, as whoever publishes a row does: the readers find it again. */
async function writeFor(url: string, ms: number): Promise<Written> {
  const redis = new Redis(url, { enableAutoPipelining: true })
  const keys = Array.from({ length: WRITTEN_KEYS }, (_, index) => `fleet:rows:${1_000 + index}`)
  const entries = await redis.mgetBuffer(keys)
  const filler = Buffer.alloc(200, 'x')
  let writes = 0
  let firstWrites = 0
  const startedAt = performance.now()
  const write = async (): Promise<void> => {
    for (;;) {
      const passedMs = performance.now() - startedAt
      if (passedMs >= ms) return
      const index = Math.floor(Math.random() * WRITTEN_KEYS)
      await redis.set(keys[index]!, entries[index] ?? filler)
      writes++
      if (passedMs < FIRST_MS) firstWrites++
    }
  }
  await Promise.all(Array.from({ length: 64 }, write))
  const perSecond = (writes / (performance.now() - startedAt)) * 1_000
  redis.disconnect()
  return { perSecond, firstPerSecond: (firstWrites / FIRST_MS) * 1_000 }
}
