import type { Circumstances } from '../support/machine.js'
import { table } from '../support/table.js'
import type { Bar } from './hit-path.js'

export interface OutageResult {
  readonly circumstances: Circumstances
  readonly settings: {
    readonly requestsPerSecond: number
    readonly outageMs: number
    readonly loadMs: number
    readonly limit: number
    readonly deadlineMs: number
  }
  readonly lines: readonly OutageLine[]
}

export interface OutageLine {
  readonly fault: string
  readonly name: string
  readonly requests: number
  readonly errors: number
  readonly p50: number
  readonly p99: number
  /** Loads at the source at the same time, at most. */
  readonly mostLoads: number
  /** From the end of the fault until a value came from Redis again; undefined when that took longer than was waited for. */
  readonly backMs: number | undefined
}

export const CORRAL = 'Corral'
const BACK_MS = 1_000
/** What the timers and the event loop of a busy machine may add. */
const TOLERANCE_MS = 60

export function barsOf({ settings, lines }: OutageResult): Bar[] {
  const { loadMs, limit, deadlineMs } = settings
  const mostMs = loadMs + deadlineMs + TOLERANCE_MS
  return lines
    .filter(({ name }) => name === CORRAL)
    .flatMap(({ fault, errors, p99, mostLoads, backMs }) => [
      { what: `Redis ${fault}: no errors while the source is well: ${errors}`, passed: errors === 0 },
      {
        what: `Redis ${fault}: p99 within a load and one deadline, ${mostMs} ms: ${p99.toFixed(0)} ms`,
        passed: p99 <= mostMs
      },
      { what: `Redis ${fault}: at most ${limit} loads at once: ${mostLoads}`, passed: mostLoads <= limit },
      {
        what: `Redis ${fault}: back within ${BACK_MS} ms: ${backMs?.toFixed(0) ?? 'not'} ms`,
        passed: backMs !== undefined && backMs <= BACK_MS
      }
    ])
}

export function tableMarkdown({ lines }: Pick<OutageResult, 'lines'>): string {
  const rows = lines.map(({ fault, name, requests, errors, p50, p99, mostLoads, backMs }) => [
    fault,
    name === CORRAL ? `**${name}**` : name,
    String(requests),
    String(errors),
    p50.toFixed(1),
    p99.toFixed(0),
    String(mostLoads),
    backMs === undefined ? 'not' : backMs.toFixed(0)
  ])
  return table(
    ['Redis …', '', 'requests', 'errors', 'p50 ms', 'p99 ms', 'loads at once', 'back after ms'],
    rows
  )
}

export function outageMarkdown(result: OutageResult): string {
  const { requestsPerSecond, outageMs, loadMs, limit, deadlineMs } = result.settings
  const bars = barsOf(result).map(({ what, passed }) => `- ${passed ? 'reached' : '**missed**'}: ${what}`)
  return [
    '## What do callers notice while Redis fails?',
    `${requestsPerSecond} requests a second, which come whether the ones before are answered or not, for 300 rows whose source is ` +
      `well and takes ${loadMs} ms. After a warm second Redis fails for ${outageMs} ms; requests of that time are counted. Corral ` +
      `has a deadline of ${deadlineMs} ms for a command and may run ${limit} loads at once. Beside it the four lines by ` +
      'hand: `redis.get`, the query when that gave nothing or threw, `redis.set`; with ioredis as it comes. "Back" is the ' +
      'first value from Redis after the fault.',
    tableMarkdown(result),
    bars.join('\n')
  ].join('\n\n')
}
