/**
 * What does a hit in memory cost, next to a bare map and to every other cache with a tier in the process?
 *
 *     npx tsx benchmarks/memory-hit.ts [--quick] [--shape '2 KiB'] [--only name]
 */
import { startWorker, type WorkerProcess } from '../test/support/processes.js'
import { startRedisServer } from '../test/support/redis-server.js'
import { BARE, CORRAL, MEMORY_CONTENDERS } from './contenders/memory-contenders.js'
import type { MemoryWorker } from './contenders/memory-worker.js'
import { keep } from './keep.js'
import { barsOf, caseMarkdown, type MemoryHitCase, type MemoryHitResult } from './reports/memory-hit.js'
import { circumstances } from './support/machine.js'
import { optionsOf } from './support/options.js'
import { startProgress } from './support/progress.js'
import { RedisMeter } from './support/redis-facts.js'
import type { Shape } from './support/rows.js'
import { rounded, spreadOf } from './support/statistics.js'
import { inTurns } from './support/versus.js'

const SHAPES: readonly Shape[] = ['200 B', '2 KiB', '50 KiB']
const {
  quick,
  isPartial,
  chosen: { shape: chosenShapes, only: chosenNames }
} = optionsOf({ shape: SHAPES, only: MEMORY_CONTENDERS.map(({ name }) => name) })

const KEYS = 500
const ROUNDS = quick ? 3 : 7
/** Not counted. */
const WARM_ROUNDS = 2
const ROUND_MS = quick ? 60 : 150

interface Measured {
  readonly nsPerHit: number
  readonly hits: number
  readonly commands: number
}

await using server = await startRedisServer()
const meter = new RedisMeter(server.url)
const cases: MemoryHitCase[] = []
for (const shape of SHAPES)
  if (chosenShapes.length === 0 || chosenShapes.includes(shape)) cases.push(await measureShape(shape))
const result: MemoryHitResult = {
  circumstances: circumstances(
    await meter.version(),
    MEMORY_CONTENDERS.flatMap(({ packages }) => packages)
  ),
  settings: { keys: KEYS, rounds: ROUNDS, roundMs: ROUND_MS },
  cases
}
meter.close()
for (const { what, passed } of cases.flatMap(barsOf))
  console.log(`${passed ? 'reached' : 'MISSED '}  ${what}`)
keep('memory-hit', result, isPartial)

async function measureShape(shape: Shape): Promise<MemoryHitCase> {
  await meter.empty()
  const names = MEMORY_CONTENDERS.map(({ name }) => name).filter(
    (name) => chosenNames.length === 0 || [BARE, CORRAL, ...chosenNames].includes(name)
  )
  const workers = new Map<string, WorkerProcess<MemoryWorker>>()
  const looksUp = new Set<string>()
  const progress = startProgress(names.length * (1 + WARM_ROUNDS + ROUNDS))
  try {
    for (const [index, name] of names.entries()) {
      progress.step(`rows of ${shape}: filling ${name}`)
      const worker = await startWorker<MemoryWorker>(new URL('contenders/memory-worker.ts', import.meta.url))
      workers.set(name, worker)
      if (await worker.call('open', name, server.url, `memory${index}`, shape, KEYS)) looksUp.add(name)
    }
    const measure = async (name: string): Promise<Measured> => {
      progress.step(`rows of ${shape}: ${name}`)
      await meter.begin()
      const nsPerHit = await workers.get(name)!.call('hits', ROUND_MS)
      const { commands } = await meter.end()
      return { nsPerHit, hits: (ROUND_MS * 1e6) / nsPerHit, commands }
    }
    await inTurns(WARM_ROUNDS, names, measure)
    const figures = await inTurns(ROUNDS, names, measure)
    progress.end()
    const lookUps = new Map<string, number[]>()
    for (const name of looksUp) lookUps.set(name, await workers.get(name)!.call('lookUps', ROUND_MS))
    const one: MemoryHitCase = {
      shape,
      contenders: names.map((name) => {
        const rounds = figures.get(name)!
        const hits = rounds.reduce((sum, round) => sum + round.hits, 0)
        const bare = figures.get(BARE)!
        const ownLookUps = lookUps.get(name)?.toSorted((a, b) => a - b)
        return {
          name,
          throughput: spreadOf(rounds.map(({ nsPerHit }, index) => bare[index]!.nsPerHit / nsPerHit)),
          nsPerHit: spreadOf(rounds.map(({ nsPerHit }) => nsPerHit)).median,
          nsPerLookUp: ownLookUps?.[ownLookUps.length >> 1],
          commandsPerThousand: rounded(
            (rounds.reduce((sum, { commands }) => sum + commands, 0) / hits) * 1_000
          )
        }
      })
    }
    console.log(`\n${caseMarkdown(one)}\n`)
    return one
  } finally {
    await Promise.all([...workers.values()].map((worker) => worker.kill()))
  }
}
