import { BASELINE, CORRAL } from '../contenders/contender.js'
import type { Circumstances } from '../support/machine.js'
import type { Spread } from '../support/statistics.js'
import { table } from '../support/table.js'

export interface HitPathResult {
  readonly circumstances: Circumstances
  readonly settings: Readonly<Record<string, string | number | boolean>>
  readonly cases: readonly HitCase[]
}

/** One kind of row, asked for in one way. */
export interface HitCase {
  readonly shape: string
  readonly call: 'get' | 'getMany'
  readonly concurrency: number
  readonly contenders: readonly HitLine[]
}

export interface HitLine {
  readonly name: string
  /** Hits a second, relative to the baseline in the same round. */
  readonly throughput: Spread
  /** Processor time a hit, relative to the baseline in the same round. */
  readonly cpu: Spread
  readonly hitsPerSecond: number
  readonly cpuMicrosecondsPerHit: number
  readonly keysReadPerHit: number
  readonly commandsPerHit: number
  /** What Redis sent. */
  readonly bytesPerHit: number
  /** Whether what comes back deep-equals what was stored. */
  readonly exact: boolean
}

export interface Bar {
  readonly what: string
  readonly passed: boolean
}

/** With one caller there is nothing to share or to batch, so all that is asked is to cost nearly nothing. */
const NEARLY = 0.95

/** What Corral wants to reach. Told, never enforced: time is the machine's. */
export function barsOf({ shape, call, concurrency, contenders }: HitCase): Bar[] {
  const corral = contenders.find(({ name }) => name === CORRAL)
  if (corral === undefined || shape.includes('dates')) return []
  const { throughput, cpu } = corral
  const place = `${call} of ${shape}, ${callers(concurrency)}`
  if (call === 'getMany' || concurrency === 1) {
    return [
      bar(
        `${place}: throughput at least ${NEARLY} of the baseline`,
        throughput.median,
        throughput.median >= NEARLY
      ),
      bar(`${place}: CPU a hit at most 1/${NEARLY} of the baseline`, cpu.median, cpu.median <= 1 / NEARLY)
    ]
  }
  const peers = contenders.filter(({ name }) => !name.startsWith(CORRAL))
  const fastest = peers.reduce((best, line) =>
    line.throughput.median > best.throughput.median ? line : best
  )
  const cheapest = peers.reduce((best, line) => (line.cpu.median < best.cpu.median ? line : best))
  return [
    bar(
      `${place}: throughput ahead of all (${fastest.name} ${fixed(fastest.throughput.median)})`,
      throughput.median,
      throughput.median > fastest.throughput.median
    ),
    bar(
      `${place}: CPU a hit below all (${cheapest.name} ${fixed(cheapest.cpu.median)})`,
      cpu.median,
      cpu.median < cheapest.cpu.median
    )
  ]
}

function bar(what: string, figure: number, passed: boolean): Bar {
  return { what: `${what}: ${fixed(figure)}`, passed }
}

export function caseMarkdown(one: HitCase): string {
  const lines = one.contenders.toSorted((a, b) => b.throughput.median - a.throughput.median)
  const rows = lines.map((line) => [
    nameOf(line),
    `${fixed(line.throughput.median)} (${fixed(line.throughput.min)}–${fixed(line.throughput.max)})`,
    `${fixed(line.cpu.median)} (${fixed(line.cpu.min)}–${fixed(line.cpu.max)})`,
    line.hitsPerSecond.toFixed(0),
    line.cpuMicrosecondsPerHit.toFixed(1),
    line.keysReadPerHit.toFixed(2),
    line.commandsPerHit.toFixed(2),
    line.bytesPerHit.toFixed(0)
  ])
  const head = [
    '',
    'throughput',
    'CPU a hit',
    'hits/s',
    'CPU µs a hit',
    'keys read a hit',
    'commands a hit',
    'bytes a hit'
  ]
  return `### \`${one.call}\`, rows of ${one.shape}, ${callers(one.concurrency)}\n\n${table(head, rows)}`
}

export function hitPathMarkdown({ settings, cases }: HitPathResult): string {
  const paragraphs = [
    '## What does a warm hit cost?',
    `${settings.keys} keys asked for with a Zipf distribution of skew ${settings.skew}, values already in Redis, no tier ` +
      'in the process. So many callers in one process, each of which asks again as soon as it has its answer. Every ' +
      'contender has a process, a connection and keys of its own; one runs at a time, in turns; before that, every one ' +
      'has given back every key without a load, and a sample deep-equal to what was stored.',
    `Ratios are to \`${BASELINE}\` with automatic pipelining in the same round: the median of ${settings.rounds} rounds of ` +
      `${settings.roundMs} ms, and in brackets the lowest and the highest. More throughput is better, less CPU is better. ` +
      'Where fewer keys are read than hits are given, callers of one key shared a read: Corral one that was not sent yet, ' +
      'the others also one under way, which may have seen Redis before an invalidation that came first. Where Corral is ' +
      'sent fewer bytes than a value has, it kept a large value that it read lately and asked Redis whether it still ' +
      'stands; `maxRecentBytes: 0` is the same without.'
  ]
  const bars = cases
    .flatMap(barsOf)
    .map(({ what, passed }) => `- ${passed ? 'reached' : '**missed**'}: ${what}`)
  return [...paragraphs, ...cases.map(caseMarkdown), '### What Corral wants to reach', bars.join('\n')].join(
    '\n\n'
  )
}

function nameOf({ name, exact }: HitLine): string {
  const marked = exact ? name : `${name}, dates come back as text`
  return name.startsWith(CORRAL) ? `**${marked}**` : marked
}

function callers(concurrency: number): string {
  return concurrency === 1 ? 'one caller' : `${concurrency} callers`
}

function fixed(figure: number): string {
  return figure.toFixed(2)
}
