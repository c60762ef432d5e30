import type { Circumstances } from '../support/machine.js'
import type { Spread } from '../support/statistics.js'
import { table } from '../support/table.js'

export interface LatencyResult {
  readonly circumstances: Circumstances
  readonly postgres: string
  readonly settings: { readonly rows: number; readonly rounds: number; readonly roundMs: number }
  readonly cases: readonly LatencyCase[]
}

/** Ways to an answer, slowest first. */
export const WAYS = {
  aggregate: 'PostgreSQL, an aggregate of all rows',
  select: 'PostgreSQL, a row by its primary key',
  redis: 'Redis, `GET` and `JSON.parse`',
  corralRedis: '**Corral**, from Redis',
  corralMemory: '**Corral**, from memory'
} as const

export type Way = keyof typeof WAYS

export interface LatencyCase {
  readonly shape: string
  readonly lines: readonly LatencyLine[]
}

export interface LatencyLine {
  readonly way: Way
  /** Microseconds. */
  readonly p50Us: Spread
  readonly p99Us: Spread
  /** The p50, in those of Redis in the same round. */
  readonly timesRedis: Spread
}

/** What is often said of the database next to Redis. */
const SAID = { least: 20, most: 40 }

export function tableMarkdown({ shape, lines }: LatencyCase): string {
  const rows = lines.map(({ way, p50Us, p99Us, timesRedis }) => [
    WAYS[way],
    `${short(timesRedis.median)} (${short(timesRedis.min)}–${short(timesRedis.max)})`,
    short(p50Us.median),
    `${short(p99Us.median)} (${short(p99Us.min)}–${short(p99Us.max)})`
  ])
  return table([`rows of ${shape}`, 'p50, in those of Redis', 'p50 µs', 'p99 µs'], rows)
}

/** Whether what is often said holds, in plain words. */
export function latencySentence({ cases }: Pick<LatencyResult, 'cases'>): string {
  const timesOf = (way: Way): number[] =>
    cases.flatMap(({ lines }) =>
      lines.filter((line) => line.way === way).map((line) => line.timesRedis.median)
    )
  const [select, aggregate] = [timesOf('select'), timesOf('aggregate')]
  const memory = timesOf('corralMemory').map((times) => 1 / times)
  const holds = select.every((times) => times >= SAID.least)
  return (
    `Redis is often said to answer ${SAID.least} to ${SAID.most} times as fast as the database. For a row by its primary key ` +
    `that ${holds ? 'holds' : 'does not hold'} here, with all on one machine and everything in memory: it is ${range(select)} ` +
    `times. For an aggregate over all rows it is ${range(aggregate)} times. So what Redis saves is the query's work, and the ` +
    `database's for others; a cheap query is hardly worth it. A hit in memory is ${range(memory)} times as fast as Redis.`
  )
}

export function latencyMarkdown(result: LatencyResult): string {
  const { rows, rounds, roundMs } = result.settings
  return [
    '## How much faster than the database is Redis, and how much faster than Redis is memory?',
    `${rows} rows in PostgreSQL ${result.postgres}, in Redis and in memory, everything on the loopback and warm. One caller, who ` +
      'waits for each answer before the next question; prepared statements; each way in a process of its own, in turns. ' +
      `Ratios are to Redis in the same round: the median of ${rounds} rounds of ${roundMs} ms, and in brackets the lowest ` +
      'and the highest. A hit in memory is timed 50 at a time.',
    latencySentence(result),
    ...result.cases.map(tableMarkdown)
  ].join('\n\n')
}

function range(times: readonly number[]): string {
  const [least, most] = [short(Math.min(...times)), short(Math.max(...times))]
  return least === most ? least : `${least} to ${most}`
}

function short(figure: number): string {
  if (figure >= 100) return figure.toFixed(0)
  return figure >= 1 ? figure.toFixed(1) : figure.toPrecision(2)
}
