import { CORRAL } from '../contenders/contender.js'
import type { Circumstances } from '../support/machine.js'
import type { Spread } from '../support/statistics.js'
import { table } from '../support/table.js'
import type { Bar } from './hit-path.js'

export interface DeadLeaderResult {
  readonly circumstances: Circumstances
  readonly settings: { readonly loadMs: number; readonly leaseMs: number; readonly waiters: number }
  readonly contenders: readonly DeadLeaderLine[]
}

export interface DeadLeaderLine {
  readonly name: string
  readonly repeats: number
  /** From the kill until every waiting caller had the value, ms. */
  readonly recoveredMs: Spread
  /** Loads in all, the dead one included. */
  readonly loads: Spread
}

const TOLERANCE_MS = 50

export function barsOf({ settings, contenders }: DeadLeaderResult): Bar[] {
  const corral = contenders.find(({ name }) => name === CORRAL)
  if (corral === undefined) return []
  const limitMs = settings.leaseMs + settings.loadMs + TOLERANCE_MS
  const { recoveredMs, loads } = corral
  return [
    {
      what: `everybody has the value within lease + load + ${TOLERANCE_MS} ms = ${limitMs} ms: ${recoveredMs.max} ms`,
      passed: recoveredMs.max <= limitMs
    },
    {
      what: `two loads in all, every time: ${loads.min} to ${loads.max}`,
      passed: loads.min === 2 && loads.max === 2
    }
  ]
}

export function tableMarkdown({ contenders }: Pick<DeadLeaderResult, 'contenders'>): string {
  const rows = contenders.map(({ name, repeats, recoveredMs, loads }) => [
    name === CORRAL ? `**${name}**` : name,
    String(repeats),
    `${recoveredMs.median} (${recoveredMs.min}–${recoveredMs.max})`,
    loads.min === loads.max ? String(loads.median) : `${loads.median} (${loads.min}–${loads.max})`
  ])
  return table(['', 'repeats', 'until all have the value, ms', 'loads'], rows)
}

export function deadLeaderMarkdown(result: DeadLeaderResult): string {
  const { loadMs, leaseMs, waiters } = result.settings
  const bars = barsOf(result).map(({ what, passed }) => `- ${passed ? 'reached' : '**missed**'}: ${what}`)
  return [
    '## How long is everybody without a value when the process that loads it dies?',
    `One process begins to load and is killed with \`kill -9\`; ${waiters} callers in two other processes wait for that ` +
      `load. Lease and lock live ${leaseMs} ms, and a living loader renews the lease at a third, so what is left of it at ` +
      `the kill is between two thirds and the whole; the load takes ${loadMs} ms. Median over the repeats, in brackets ` +
      'the lowest and the highest. A cache that shares loads only within a process has nothing to wait for here, and ' +
      'loads in each.',
    tableMarkdown(result),
    bars.join('\n')
  ].join('\n\n')
}
