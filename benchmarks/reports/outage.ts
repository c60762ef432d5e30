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
    /** When the wait of a request begins; when it was asked, where this is missing. */
    readonly countedFrom?: 'due'
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

export function tableMarkdown(result: Pick<OutageResult, 'lines'>): string {
  return [waitsMarkdown(result), worstMarkdown(result)].join('\n\n')
}

/** By what fails, and by who reads: p99, and how many requests ended in an error. */
function waitsMarkdown({ lines }: Pick<OutageResult, 'lines'>): string {
  const names = [...new Set(lines.map(({ name }) => name))]
  const faults = [...new Set(lines.map(({ fault }) => fault))]
  const cellOf = ({ p99, errors, requests }: OutageLine): string =>
    errors === 0 ? p99.toFixed(0) : `${p99.toFixed(0)}, ${percent(errors / requests)} errors`
  const rows = faults.map((fault) => {
    const cells = names.map((name) => lines.find((line) => line.fault === fault && line.name === name))
    return [fault, ...cells.map((line) => (line === undefined ? '' : cellOf(line)))]
  })
  return table(['p99 in ms while Redis …', ...names.map(shown)], rows)
}

/** Of each reader the worst of all faults. */
function worstMarkdown({ lines }: Pick<OutageResult, 'lines'>): string {
  const names = [...new Set(lines.map(({ name }) => name))]
  const rows = names.map((name) => {
    const own = lines.filter((line) => line.name === name)
    const most = (figure: (line: OutageLine) => number): number => Math.max(...own.map(figure))
    const back = own.some(({ backMs }) => backMs === undefined)
      ? 'not'
      : most(({ backMs }) => backMs!).toFixed(0)
    const [failed, requests] = [sum(own.map((line) => line.errors)), sum(own.map((line) => line.requests))]
    return [
      shown(name),
      `${most(({ p99 }) => p99).toFixed(0)}`,
      failed === 0 ? '0' : `${failed} (${percent(failed / requests)})`,
      String(most(({ mostLoads }) => mostLoads)),
      back
    ]
  })
  return table(
    ['over all of them', 'worst p99 ms', 'errors', 'most loads at once', 'slowest to be back, ms'],
    rows
  )
}

function shown(name: string): string {
  return name === CORRAL ? `**${name}**` : name
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0)
}

function percent(share: number): string {
  return share < 0.01 ? 'under 1%' : `${Math.round(share * 100)}%`
}

export function outageMarkdown(result: OutageResult): string {
  const { requestsPerSecond, outageMs, loadMs, limit, deadlineMs, countedFrom } = result.settings
  const bars = barsOf(result).map(({ what, passed }) => `- ${passed ? 'reached' : '**missed**'}: ${what}`)
  return [
    '## What do callers notice while Redis fails?',
    `${requestsPerSecond} requests a second, which come whether the ones before are answered or not, for 300 rows whose source is ` +
      `well and takes ${loadMs} ms. After a warm second Redis fails for ${outageMs} ms; requests of that time are counted, and ` +
      'one that has no answer seconds after the fault counts as an answer that came then. ' +
      `${countedFrom === 'due' ? 'Waits are counted from when a request was due. ' : ''}Corral ` +
      `has its deadline of ${deadlineMs} ms for a command, and may run ${limit} loads at once. "By hand" are four lines: ` +
      '`redis.get`, the query when that gave nothing or threw, `redis.set`. All have their drivers as their documentation ' +
      'sets them up. "Back" is the first value from Redis after the fault.',
    tableMarkdown(result),
    bars.join('\n')
  ].join('\n\n')
}
