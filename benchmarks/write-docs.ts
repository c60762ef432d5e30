/**
 * Writes what is shown of the results that are kept in benchmarks/results: docs/benchmarks.md, its pictures, and the table
 * in the README.
 *
 *     npx tsx benchmarks/write-docs.ts
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { chartOf } from './charts/charts.js'
import { renderChart, THEMES } from './charts/render.js'
import { clearMarkdown, type ClearResult } from './reports/clear.js'
import { coherenceMarkdown, type CoherenceResult } from './reports/coherence.js'
import { deadLeaderMarkdown, type DeadLeaderResult } from './reports/dead-leader.js'
import { hitPathMarkdown, type HitPathResult } from './reports/hit-path.js'
import { memoryHitMarkdown, type MemoryHitResult } from './reports/memory-hit.js'
import { memoryNewsMarkdown, type MemoryNewsResult } from './reports/memory-news.js'
import { outageMarkdown, type OutageResult } from './reports/outage.js'
import { stampedeMarkdown, type StampedeResult } from './reports/stampede.js'
import { writeMarkdown, type WriteResult } from './reports/write.js'
import { writeBehindMarkdown, type WriteBehindResult } from './reports/write-behind.js'
import { expiryStormMarkdown, type StormResult } from './reports/expiry-storm.js'
import { footprintMarkdown, type FootprintResult } from './reports/footprint.js'
import { httpMarkdown, type HttpResult } from './reports/http.js'
import { latencyMarkdown, type LatencyResult } from './reports/latency.js'
import { staleSetMarkdown, type StaleSetResult } from './reports/stale-set.js'
import { writeRaceMarkdown, type WriteRaceResult } from './reports/write-race.js'
import { summaryMarkdown } from './reports/summary.js'
import { root, type Circumstances } from './support/machine.js'
import { readResult } from './support/results.js'

interface Question {
  readonly file: string
  readonly markdown: (result: never) => string
}

const QUESTIONS: readonly Question[] = [
  { file: 'hit-path', markdown: (result: HitPathResult) => hitPathMarkdown(result) },
  { file: 'memory-hit', markdown: (result: MemoryHitResult) => memoryHitMarkdown(result) },
  { file: 'memory-news', markdown: (result: MemoryNewsResult) => memoryNewsMarkdown(result) },
  { file: 'coherence', markdown: (result: CoherenceResult) => coherenceMarkdown(result) },
  { file: 'http', markdown: (result: HttpResult) => httpMarkdown(result) },
  { file: 'latency', markdown: (result: LatencyResult) => latencyMarkdown(result) },
  { file: 'outage', markdown: (result: OutageResult) => outageMarkdown(result) },
  { file: 'stampede', markdown: (result: StampedeResult) => stampedeMarkdown(result) },
  { file: 'expiry-storm', markdown: (result: StormResult) => expiryStormMarkdown(result) },
  { file: 'dead-leader', markdown: (result: DeadLeaderResult) => deadLeaderMarkdown(result) },
  { file: 'stale-set', markdown: (result: StaleSetResult) => staleSetMarkdown(result) },
  { file: 'write', markdown: (result: WriteResult) => writeMarkdown(result) },
  { file: 'write-race', markdown: (result: WriteRaceResult) => writeRaceMarkdown(result) },
  { file: 'write-behind', markdown: (result: WriteBehindResult) => writeBehindMarkdown(result) },
  { file: 'clear', markdown: (result: ClearResult) => clearMarkdown(result) },
  { file: 'footprint', markdown: (result: FootprintResult) => footprintMarkdown(result) }
]

const PICTURES = 'docs/benchmarks'
/** Of all questions, those whose pictures the README shows. */
const IN_README = ['hit-path', 'stampede', 'write-race']

