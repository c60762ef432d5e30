import { CORRAL } from '../contenders/contender.js'
import type { Circumstances } from '../support/machine.js'
import type { Spread } from '../support/statistics.js'
import { table } from '../support/table.js'
import type { Bar } from './hit-path.js'

export interface StampedeResult {
  readonly circumstances: Circumstances
  readonly settings: { readonly loadMs: number }
  readonly cases: readonly StampedeCase[]
}

export interface StampedeCase {
  /** The entry is not there, or is past its time and may still be served. */
  readonly entry: 'cold' | 'stale'
  readonly processes: number
  readonly callersEach: number
  readonly contenders: readonly StampedeLine[]
}

export interface StampedeLine {
  readonly name: string
  readonly repeats: number
  /** Loads of one rush, in all processes together. */
  readonly loads: Spread
  readonly rushesWithOneLoad: number
  /** What a caller waited beyond the load (cold), or at all (stale), ms. */
  readonly p50Ms: Spread
  readonly p99Ms: Spread
  readonly maxMs: Spread
  /** Commands that the busiest process of a rush sent to Redis. */
  readonly commands: Spread
}

const P99_BEYOND_LOAD_MS = 15
const COMMANDS_A_PROCESS = 10

export function barsOf(one: StampedeCase, loadMs: number): Bar[] {
  const corral = one.contenders.find(({ name }) => name === CORRAL)
  if (corral === undefined) return []
  const { repeats, rushesWithOneLoad, p99Ms, maxMs, commands } = corral
  const place = `${one.entry} key, ${placeOf(one)}`
  const bars: Bar[] = [
    {
      what: `${place}: one load in every rush: ${rushesWithOneLoad} of ${repeats}`,
      passed: rushesWithOneLoad === repeats
    }
  ]
  if (one.entry === 'stale') {
    const waits = `${place}: nobody waits for the refresh of ${loadMs} ms: at most ${maxMs.max} ms`
    return [...bars, { what: waits, passed: maxMs.max < loadMs }]
  }
  return [
    ...bars,
    {
      what: `${place}: p99 at most ${P99_BEYOND_LOAD_MS} ms beyond the load: ${p99Ms.median} ms (to ${p99Ms.max} ms)`,
      passed: p99Ms.median <= P99_BEYOND_LOAD_MS
    },
    {
      what: `${place}: at most ${COMMANDS_A_PROCESS} commands a process: ${commands.max}`,
      passed: commands.max <= COMMANDS_A_PROCESS
    }
  ]
}

export function caseMarkdown(one: StampedeCase): string {
  const rows = one.contenders
    .toSorted((a, b) => a.loads.median - b.loads.median || a.p99Ms.median - b.p99Ms.median)
    .map(({ name, repeats, loads, rushesWithOneLoad, p50Ms, p99Ms, maxMs, commands }) => [
      name.startsWith(CORRAL) ? `**${name}**` : name,
      range(loads),
      `${rushesWithOneLoad} of ${repeats}`,
      range(p50Ms),
      range(p99Ms),
      range(maxMs),
      range(commands)
    ])
  const wait = one.entry === 'cold' ? 'beyond the load, ms' : 'of a caller’s wait, ms'
  const head = ['', 'loads', 'rushes with one', `p50 ${wait}`, 'p99', 'longest', 'commands a process']
  const title = one.entry === 'cold' ? 'nothing cached' : 'a stale value cached'
  return `### ${title}, ${placeOf(one)}\n\n${table(head, rows)}`
}

export function stampedeMarkdown({ settings, cases }: StampedeResult): string {
  const paragraphs = [
    '## How many loads does a stampede cost?',
    `All callers of all processes ask for one key at the same instant; the loader takes ${settings.loadMs} ms. First with ` +
      'nothing cached, then with a value that is past its time but may be served while it is refreshed. Each figure is ' +
      'the median over the repeats, in brackets the lowest and the highest; commands are those that the busiest ' +
      'process sent to Redis from the rush until its last answer, as MONITOR shows them.'
  ]
  const bars = cases.flatMap((one) => barsOf(one, settings.loadMs))
  const reached = bars.map(({ what, passed }) => `- ${passed ? 'reached' : '**missed**'}: ${what}`)
  return [
    ...paragraphs,
    ...cases.map(caseMarkdown),
    '### What Corral wants to reach',
    reached.join('\n')
  ].join('\n\n')
}

function range({ median, min, max }: Spread): string {
  return min === max ? short(median) : `${short(median)} (${short(min)}–${short(max)})`
}

function short(figure: number): string {
  return Number.isInteger(figure) ? String(figure) : figure.toFixed(1)
}

function placeOf({ processes, callersEach }: StampedeCase): string {
  const callers = callersEach.toLocaleString('en')
  return processes === 1
    ? `${callers} callers in one process`
    : `${callers} callers in each of ${processes} processes`
}
