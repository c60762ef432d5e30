import { BARE, CORRAL, MEMORY_CONTENDERS } from '../contenders/memory-contenders.js'
import type { Circumstances } from '../support/machine.js'
import type { Spread } from '../support/statistics.js'
import { table } from '../support/table.js'
import type { Bar } from './hit-path.js'

export interface MemoryHitResult {
  readonly circumstances: Circumstances
  readonly settings: { readonly keys: number; readonly rounds: number; readonly roundMs: number }
  readonly cases: readonly MemoryHitCase[]
}

export interface MemoryHitCase {
  readonly shape: string
  readonly contenders: readonly MemoryHitLine[]
}

export interface MemoryHitLine {
  readonly name: string
  /** Hits a second, relative to the bare map in the same round. */
  readonly throughput: Spread
  readonly nsPerHit: number
  /** The median of a look-up without waiting; undefined where there is none. */
  readonly nsPerLookUp: number | undefined
  /** Commands that Redis was sent for a thousand hits, heartbeats included. */
  readonly commandsPerThousand: number
}

const NEARLY = 0.9
const LOOK_UP_NS = 250

export function barsOf({ shape, contenders }: MemoryHitCase): Bar[] {
  const corral = contenders.find(({ name }) => name === CORRAL)
  if (corral === undefined) return []
  const peers = contenders.filter(({ name }) => name !== CORRAL && name !== BARE)
  const best = peers.reduce((a, b) => (b.throughput.median > a.throughput.median ? b : a), peers[0] ?? corral)
  const ratio = corral.throughput.median
  return [
    {
      what: `a hit of ${shape} at least ${NEARLY} of a bare lru-cache: ${ratio.toFixed(2)}`,
      passed: ratio >= NEARLY
    },
    {
      what: `a hit of ${shape} ahead of all (${best.name} ${best.throughput.median.toFixed(2)}): ${ratio.toFixed(2)}`,
      passed: best === corral || ratio > best.throughput.median
    },
    {
      what: `a look-up of ${shape} without waiting within ${LOOK_UP_NS} ns: ${corral.nsPerLookUp?.toFixed(0)} ns`,
      passed: (corral.nsPerLookUp ?? Number.POSITIVE_INFINITY) <= LOOK_UP_NS
    }
  ]
}

export function caseMarkdown({ shape, contenders }: MemoryHitCase): string {
  const lines = contenders.toSorted((a, b) => b.throughput.median - a.throughput.median)
  const rows = lines.map(({ name, throughput, nsPerHit, nsPerLookUp, commandsPerThousand }) => [
    name === CORRAL ? `**${name}**` : name,
    `${throughput.median.toFixed(3)} (${throughput.min.toFixed(3)}–${throughput.max.toFixed(3)})`,
    nsPerHit.toFixed(0),
    nsPerLookUp === undefined ? '–' : nsPerLookUp.toFixed(0),
    commandsPerThousand.toFixed(3),
    MEMORY_CONTENDERS.find((one) => one.name === name)?.gives ?? ''
  ])
  const head = [
    '',
    'throughput',
    'ns a hit',
    'ns a look-up, p50',
    'Redis commands for 1,000 hits',
    'a caller gets'
  ]
  return `### Rows of ${shape}\n\n${table(head, rows)}`
}

export function memoryHitMarkdown({ settings, cases }: MemoryHitResult): string {
  const bars = cases
    .flatMap(barsOf)
    .map(({ what, passed }) => `- ${passed ? 'reached' : '**missed**'}: ${what}`)
  return [
    '## What does a hit in memory cost?',
    `${settings.keys} keys in the tier of the process, asked for one after another by one caller that awaits each. Every ` +
      'contender has a process of its own with Redis behind it where it has such a tier; one runs at a time, in turns. ' +
      `Ratios are to \`await lru.get(key)\` with the key made beforehand, in the same round: the median of ${settings.rounds} ` +
      `rounds of ${settings.roundMs} ms, and in brackets the lowest and the highest. A look-up without waiting is ` +
      '`peekMemory` with Corral.',
    ...cases.map(caseMarkdown),
    '### What Corral wants to reach in memory',
    bars.join('\n')
  ].join('\n\n')
}
