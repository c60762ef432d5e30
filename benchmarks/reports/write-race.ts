import { CORRAL } from '../contenders/contender.js'
import type { WayToWrite } from '../contenders/race-worker.js'
import type { Circumstances } from '../support/machine.js'
import type { Spread } from '../support/statistics.js'
import { table } from '../support/table.js'
import type { Bar } from './hit-path.js'

export interface WriteRaceResult {
  readonly circumstances: Circumstances
  readonly postgres: string
  readonly settings: { readonly rounds: number }
  readonly lines: readonly WriteRaceLine[]
}

export interface WriteRaceLine {
  readonly name: string
  readonly way: WayToWrite
  /** Rounds at whose end the cache gave another row than the database had. */
  readonly different: number
  /** Of one change of row and cache, two at once. */
  readonly medianMs: Spread
}

const WAYS: Readonly<Record<WayToWrite, string>> = {
  put: 'one call for both',
  set: 'the row, then the cache is set',
  delete: 'the row, then the cache is emptied'
}

export function barsOf({ settings: { rounds }, lines }: WriteRaceResult): Bar[] {
  return lines
    .filter(({ name }) => name.startsWith(CORRAL))
    .map(({ name, different }) => ({
      what: `${name}: the cache is never other than the row: ${different} of ${rounds}`,
      passed: different === 0
    }))
}

export function tableMarkdown({ lines }: Pick<WriteRaceResult, 'lines'>): string {
  const rows = lines
    .toSorted((a, b) => a.different - b.different || a.medianMs.median - b.medianMs.median)
    .map(({ name, way, different, medianMs: { median, min, max } }) => [
      name.startsWith(CORRAL) ? `**${name}**` : name,
      WAYS[way],
      String(different),
      `${median.toFixed(2)} (${min.toFixed(2)}–${max.toFixed(2)})`
    ])
  return table(['', 'a change is', 'rounds that end different', 'a change, ms'], rows)
}

export function writeRaceMarkdown(result: WriteRaceResult): string {
  const bars = barsOf(result).map(({ what, passed }) => `- ${passed ? 'reached' : '**missed**'}: ${what}`)
  return [
    '## Two processes write the same row: is the cache what the row is?',
    `In each of ${result.settings.rounds} rounds two processes change one row of PostgreSQL ${result.postgres} and its ` +
      'cache at the same moment, while somebody reads. When all three are done, what a read gives is compared with the ' +
      'row. Corral by `put`; the others change the row and then set the cache, or empty it, where the library has a call ' +
      'for that. Whoever only empties the cache is safe from another writer, and not from a load that is under way: that is ' +
      '[the question above](#who-gets-the-old-row-after-an-invalidation). Figures of time are the median over the turns, in brackets the lowest and the ' +
      'highest.',
    tableMarkdown(result),
    bars.join('\n')
  ].join('\n\n')
}
