import { type HerdResult, releaseHerd } from './herd.js'
import { count, duration, percentile, table } from './report.js'
import type { StatementCount, StatementCounter } from './statement-counter.js'
import { step } from './step.js'

export interface Variant {
  readonly name: string
  readonly path: string
}

/** From the barest to ours; the paths are those of rivals.ts and of the API itself. */
export const VARIANTS: readonly Variant[] = [
  { name: 'no cache', path: '/demo/no-cache/homepage' },
  { name: 'GET, on a miss load and SET EX', path: '/demo/blog/homepage' },
  { name: 'the same with SET NX PX and polling', path: '/demo/lock/homepage' },
  { name: 'Corral', path: '/api/homepage' }
]

export interface Stage {
  readonly urls: readonly string[]
  readonly requests: number
  readonly patienceMs: number
  readonly counter: StatementCounter
  /** Empties the demo's own Redis. */
  readonly emptyCache: () => Promise<void>
  /** Commands that Redis has run since it was started. */
  readonly redisCommands: () => Promise<number>
}

export interface Outcome extends HerdResult {
  readonly variant: Variant
  /** Home-page queries that reached PostgreSQL. */
  readonly queries: StatementCount
  readonly redisCommands: number
}

/** One herd against one variant, from a cold cache. */
export function releaseOn(variant: Variant, stage: Stage): Promise<Outcome> {
  return step(`${variant.name}: ${count(stage.requests)} requests at once`, async ({ say, done }) => {
    await stage.emptyCache()
    await stage.counter.reset()
    const commandsBefore = await stage.redisCommands()
    let queries: StatementCount | undefined
    const result = await releaseHerd(stage.urls, variant.path, {
      requests: stage.requests,
      patienceMs: stage.patienceMs,
      onProgress: (answered) => say(`${count(answered)} of ${count(stage.requests)} have their answer`),
      // Counted before anyone leaves: a query that is cancelled then has reached the database all the same.
      onPatienceOver: async () => {
        queries = await stage.counter.count()
      }
    })
    queries ??= await stage.counter.count()
    const redisCommands = (await stage.redisCommands()) - commandsBefore
    await settle(stage)
    const outcome = { ...result, variant, queries, redisCommands }
    const reached = reachedDatabase(outcome)
    done(
      `${variant.name}: ${count(reached)} ${reached === 1 ? 'query' : 'queries'} for ${count(stage.requests)} requests`
    )
    return outcome
  })
}

/** Waits until no process of the API has work left over from this round, queued or running. */
async function settle({ urls, counter }: Stage): Promise<void> {
  await Promise.all(urls.map(async (url) => (await fetch(new URL('/demo/drained', url))).arrayBuffer()))
  await counter.idle()
}

export function describeOutcomes(outcomes: readonly Outcome[], patienceMs: number): string {
  return [
    table(
      [
        'from a cold cache',
        'queries in PostgreSQL',
        'answered',
        'median',
        'p99',
        'until the last',
        'Redis commands'
      ],
      outcomes.map((outcome) => [
        outcome.variant.name,
        count(reachedDatabase(outcome)),
        `${count(outcome.answered)} of ${count(outcome.requests)}`,
        latency(outcome, 50, patienceMs),
        latency(outcome, 99, patienceMs),
        outcome.gaveUp > 0 ? `over ${duration(patienceMs)}` : duration(outcome.wallMs),
        count(outcome.redisCommands)
      ])
    ),
    ...outcomes.filter(({ gaveUp }) => gaveUp > 0).map((outcome) => `\n  ${describeCut(outcome)}`),
    ...outcomes
      .filter(({ failed }) => failed > 0)
      .map(
        ({ variant, failed }) =>
          `\n  ${variant.name}: ${count(failed)} were answered with an error or cut off.`
      )
  ].join('\n')
}

function reachedDatabase({ queries }: Outcome): number {
  return queries.finished + queries.running
}

/** What was cut short is said, with what it would have come to: each of those who left was in the queue with a query. */
function describeCut({ variant, gaveUp, queries, wallMs }: Outcome): string {
  const left = `${variant.name}: ${count(gaveUp)} left after ${duration(wallMs)}, each with a query of its own still to come`
  if (queries.finished === 0) return `${left}.`
  const msPerQuery = wallMs / queries.finished
  return `${left}; at ${duration(msPerQuery)} a query the last would have had its answer after another ${duration(gaveUp * msPerQuery)}.`
}

function latency({ latenciesMs }: Outcome, percent: number, patienceMs: number): string {
  const ms = percentile(latenciesMs, percent)
  return Number.isFinite(ms) ? duration(ms) : `over ${duration(patienceMs)}`
}
