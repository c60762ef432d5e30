import { CORRAL } from '../contenders/contender.js'
import type { Circumstances } from '../support/machine.js'
import type { Spread } from '../support/statistics.js'
import { table } from '../support/table.js'
import type { Bar } from './hit-path.js'

export interface StormResult {
  readonly circumstances: Circumstances
  readonly postgres: string
  readonly settings: {
    readonly processes: number
    /** To the database, of each process. */
    readonly connections: number
    readonly keys: number
    readonly skew: number
    /** Of all processes together. */
    readonly readsPerSecond: number
    readonly loadMs: number
    readonly ttlMs: number
    readonly staleMs: number
    readonly beforeMs: number
    readonly afterMs: number
    readonly rounds: number
  }
  readonly cases: readonly StormCase[]
}

export interface StormCase {
  /** Whether old values may be served while they are refreshed. */
  readonly stale: boolean
  readonly contenders: readonly StormLine[]
}

export interface StormLine {
  readonly name: string
  /** Queries of all processes in one storm. */
  readonly loads: Spread
  /** Of them under way at the same time, those that wait for a connection among them. */
  readonly mostAtOnce: Spread
  /** Reads that failed, over all rounds. */
  readonly errors: number
  /** From when a read was due until its answer. */
  readonly p50Ms: Spread
  readonly p99Ms: Spread
  readonly maxMs: Spread
}

/** Early refresh may come round again before the reads are over. */
const LOADS_A_KEY = 1.1

export function barsOf({ settings: { keys, loadMs }, cases }: StormResult): Bar[] {
  return cases.flatMap(({ stale, contenders }) => {
    const corral = contenders.find(({ name }) => name === CORRAL)
    if (corral === undefined) return []
    const place = stale ? 'stale values allowed' : 'fresh values only'
    const bars: Bar[] = [
      {
        what: `${place}: one load for a key, at most ${LOADS_A_KEY} on the average: ${(corral.loads.max / keys).toFixed(2)}`,
        passed: corral.loads.max <= LOADS_A_KEY * keys
      }
    ]
    if (!stale) return bars
    const waits = `${place}: nobody waits for a load of ${loadMs} ms, p99: ${corral.p99Ms.median.toFixed(1)} ms`
    return [...bars, { what: waits, passed: corral.p99Ms.median < loadMs }]
  })
}

export function caseMarkdown({ stale, contenders }: StormCase): string {
  const rows = contenders
    .toSorted((a, b) => a.loads.median - b.loads.median || a.p99Ms.median - b.p99Ms.median)
    .map(({ name, loads, mostAtOnce, p50Ms, p99Ms, maxMs, errors }) => [
      name.startsWith(CORRAL) ? `**${name}**` : name,
      range(loads),
      range(mostAtOnce),
      range(p50Ms),
      range(p99Ms),
      range(maxMs),
      String(errors)
    ])
  const title = stale ? 'stale values allowed' : 'fresh values only'
  return `### ${title}\n\n${table(['', 'loads', 'most at once', 'p50 ms', 'p99 ms', 'longest ms', 'errors'], rows)}`
}

export function expiryStormMarkdown(result: StormResult): string {
  const { settings, postgres, cases } = result
  const { processes, connections, keys, readsPerSecond, loadMs, ttlMs, staleMs, beforeMs, afterMs, rounds } =
    settings
  const bars = barsOf(result).map(({ what, passed }) => `- ${passed ? 'reached' : '**missed**'}: ${what}`)
  return [
    '## What happens when many hot keys expire together?',
    `${keys} keys are stored at the same moment with a TTL of ${ttlMs / 1_000} s. ${processes} processes read them, ` +
      `${readsPerSecond} times a second in all, whether the reads before are answered or not, from ${beforeMs / 1_000} s before ` +
      `the TTL is over until ${afterMs / 1_000} s after. A load is a query of ${loadMs} ms on PostgreSQL ${postgres}, for which each process ` +
      `has ${connections} connections. First with fresh values only; then, with those that can, old values may be served for ${staleMs / 1_000} s ` +
      'while they are refreshed. Corral has its defaults: the TTL is shortened by a random share of up to a tenth, and ' +
      'shortly before the end one process refreshes early; `jitter: 0, earlyRefresh: 0` is without both. Waits are counted from when ' +
      `a read was due. Median of ${rounds} storms, in brackets the lowest and the highest.`,
    ...cases.map(caseMarkdown),
    '### What Corral wants to reach in a storm',
    bars.join('\n')
  ].join('\n\n')
}

function range({ median, min, max }: Spread): string {
  return min === max ? short(median) : `${short(median)} (${short(min)}–${short(max)})`
}

function short(figure: number): string {
  return Number.isInteger(figure) ? String(figure) : figure.toFixed(figure < 100 ? 1 : 0)
}