const HEAD = `<!-- Written by benchmarks/write-docs.ts from benchmarks/results; change those, not this. -->

# Benchmarks

What Corral costs and what it saves, next to the other caches for Node.js, each at the version below, the newest when it was measured, and set up
as its own documentation says; Keyv is the newest that the newest \`@keyv/redis\` takes. All run against a real Redis on the same machine. Whoever is ahead is shown ahead.

    npm run bench                # all questions, about an hour and a half
    npm run bench -- hit-path    # one of them
    npm run bench -- --quick     # a short version, to see that it works

Throughput and time depend on the machine; ratios do so much less, and they are what to compare. In pictures Corral is set
apart by its colour; the thin lines go from the lowest to the highest of the rounds.`

const BEGIN = '<!-- Written by benchmarks/write-docs.ts from benchmarks/results; change those, not this. -->'
const END = '<!-- End of what is written by benchmarks/write-docs.ts. -->'

/** Every generated file, by its path from the root of the project. */
export function generatedFiles(): ReadonlyMap<string, string> {
  const files = new Map<string, string>()
  const parts = [HEAD, '## In short', summaryMarkdown()]
  for (const { file, markdown } of QUESTIONS) {
    const result = readResult<{ circumstances: Circumstances }>(file)
    if (result === undefined) continue
    parts.push(
      withPicture(markdown(result as never), file),
      circumstancesMarkdown(result.circumstances, file)
    )
    const chart = chartOf(file)
    if (chart === undefined) continue
    for (const theme of THEMES) files.set(`${PICTURES}/${file}-${theme}.svg`, renderChart(chart, theme))
  }
  files.set('docs/benchmarks.md', `${parts.join('\n\n')}\n`)
  files.set('README.md', readmeWithNumbers(readFileSync(join(root, 'README.md'), 'utf8')))
  return files
}

/** Pictures that no result makes any more. */
export function strayPictures(generated: ReadonlyMap<string, string>): string[] {
  const folder = join(root, PICTURES)
  if (!existsSync(folder)) return []
  return readdirSync(folder)
    .map((name) => `${PICTURES}/${name}`)
    .filter((path) => !generated.has(path))
}

export function writeDocs(): void {
  const files = generatedFiles()
  mkdirSync(join(root, PICTURES), { recursive: true })
  for (const path of strayPictures(files)) rmSync(join(root, path))
  for (const [path, text] of files) writeFileSync(join(root, path), text)
}

/** Above the first table, after what is said of the question. */
function withPicture(markdown: string, file: string): string {
  const picture = pictureOf(file, 'benchmarks')
  const [heading, text, ...rest] = markdown.split('\n\n')
  return [heading, text, ...(picture === undefined ? [] : [picture]), ...rest].join('\n\n')
}

function pictureOf(file: string, folder: string): string | undefined {
  const chart = chartOf(file)
  if (chart === undefined) return undefined
  return (
    `<picture><source media="(prefers-color-scheme: dark)" srcset="${folder}/${file}-dark.svg">` +
    `<img alt="${chart.title}: the figures are in the table of this question" src="${folder}/${file}-light.svg"></picture>`
  )
}

function readmeWithNumbers(readme: string): string {
  const [begin, end] = [readme.indexOf(BEGIN), readme.indexOf(END)]
  if (begin === -1 || end < begin) throw new Error(`README.md has no part between "${BEGIN}" and "${END}"`)
  const pictures = IN_README.flatMap((file) => pictureOf(file, PICTURES) ?? [])
  const text = [BEGIN, summaryMarkdown(), ...pictures, ''].join('\n\n')
  return readme.slice(0, begin) + text + readme.slice(end)
}

function circumstancesMarkdown(one: Circumstances, file: string): string {
  const packages = Object.entries(one.packages).map(([name, version]) => `${name} ${version}`)
  return (
    `Measured ${one.measuredAt} at commit ${one.corral} on ${one.cores} cores of ${one.cpu}, ${one.memoryGiB} GiB, ` +
    `${one.os}; Node ${one.node}, Redis ${one.redis}; ${packages.join(', ')}. Source: \`benchmarks/${file}.ts\`, ` +
    `figures: \`benchmarks/results/${file}.json\`.`
  )
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) writeDocs()
