import type { LabReport } from './lab.js'
import type { TopologyName } from './topology.js'

const SHOWN_LINES = 80

export interface LabSettings {
  readonly minutes: number
  readonly seed: number
  readonly topology: TopologyName
}

/** What ran, as a section of docs/reliability.md. */
export function asMarkdown({ minutes, seed, topology }: LabSettings, report: LabReport): string {
  const { rounds, reads, fromMemory, latestFromMemoryMs, writes, failed, behind, violations } = report
  const lines = [
    `\`npm run chaos -- --minutes ${minutes} --seed ${seed} --topology ${topology}\`: ${amount(violations.length, 'violation')}.`,
    '',
    `- ${rounds} rounds in ${Math.round(report.durationMs / 60_000)} minutes, ${amount(sum(report.faults), 'fault')}.`,
    `- Through the cache: ${count(reads)} reads, ${count(fromMemory)} of them from memory, ${count(writes)} writes and ` +
      `invalidations; ${count(failed)} of all ended in an error. The latest that memory gave out what another process had ` +
      `changed was ${Math.round(latestFromMemoryMs)} ms after it.`,
    `- Behind: ${count(behind.accepted)} operations accepted, ${count(behind.unknown)} of unknown outcome, ` +
      `${count(behind.reads)} reads, ${count(behind.fromMemory)} of them from memory.`,
    `- Old values within the stated limits: ${limits(report.withinLimits)}.`,
    '',
    '| injected | times |',
    '|---|--:|',
    ...Object.entries(report.faults)
      .sort((a, b) => b[1] - a[1])
      .map(([what, times]) => `| ${what} | ${count(times)} |`),
    ''
  ]
  return lines.join('\n')
}

/** How the round is played again, and the shortest history of what it ended with; nothing when nothing was found. */
export function violationIn(
  { topology }: Pick<LabSettings, 'topology'>,
  { violations, seed }: Pick<LabReport, 'violations' | 'seed'>
): string[] {
  // One without any, such as a flush that does not end, tells less than the longest of the others.
  const told = violations.filter(({ history }) => history.length > 0)
  const silent = violations.filter(({ history }) => history.length === 0)
  const [shortest, ...others] = [...told.sort((a, b) => a.history.length - b.history.length), ...silent]
  if (shortest === undefined) return []
  return [
    `seed ${seed}: ${replayOf(seed, topology)}`,
    '',
    shortest.what,
    ...shortest.history.slice(0, SHOWN_LINES),
    ...others.slice(0, SHOWN_LINES).map(({ what }) => `also: ${what}`)
  ]
}

export function replayOf(seed: number | undefined, topology: TopologyName): string {
  return `npm run chaos -- --minutes 0.3 --seed ${seed} --topology ${topology}`
}

export function exitCodeOf({ violations }: Pick<LabReport, 'violations'>): 0 | 1 {
  return violations.length === 0 ? 0 : 1
}

const count = (number: number): string => number.toLocaleString('en-US')
const amount = (number: number, of: string): string => `${count(number)} ${of}${number === 1 ? '' : 's'}`
const sum = (counts: Readonly<Record<string, number>>): number =>
  Object.values(counts).reduce((total, one) => total + one, 0)

function limits(withinLimits: Readonly<Record<string, number>>): string {
  const all = Object.entries(withinLimits)
  return all.length === 0 ? 'none' : all.map(([limit, times]) => `${limit}, ${count(times)} times`).join('; ')
}
