import { CORRAL } from '../contenders/contender.js'
import type { Circumstances } from '../support/machine.js'
import type { Spread } from '../support/statistics.js'
import { table } from '../support/table.js'
import type { Bar } from './hit-path.js'

export interface CoherenceResult {
  readonly circumstances: Circumstances
  readonly settings: {
    readonly readers: number
    readonly keys: number
    readonly rounds: number
    readonly cutOffMs: number
    readonly settleMs: number
  }
  readonly lines: readonly CoherenceLine[]
}

export interface CoherenceLine {
  readonly name: string
  readonly news: string
  readonly changes: number
  /** From the return of the call to the last read of the old row that began after it, for each change and reader, ms. */
  readonly p50Ms: Spread
  readonly p99Ms: Spread
  readonly mostMs: Spread
  /** What all processes together sent to Redis. */
  readonly commandsPerThousandReads: number
  /** Of the rows that changed while the readers were cut off, those that a reader still gave as they were before; of all rounds. */
  readonly leftOld: number
  /** That could have been. */
  readonly mayBeOld: number
  readonly errors: number
}

const PROMPT_MS = 5

export function barsOf({ lines }: CoherenceResult): Bar[] {
  const corral = lines.find(({ name }) => name === CORRAL)
  if (corral === undefined) return []
  const { p99Ms, leftOld, mayBeOld } = corral
  return [
    {
      what: `no other process reads the old row ${PROMPT_MS} ms later, p99: ${milliseconds(p99Ms.median)} ms`,
      passed: p99Ms.median <= PROMPT_MS
    },
    {
      what: `nobody who was cut off goes on with an old row: ${leftOld} of ${mayBeOld}`,
      passed: leftOld === 0
    }
  ]
}

export function tableMarkdown({ lines, settings }: Pick<CoherenceResult, 'lines' | 'settings'>): string {
  const rows = lines
    .toSorted((a, b) => a.p99Ms.median - b.p99Ms.median || a.leftOld - b.leftOld)
    .map(({ name, news, p50Ms, p99Ms, mostMs, commandsPerThousandReads, leftOld, mayBeOld, errors }) => [
      name === CORRAL ? `**${name}**` : name,
      news,
      ...[p50Ms, p99Ms, mostMs].map(spread),
      String(commandsPerThousandReads),
      `${leftOld} of ${mayBeOld}`,
      String(errors)
    ])
  const head = [
    '',
    'others hear of it by',
    'old row for, p50 ms',
    'p99 ms',
    'most ms',
    'commands for 1,000 reads'
  ]
  return table([...head, `old ${settings.settleMs / 1_000} s after the cut`, 'errors'], rows)
}

export function coherenceMarkdown(result: CoherenceResult): string {
  const { readers, keys, rounds, cutOffMs, settleMs } = result.settings
  const bars = barsOf(result).map(({ what, passed }) => `- ${passed ? 'reached' : '**missed**'}: ${what}`)
  return [
    '## How long do other processes serve an old row from memory, beside others?',
    `Caches that keep values in the process in front of Redis, for an hour in both. One process changes one of ${keys} rows at a time and ` +
      `declares it wrong by the call that the library has for that; ${readers} others read all of them all the time. For each change and ` +
      'reader: how long after the call had returned did a read begin that still got the old row? 0 when none did; where nobody is told, until ' +
      'the round was over. cacheable has messages between processes by way of a package beside it, which is not among those that are asked. ' +
      `Then nothing gets through between the readers and Redis for ${cutOffMs} ms, in which every row changes; ` +
      `${settleMs / 1_000} s after that each reader is asked for each row. ${rounds} rounds in turns: of times the median, in brackets the ` +
      'lowest and the highest; of rows the sum.',
    tableMarkdown(result),
    bars.join('\n')
  ].join('\n\n')
}

function spread({ median, min, max }: Spread): string {
  return `${milliseconds(median)} (${milliseconds(min)}–${milliseconds(max)})`
}

function milliseconds(ms: number): string {
  return ms < 100 ? ms.toFixed(2) : ms.toFixed(0)
}
