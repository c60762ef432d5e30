import type { Circumstances } from '../support/machine.js'
import type { Spread } from '../support/statistics.js'
import { table } from '../support/table.js'
import type { Bar } from './hit-path.js'

export interface MemoryNewsResult {
  readonly circumstances: Circumstances
  readonly settings: { readonly readers: number; readonly keys: number; readonly trackers: number }
  readonly changes: readonly ChangeLine[]
  readonly writers: {
    /** SETs a second. */
    readonly without: Spread
    readonly withTracking: Spread
    readonly ratio: Spread
    /** The same of the first `firstMs` of each turn, in which all that is kept is dropped. */
    readonly firstMs: number
    readonly firstRatio: Spread
  }
}

export interface ChangeLine {
  readonly change: string
  readonly changes: number
  readonly reads: number
  readonly fromMemory: number
  /** From the return of the call to the last read of the old value that began after it, for each change and process, ms. */
  readonly p50: number
  readonly p99: number
  readonly most: number
}

const PROMPT_MS = 5
const NEARLY = 0.9

export function barsOf({ changes, writers }: MemoryNewsResult): Bar[] {
  const reads = changes.reduce((sum, line) => sum + line.reads, 0)
  const late = Math.max(0, ...changes.map(({ most }) => most).filter((most) => most > PROMPT_MS))
  return [
    ...changes.map(({ change, p99 }) => ({
      what: `${change}: no other process reads the old value ${PROMPT_MS} ms later, p99: ${p99.toFixed(2)} ms`,
      passed: p99 <= PROMPT_MS
    })),
    {
      what: `of ${reads} reads, those that gave an old value later than that: ${late === 0 ? 'none' : `some, up to ${late.toFixed(2)} ms`}`,
      passed: late === 0
    },
    {
      what: `writers at least ${NEARLY} as fast with trackers as without: ${writers.ratio.median.toFixed(2)}`,
      passed: writers.ratio.median >= NEARLY
    }
  ]
}

export function tableMarkdown({ changes }: Pick<MemoryNewsResult, 'changes'>): string {
  const rows = changes.map(({ change, changes: count, reads, fromMemory, p50, p99, most }) => [
    change,
    String(count),
    String(reads),
    `${((100 * fromMemory) / reads).toFixed(0)} %`,
    p50.toFixed(2),
    p99.toFixed(2),
    most.toFixed(2)
  ])
  return table(['', 'changes', 'reads', 'from memory', 'old value for, p50 ms', 'p99 ms', 'most ms'], rows)
}

export function memoryNewsMarkdown(result: MemoryNewsResult): string {
  const { readers, keys, trackers } = result.settings
  const { without, withTracking, ratio, firstMs, firstRatio } = result.writers
  const bars = barsOf(result).map(({ what, passed }) => `- ${passed ? 'reached' : '**missed**'}: ${what}`)
  return [
    '## How long does another process serve an old value from memory?',
    `One process changes rows; ${readers} others read ${keys} of them all the time, from memory whenever they can. For each ` +
      'change and each reader: how long after the call had returned did a read begin that still got the old value? 0 when ' +
      'none did.',
    tableMarkdown(result),
    `What the tracking costs the writers: plain \`SET\`s of random keys over one connection, 64 at once, while ${trackers} ` +
      'processes keep a tenth of the keys in memory and read now and then; without it they read the same from Redis. ' +
      `${without.median.toFixed(0)} a second without, ${withTracking.median.toFixed(0)} with: ${ratio.median.toFixed(2)} ` +
      `(${ratio.min.toFixed(2)}–${ratio.max.toFixed(2)}). Each turn begins with everything kept; in its first ${firstMs} ms, when ` +
      `all of that is dropped in all ${trackers} processes, it is ${firstRatio.median.toFixed(2)} ` +
      `(${firstRatio.min.toFixed(2)}–${firstRatio.max.toFixed(2)}).`,
    bars.join('\n')
  ].join('\n\n')
}
