/**
 * How long do other processes serve an old row from memory, next to every other cache with a tier in the process?
 *
 *     npx tsx benchmarks/coherence.ts [--quick] [--only name]
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { startFaultyProxy, type FaultyProxy } from '../test/chaos/faulty-proxy.js'
import { startWorker, type WorkerProcess } from '../test/support/processes.js'
import { startRedisServer } from '../test/support/redis-server.js'
import type { CoherenceSeen, CoherenceWorker } from './contenders/coherence-worker.js'
import { COHERENT_CONTENDERS } from './contenders/coherent-contenders.js'
import { keep } from './keep.js'
import { barsOf, tableMarkdown, type CoherenceLine, type CoherenceResult } from './reports/coherence.js'
import { circumstances } from './support/machine.js'
import { optionsOf } from './support/options.js'
import { startProgress } from './support/progress.js'
import { RedisMeter } from './support/redis-facts.js'
import { percentile, rounded, spreadOf } from './support/statistics.js'
import { inTurns } from './support/versus.js'

const {
  quick,
  isPartial,
  chosen: { only: chosen }
} = optionsOf({ only: COHERENT_CONTENDERS.map(({ name }) => name) })

const READERS = 3
const KEYS = 20
const ROUNDS = quick ? 2 : 7
const CHANGES_MS = quick ? 500 : 2_000
/** From one change to the next: what becomes of one is over before its row changes again. */
const PAUSE_MS = 8
const WARM_MS = 100
const CUT_OFF_MS = 300
/** More than what is needed to connect anew, and to notice that news may have been missed. */
const SETTLE_MS = 3_000

type Worker = WorkerProcess<CoherenceWorker>

interface Fleet {
  readonly namespace: string
  readonly writer: Worker
  readonly readers: readonly Worker[]
  /** Between the readers and Redis. */
  readonly proxies: readonly FaultyProxy[]
}

interface Measured {
  readonly changes: number
  /** For each change and reader, ms. */
  readonly oldMs: readonly number[]
  readonly reads: number
  readonly commands: number
  readonly leftOld: number
  readonly errors: number
}

await using server = await startRedisServer()
const meter = new RedisMeter(server.url)
const definitions = COHERENT_CONTENDERS.filter(({ name }) => chosen.length === 0 || chosen.includes(name))
const progress = startProgress(definitions.length * (1 + ROUNDS))
const fleets = new Map<string, Fleet>()
for (const [index, { name }] of definitions.entries()) {
  progress.step(`opening ${name}`)
  fleets.set(name, await openFleet(name, `coherence${index}`))
}
const measured = await inTurns(ROUNDS, [...fleets.keys()], async (name, round) => {
  progress.step(`${name}, round ${round + 1}`)
  return measure(fleets.get(name)!)
})
progress.end()
for (const { writer, readers, proxies } of fleets.values()) {
  await Promise.all([writer, ...readers].map((worker) => worker.kill()))
  await Promise.all(proxies.map((proxy) => proxy.stop()))
}
const result: CoherenceResult = {
  circumstances: circumstances(
    await meter.version(),
    definitions.flatMap(({ packages }) => packages)
  ),
  settings: { readers: READERS, keys: KEYS, rounds: ROUNDS, cutOffMs: CUT_OFF_MS, settleMs: SETTLE_MS },
  lines: definitions.map(({ name, news }) => lineOf(name, news, measured.get(name)!))
}
meter.close()
console.log(`\n${tableMarkdown(result)}\n`)
for (const { what, passed } of barsOf(result)) console.log(`${passed ? 'reached' : 'MISSED '}  ${what}`)
keep('coherence', result, isPartial)

async function openFleet(name: string, namespace: string): Promise<Fleet> {
  const open = async (url: string): Promise<Worker> => {
    const worker = await startWorker<CoherenceWorker>(
      new URL('contenders/coherence-worker.ts', import.meta.url)
    )
    await worker.call('open', { name, url, sourceUrl: server.url, namespace, keys: KEYS })
    return worker
  }
  const proxies = await Promise.all(Array.from({ length: READERS }, () => startFaultyProxy(server.port)))
  return {
    namespace,
    writer: await open(server.url),
    readers: await Promise.all(proxies.map(({ port }) => open(`redis://127.0.0.1:${port}`))),
    proxies
  }
}

async function measure(fleet: Fleet): Promise<Measured> {
  const { namespace, writer, readers } = fleet
  await Promise.all(readers.map((reader) => reader.call('watch', KEYS)))
  await sleep(WARM_MS)
  await meter.begin()
  const changes: { id: number; version: number; atMs: number }[] = []
  for (const endAt = performance.now() + CHANGES_MS; performance.now() < endAt; await sleep(PAUSE_MS)) {
    const id = (changes.length * 7) % KEYS
    changes.push({ id, ...(await writer.call('change', namespace, id)) })
  }
  await sleep(WARM_MS)
  const { commands } = await meter.end()
  const seen = await Promise.all(readers.map((reader) => reader.call('endWatch')))
  return {
    changes: changes.length,
    oldMs: changes.flatMap((change) => seen.map((one) => oldFor(change, one))),
    reads: seen.reduce((sum, { reads }) => sum + reads, 0),
    commands,
    errors: seen.reduce((sum, { errors }) => sum + errors, 0),
    leftOld: await cutOff(fleet)
  }
}

/** How long after the change had returned the reader still got what was before it. */
function oldFor(
  { id, version, atMs }: { id: number; version: number; atMs: number },
  { lastSeenMs }: CoherenceSeen
): number {
  const before = [...lastSeenMs[id]!].filter(([seen]) => seen < version)
  return Math.max(0, ...before.map(([, lastMs]) => lastMs - atMs))
}

/** Every row changes while no reader hears anything, and all go on reading. How many old ones are left long after? */
async function cutOff({ namespace, writer, readers, proxies }: Fleet): Promise<number> {
  await Promise.all(readers.map((reader) => reader.call('watch', KEYS)))
  await sleep(WARM_MS)
  for (const proxy of proxies) {
    proxy.hole('to-server')
    proxy.hole('from-server')
  }
  const longEnough = sleep(CUT_OFF_MS)
  const newest: number[] = []
  for (let id = 0; id < KEYS; id++) newest.push((await writer.call('change', namespace, id)).version)
  await longEnough
  for (const proxy of proxies) proxy.heal()
  await sleep(SETTLE_MS)
  await Promise.all(readers.map((reader) => reader.call('endWatch')))
  const found = await Promise.all(readers.map((reader) => reader.call('look', KEYS)))
  return found.flat().filter((version, at) => version < newest[at % KEYS]!).length
}

function lineOf(name: string, news: string, rounds: readonly Measured[]): CoherenceLine {
  const sorted = rounds.map(({ oldMs }) => oldMs.toSorted((a, b) => a - b))
  const at = (share: number) => spreadOf(sorted.map((oldMs) => percentile(oldMs, share)))
  const sum = (count: (round: Measured) => number): number =>
    rounds.reduce((total, round) => total + count(round), 0)
  return {
    name,
    news,
    changes: sum(({ changes }) => changes),
    p50Ms: at(0.5),
    p99Ms: at(0.99),
    mostMs: at(1),
    commandsPerThousandReads: rounded((sum(({ commands }) => commands) / sum(({ reads }) => reads)) * 1_000),
    leftOld: sum(({ leftOld }) => leftOld),
    mayBeOld: ROUNDS * READERS * KEYS,
    errors: sum(({ errors }) => errors)
  }
}
