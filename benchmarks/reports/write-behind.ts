import type { Circumstances } from '../support/machine.js'
import type { Spread } from '../support/statistics.js'
import { table } from '../support/table.js'
import type { Bar } from './hit-path.js'

export interface WriteBehindLine {
  readonly name: string
  readonly perSecond: Spread
}

export interface WriteBehindResult {
  readonly circumstances: Circumstances
  readonly postgres: string
  readonly settings: {
    readonly inFlight: number
    readonly keys: number
    readonly connections: number
    readonly batch: number
  }
  /** Acknowledged a second, with nothing else going on. */
  readonly accepted: readonly WriteBehindLine[]
  /** In the table a second, from the first call to the last row. */
  readonly arrived: readonly WriteBehindLine[]
}

const LEAST_INCREMENTS = 50_000
const LEAST_OF_XADD = 0.5
const LEAST_OF_SINGLE = 15

export function barsOf({ accepted, arrived }: WriteBehindResult): Bar[] {
  const of = (lines: readonly WriteBehindLine[], name: string): number =>
    lines.find((line) => line.name === name)?.perSecond.median ?? 0
  const increments = of(accepted, 'Corral, increments')
  const toXadd = increments / of(accepted, 'XADD, pipelined')
  const toSingle = of(arrived, 'Corral') / of(arrived, 'INSERT, one row after the other')
  const toManySingle = of(arrived, 'Corral') / of(arrived, 'INSERT, one row each, 10 at once')
  return [
    {
      what: `at least ${LEAST_INCREMENTS} increments acknowledged a second: ${Math.round(increments)}`,
      passed: increments >= LEAST_INCREMENTS
    },
    {
      what: `at least ${LEAST_OF_XADD} of a pipelined XADD: ${toXadd.toFixed(2)}`,
      passed: toXadd >= LEAST_OF_XADD
    },
    {
      what: `at least ${LEAST_OF_SINGLE} times single rows, one after the other, until the last one is in the table: ${toSingle.toFixed(1)} (with 10 connections at once: ${toManySingle.toFixed(1)})`,
      passed: toSingle >= LEAST_OF_SINGLE
    }
  ]
}

export function tablesMarkdown(result: Pick<WriteBehindResult, 'accepted' | 'arrived'>): string {
  return [
    tableOf('acknowledged a second', result.accepted),
    tableOf('in the table a second', result.arrived)
  ].join('\n\n')
}

function tableOf(title: string, lines: readonly WriteBehindLine[]): string {
  const sorted = lines.toSorted((one, other) => other.perSecond.median - one.perSecond.median)
  const rows = sorted.map(({ name, perSecond: { median, min, max } }) => [
    name.startsWith('Corral') ? `**${name}**` : name,
    `${Math.round(median)} (${Math.round(min)}–${Math.round(max)})`
  ])
  return table(['', title], rows)
}

export function writeBehindMarkdown(result: WriteBehindResult): string {
  const { inFlight, keys, connections, batch } = result.settings
  const bars = barsOf(result).map(({ what, passed }) => `- ${passed ? 'reached' : '**missed**'}: ${what}`)
  return [
    '## How fast are writes acknowledged, and how fast do they reach the database?',
    `One process with ${inFlight} callers, each of which waits for its own write; Redis with its append-only file synced ` +
      `every second, and PostgreSQL ${result.postgres} with its defaults, on the same cores. Above, what is acknowledged a ` +
      `second: increments of ${keys} keys, which Corral also shows in their entries, and events. Below, events a second ` +
      'from the first call until the last row is committed: single rows and rows in batches of ' +
      `${batch} over at most ${connections} connections, without Redis; and Corral, by way of Redis and a worker in another ` +
      'process, after which every event is counted. Batches by hand are faster: what is in the array when the process ' +
      'dies is lost, and what was sent when the reply is lost comes twice. Median over the rounds, in brackets the lowest ' +
      'and the highest.',
    tablesMarkdown(result),
    bars.join('\n')
  ].join('\n\n')
}
