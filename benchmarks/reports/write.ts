import type { Circumstances } from '../support/machine.js'
import { rounded, type Spread } from '../support/statistics.js'
import { table } from '../support/table.js'
import type { Bar } from './hit-path.js'

export interface WriteResult {
  readonly circumstances: Circumstances
  readonly settings: { readonly rounds: number; readonly rows: number }
  /** Commands that one `put` sends to Redis. */
  readonly commandsPerPut: number
  readonly lines: readonly WriteLine[]
}

export interface WriteLine {
  readonly name: string
  readonly callers: number
  readonly perSecond: Spread
  /** Of the changes per second, to those of the bare change in the same round. */
  readonly ratio: Spread
  /** Median time of one change. */
  readonly medianMs: Spread
}

export function barsOf({ commandsPerPut }: WriteResult): Bar[] {
  return [
    {
      what: `a put costs two round trips to Redis, and now and then a look at the counters with the first: ${rounded(commandsPerPut)} commands`,
      passed: commandsPerPut <= 3
    }
  ]
}

export function tableMarkdown({ lines }: Pick<WriteResult, 'lines'>): string {
  const rows = lines.map(({ name, callers, perSecond, ratio, medianMs }) => [
    name === 'Corral' ? `**${name}**` : name,
    String(callers),
    `${ratio.median} (${ratio.min}–${ratio.max})`,
    String(Math.round(perSecond.median)),
    String(medianMs.median)
  ])
  return table(['', 'callers', 'of the bare change', 'changes/s', 'median ms'], rows)
}

export function writeMarkdown(result: WriteResult): string {
  const { rounds, rows } = result.settings
  const bars = barsOf(result).map(({ what, passed }) => `- ${passed ? 'reached' : '**missed**'}: ${what}`)
  return [
    '## What does a write through the cache cost?',
    `One row of ${rows} in PostgreSQL is changed and its new version cached: by hand with a \`SET\` after it, which leaves an old row ` +
      'in the cache when two writers cross, and by `put`, which does not: a guard before the change, the row after it. ' +
      `${rounds} rounds in turns; ratios are of the same round.`,
    tableMarkdown(result),
    bars.join('\n')
  ].join('\n\n')
}
