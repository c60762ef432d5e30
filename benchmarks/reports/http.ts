import { CORRAL } from '../contenders/contender.js'
import type { HttpKind } from '../contenders/http-server-worker.js'
import type { Circumstances } from '../support/machine.js'
import type { Spread } from '../support/statistics.js'
import { table } from '../support/table.js'
import type { Bar } from './hit-path.js'

export interface HttpResult {
  readonly circumstances: Circumstances
  readonly postgres: string
  readonly settings: {
    readonly keys: number
    readonly skew: number
    /** Of each product. */
    readonly reviews: number
    readonly connections: number
    readonly seconds: number
    /** Where latency is measured. */
    readonly requestsPerSecond: number
    readonly rounds: number
  }
  readonly lines: readonly HttpLine[]
}

export interface HttpLine {
  readonly name: string
  readonly kind: HttpKind
  /** Requests a second, relative to the page without a cache in the same round. */
  readonly throughput: Spread
  readonly perSecond: Spread
  /** At a steady rate, from when a request was due. */
  readonly p50Ms: Spread
  readonly p99Ms: Spread
  /** Queries for a thousand requests. */
  readonly loadsPerThousand: Spread
  readonly errors: number
}

export const NO_CACHE = { page: 'no cache', row: 'no cache, and the row alone' } as const

export function placeOf({ kind }: Pick<HttpLine, 'kind'>): string {
  return kind === 'memory' ? 'memory' : kind === 'redis' ? 'Redis' : 'PostgreSQL'
}

export function barsOf({ lines }: Pick<HttpResult, 'lines'>): Bar[] {
  return (['redis', 'memory'] as const).flatMap((kind) => {
    const own = lines.find((line) => line.name === CORRAL && line.kind === kind)
    const peers = lines.filter((line) => line.name !== CORRAL && line.kind === kind)
    if (own === undefined || peers.length === 0) return []
    const best = peers.reduce((a, b) => (b.throughput.median > a.throughput.median ? b : a))
    const [ours, theirs] = [own.throughput, best.throughput]
    // Medians that lie within one another's rounds tell nothing apart.
    return [
      {
        what: `from ${placeOf(own)}: nobody ahead by more than the rounds differ (${best.name} ${range(theirs, 2)}): ${range(ours, 2)}`,
        passed: theirs.min <= ours.max
      }
    ]
  })
}

export function tableMarkdown({ lines }: Pick<HttpResult, 'lines'>): string {
  const rows = lines
    .toSorted((a, b) => b.throughput.median - a.throughput.median)
    .map((line) => [
      line.name === CORRAL ? `**${line.name}**` : line.name,
      placeOf(line),
      range(line.throughput, 2),
      line.perSecond.median.toFixed(0),
      range(line.p50Ms, 1),
      range(line.p99Ms, 1),
      String(line.loadsPerThousand.median),
      String(line.errors)
    ])
  const head = [
    '',
    'answers from',
    'throughput',
    'requests/s',
    'p50 ms',
    'p99 ms',
    'queries for 1,000',
    'errors'
  ]
  return table(head, rows)
}

export function httpMarkdown(result: HttpResult): string {
  const { keys, skew, reviews, connections, seconds, requestsPerSecond, rounds } = result.settings
  const bars = barsOf(result).map(({ what, passed }) => `- ${passed ? 'reached' : '**missed**'}: ${what}`)
  return [
    '## What does a cache do for an HTTP API?',
    `\`GET /products/:id\` of an Express API over PostgreSQL ${result.postgres}: a row of 2 KiB and the mean of its ${reviews} ` +
      `reviews; ${keys} products, asked for with a Zipf distribution of skew ${skew}. Each API is a process of its own with everything ` +
      'cached that it caches; one is asked at a time, in turns, by another process over ' +
      `${connections} connections. Throughput: each connection asks again as soon as it has its answer, for ${seconds} s; ratios are to ` +
      'the API without a cache in the same round. p50 and p99: ' +
      `${requestsPerSecond} requests a second for ${seconds} s, whether those before are answered or not, counted from when they were due. Median of ` +
      `${rounds} rounds, in brackets the lowest and the highest. Most of a request is Express and the socket, which is why the caches are closer together ` +
      'here than above.',
    tableMarkdown(result),
    bars.join('\n')
  ].join('\n\n')
}

function range({ median, min, max }: Spread, digits: number): string {
  return `${median.toFixed(digits)} (${min.toFixed(digits)}–${max.toFixed(digits)})`
}
