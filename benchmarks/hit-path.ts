/**
 * What does a warm hit cost, next to reading Redis by hand and next to every other cache?
 *
 *     npx tsx benchmarks/hit-path.ts [--quick] [--shape '2 KiB'] [--only name] [--against folder]
 *
 * `--shape` and `--only` may be repeated and leave the committed result as it is; `--against` takes part with another
 * build of Corral, such as a worktree of an earlier commit.
 */
import { startWorker, type WorkerProcess } from '../test/support/processes.js'
import { startRedisServer } from '../test/support/redis-server.js'
import {
  BASELINE,
  CONTENDERS,
  CORRAL,
  corralAt,
  REVIVING,
  WITHOUT_RECENT,
  type Definition
} from './contenders/contenders.js'
import type { HitFigures, HitRun, HitWorker, Opened } from './contenders/hit-worker.js'
import { keep } from './keep.js'
import { barsOf, caseMarkdown, type HitCase, type HitLine, type HitPathResult } from './reports/hit-path.js'
import { circumstances } from './support/machine.js'
import { optionsOf } from './support/options.js'
import { startProgress } from './support/progress.js'
import { RedisMeter, type RedisWork } from './support/redis-facts.js'
import { SHAPES, type Shape } from './support/rows.js'
import { rounded, spreadOf } from './support/statistics.js'
import { inTurns } from './support/versus.js'

const { quick, isPartial, chosen } = optionsOf({
  shape: SHAPES,
  only: [...CONTENDERS, WITHOUT_RECENT, REVIVING].map(({ name }) => name),
  against: undefined
})
const { shape: chosenShapes, only: chosenNames } = chosen
const others = chosen.against.map(corralAt)

const KEYS = quick ? 1_000 : 10_000
const ROUNDS = quick ? 3 : 7
const ROUND_MS = quick ? 200 : 400
const RUNS: readonly Pick<HitRun, 'call' | 'concurrency'>[] = [
  { call: 'get', concurrency: 1 },
  { call: 'get', concurrency: 64 },
  { call: 'get', concurrency: 512 },
  { call: 'getMany', concurrency: 1 },
  { call: 'getMany', concurrency: 8 }
]

interface Measured extends HitFigures {
  readonly work: RedisWork
}

const cases: HitCase[] = []
await using server = await startRedisServer()
const meter = new RedisMeter(server.url)
for (const shape of SHAPES) {
  if (chosenShapes.length === 0 || chosenShapes.includes(shape)) await measureShape(shape)
}
const result: HitPathResult = {
  circumstances: circumstances(
    await meter.version(),
    CONTENDERS.flatMap(({ packages }) => packages)
  ),
  settings: { keys: KEYS, skew: 0.99, rounds: ROUNDS, roundMs: ROUND_MS },
  cases
}
meter.close()
for (const { what, passed } of cases.flatMap(barsOf))
  console.log(`${passed ? 'reached' : 'MISSED '}  ${what}`)
keep('hit-path', result, isPartial)

async function measureShape(shape: Shape): Promise<void> {
  await meter.empty()
  const contenders = [...CONTENDERS, ...others, ...extrasOf(shape)].filter(
    ({ name }) =>
      chosenNames.length === 0 ||
      name === BASELINE ||
      chosenNames.includes(name) ||
      others.some((other) => other.name === name)
  )
  const opened = new Map<string, { worker: WorkerProcess<HitWorker>; facts: Opened }>()
  const progress = startProgress(contenders.length + RUNS.length)
  try {
    for (const contender of contenders) {
      progress.step(`rows of ${shape}: filling ${contender.name}`)
      opened.set(contender.name, await openContender(contender, shape, `bench${opened.size}`))
    }
    const measured: HitCase[] = []
    for (const run of RUNS) {
      progress.step(`rows of ${shape}: ${run.call}, ${run.concurrency} at once`)
      measured.push(...(await measureRun(shape, run, opened)))
    }
    progress.end()
    for (const one of measured) console.log(`\n${caseMarkdown(one)}\n`)
    cases.push(...measured)
  } finally {
    await Promise.all([...opened.values()].map(({ worker }) => worker.kill()))
  }
}

/** For large rows, and for dates, there is more than one fair comparison. */
function extrasOf(shape: Shape): Definition[] {
  if (shape === '50 KiB with dates') return [WITHOUT_RECENT, REVIVING]
  return shape === '50 KiB' ? [WITHOUT_RECENT] : []
}

async function openContender(
  { name }: Definition,
  shape: Shape,
  namespace: string
): Promise<{ worker: WorkerProcess<HitWorker>; facts: Opened }> {
  const worker = await startWorker<HitWorker>(new URL('contenders/hit-worker.ts', import.meta.url))
  const facts = await worker.call('open', name, server.url, namespace, shape, KEYS)
  return { worker, facts }
}

async function measureRun(
  shape: Shape,
  { call, concurrency }: (typeof RUNS)[number],
  opened: ReadonlyMap<string, { worker: WorkerProcess<HitWorker>; facts: Opened }>
): Promise<HitCase[]> {
  const names = [...opened]
    .filter(([, { facts }]) => call === 'get' || facts.hasGetMany)
    .map(([name]) => name)
  if (!names.includes(CORRAL) && others.length === 0) return []
  const measure = async (name: string, round: number): Promise<Measured> => {
    const { worker } = opened.get(name)!
    await meter.begin()
    const figures = await worker.call('run', { call, concurrency, ms: ROUND_MS, seed: round + 1 })
    return { ...figures, work: await meter.end() }
  }
  await inTurns(1, names, measure) // Warms up; not counted.
  const figures = await inTurns(ROUNDS, names, measure)
  const baseline = figures.get(BASELINE)!
  const one: HitCase = {
    shape,
    call,
    concurrency,
    contenders: names.map((name) => lineOf(name, figures.get(name)!, baseline, opened.get(name)!.facts.exact))
  }
  return [one]
}

function lineOf(
  name: string,
  rounds: readonly Measured[],
  baseline: readonly Measured[],
  exact: boolean
): HitLine {
  const hits = rounds.reduce((sum, round) => sum + round.hits, 0)
  const perHit = (count: (work: RedisWork) => number): number =>
    rounded(rounds.reduce((sum, { work }) => sum + count(work), 0) / hits)
  return {
    name,
    throughput: spreadOf(rounds.map((round, index) => speedOf(round) / speedOf(baseline[index]!))),
    cpu: spreadOf(rounds.map((round, index) => cpuOf(round) / cpuOf(baseline[index]!))),
    hitsPerSecond: spreadOf(rounds.map(speedOf)).median,
    cpuMicrosecondsPerHit: spreadOf(rounds.map(cpuOf)).median,
    keysReadPerHit: perHit(({ keysRead }) => keysRead),
    commandsPerHit: perHit(({ commands }) => commands),
    bytesPerHit: perHit(({ bytesSent }) => bytesSent),
    exact
  }
}

function speedOf({ hits, ms }: HitFigures): number {
  return (hits / ms) * 1000
}

function cpuOf({ hits, cpuMs }: HitFigures): number {
  return (cpuMs / hits) * 1000
}
