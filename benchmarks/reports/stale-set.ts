import { CORRAL } from '../contenders/contender.js'
import type { Circumstances } from '../support/machine.js'
import { table } from '../support/table.js'
import type { Bar } from './hit-path.js'

export interface StaleSetResult {
  readonly circumstances: Circumstances
  readonly postgres: string
  readonly settings: { readonly rounds: number; readonly lateMs: number }
  readonly lines: readonly StaleSetLine[]
}

/** Where the invalidation was called, seen from the load. */
export type Place = 'the same process' | 'another process'

export interface StaleSetLine {
  readonly name: string
  /** Rounds after which the cache gave the old row to who read when all was over. */
  readonly kept: Readonly<Record<Place, number>>
  /** Rounds in which who read while the load was still under way was given the old row. */
  readonly handed: Readonly<Record<Place, number>>
}

const PLACES: readonly Place[] = ['the same process', 'another process']

export function barsOf({ settings: { rounds }, lines }: StaleSetResult): Bar[] {
  const corral = lines.find(({ name }) => name === CORRAL)
  if (corral === undefined) return []
  return PLACES.flatMap((place) => [
    {
      what: `invalidated in ${place}: no old row left in the cache: ${corral.kept[place]} of ${rounds}`,
      passed: corral.kept[place] === 0
    },
    {
      what: `invalidated in ${place}: no old row handed to who comes after: ${corral.handed[place]} of ${rounds}`,
      passed: corral.handed[place] === 0
    }
  ])
}

/** Reads of the old row in all, least first. */
export function ranked(lines: readonly StaleSetLine[]): StaleSetLine[] {
  return lines.toSorted((a, b) => staleReads(a) - staleReads(b))
}

export function staleReads({ kept, handed }: StaleSetLine): number {
  return PLACES.reduce((sum, place) => sum + kept[place] + handed[place], 0)
}

export function tableMarkdown({ lines }: Pick<StaleSetResult, 'lines'>): string {
  const rows = ranked(lines).map(({ name, kept, handed }) => [
    name.startsWith(CORRAL) ? `**${name}**` : name,
    ...PLACES.flatMap((place) => [String(kept[place]), String(handed[place])])
  ])
  const head = PLACES.flatMap((place) => [`${place}: left in the cache`, 'handed on'])
  return table(['invalidated in', ...head], rows)
}

export function staleSetMarkdown(result: StaleSetResult): string {
  const { rounds, lateMs } = result.settings
  const bars = barsOf(result).map(({ what, passed }) => `- ${passed ? 'reached' : '**missed**'}: ${what}`)
  return [
    '## Who gets the old row after an invalidation?',
    `A process loads a row that is not cached. Its loader has read the row from PostgreSQL ${result.postgres} and is on its ` +
      'way back with it. Then the row changes and the entry is invalidated, by the call that the library has for it, in ' +
      'the same process or in another, and that call returns; after that the load goes on. Left in the cache: when all is over, a read ' +
      'in either process gets the old row, and so do all until it expires. Handed on: a read that begins after the ' +
      `invalidation returned, in the process that loads and ${lateMs} ms before the load goes on, gets the old row. Of ${rounds} rounds each.`,
    tableMarkdown(result),
    bars.join('\n')
  ].join('\n\n')
}
