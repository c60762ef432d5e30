import type { Circumstances } from '../support/machine.js'
import type { Spread } from '../support/statistics.js'
import { table } from '../support/table.js'
import type { Bar } from './hit-path.js'

export interface ClearResult {
  readonly circumstances: Circumstances
  readonly settings: {
    readonly keyspace: number
    readonly tenantEntries: number
    readonly tagged: number
    readonly rounds: number
    readonly sample: number
  }
  readonly tenant: ClearLine
  readonly tag: ClearLine
}

export interface ClearLine {
  /** Until the call resolved. */
  readonly tookMs: Spread
  /** Until what it had made worthless was removed, in the background; undefined where nothing is. */
  readonly cleanedMs: Spread | undefined
  /** Of all that Redis did meanwhile, 0 when nothing was above 1 ms. */
  readonly slowestCommandMs: number | undefined
  /** Reads that started after the call resolved, and got what was before. */
  readonly stale: number
  /** Entries of neighbours that were gone. */
  readonly lost: number
}

export function barsOf({ tenant, tag }: ClearResult): Bar[] {
  return [
    {
      what: `clearing the tenant takes at most 20 ms: ${tenant.tookMs.max} ms`,
      passed: tenant.tookMs.max <= 20
    },
    { what: `and nobody reads an old value after it: ${tenant.stale}`, passed: tenant.stale === 0 },
    {
      what: `cleaning holds up Redis for at most 5 ms a command: ${tenant.slowestCommandMs} ms`,
      passed: tenant.slowestCommandMs !== undefined && tenant.slowestCommandMs <= 5
    },
    { what: `and the neighbours keep theirs: ${tenant.lost} lost`, passed: tenant.lost === 0 },
    {
      what: `invalidating the tag takes at most 5 ms (median): ${tag.tookMs.median} ms`,
      passed: tag.tookMs.median <= 5
    },
    { what: `and nobody reads an old value after it: ${tag.stale}`, passed: tag.stale === 0 }
  ]
}

export function tableMarkdown({ settings, tenant, tag }: ClearResult): string {
  const line = (name: string, one: ClearLine): string[] => [
    name,
    spread(one.tookMs),
    one.cleanedMs === undefined ? '' : spread(one.cleanedMs),
    one.slowestCommandMs === undefined ? '' : String(one.slowestCommandMs),
    String(one.stale)
  ]
  return table(
    ['', 'takes, ms', 'cleaned after, ms', 'slowest command, ms', 'stale reads'],
    [
      line(`\`clear()\` of a tenant with ${settings.tenantEntries} entries`, tenant),
      line(`\`invalidateTags()\` of a tag on ${settings.tagged} entries`, tag)
    ]
  )
}

export function clearMarkdown(result: ClearResult): string {
  const { keyspace, rounds, sample } = result.settings
  const bars = barsOf(result).map(({ what, passed }) => `- ${passed ? 'reached' : '**missed**'}: ${what}`)
  return [
    '## What does it cost to declare many entries wrong at once?',
    `In a database of ${keyspace} entries of a thousand tenants. The call moves a counter; what it made worthless is removed in ` +
      `pages in the background. ${rounds} rounds; after each call ${2 * sample} reads in two caches look for an old value.`,
    tableMarkdown(result),
    bars.join('\n')
  ].join('\n\n')
}

function spread({ median, min, max }: Spread): string {
  return `${median} (${min}–${max})`
}
