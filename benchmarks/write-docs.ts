/**
 * Writes docs/benchmarks.md from the results that are kept in benchmarks/results.
 *
 *     npx tsx benchmarks/write-docs.ts
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { clearMarkdown, type ClearResult } from './reports/clear.js'
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

const HEAD = `<!-- Written by benchmarks/write-docs.ts from benchmarks/results; change those, not this. -->

# Benchmarks

What Corral costs and what it saves, next to the other caches for Node.js, each at the version below and set up as its
own documentation says. All run against a real Redis on the same machine. Whoever is ahead is shown ahead.

    npm run bench                # all questions, about half an hour
    npm run bench -- hit-path    # one of them
    npm run bench -- --quick     # a short version, to see that it works

Throughput and time depend on the machine; ratios do so much less, and they are what to compare.`

export function writeDocs(): void {
  const parts = [HEAD]
  for (const { file, markdown } of QUESTIONS) {
    const result = readResult<{ circumstances: Circumstances }>(file)
    if (result === undefined) continue
    parts.push(markdown(result as never), circumstancesMarkdown(result.circumstances, file))
  }
  mkdirSync(join(root, 'docs'), { recursive: true })
  writeFileSync(join(root, 'docs/benchmarks.md'), `${parts.join('\n\n')}\n`)
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
