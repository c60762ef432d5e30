import { CORRAL } from '../contenders/contender.js'
import { readResult } from '../support/results.js'
import { table } from '../support/table.js'
import type { CoherenceResult } from './coherence.js'
import type { DeadLeaderResult } from './dead-leader.js'
import type { StormResult } from './expiry-storm.js'
import type { FootprintResult } from './footprint.js'
import type { HitPathResult } from './hit-path.js'
import type { HttpResult } from './http.js'
import type { MemoryHitResult } from './memory-hit.js'
import type { OutageResult } from './outage.js'
import { staleReads, type StaleSetResult } from './stale-set.js'
import type { StampedeResult } from './stampede.js'
import type { WriteBehindResult } from './write-behind.js'
import type { WriteRaceResult } from './write-race.js'
import type { WriteResult } from './write.js'

/** One figure of Corral next to the best of all others. */
export interface Comparison {
  readonly asked: string
  readonly ours: string
  readonly best: string
  /** Whose figure is the better one; several when they are level. */
  readonly ahead: string
}

interface Figure {
  readonly name: string
  readonly figure: number
}

/** What was asked, from all results that there are, in a few lines. */
export function summaryMarkdown(): string {
  const rows = Object.entries(SUMMARIES).flatMap(([question, summarize]) => {
    const result = readResult<never>(question)
    return result === undefined ? [] : summarize(result)
  })
  return table(
    ['what was asked', 'Corral', 'best of the others', 'ahead'],
    rows.map(({ asked, ours, best, ahead }) => [asked, ours, best, ahead])
  )
}

/**
 * Corral's own variants and the bare map are left out: the former are not what one gets, the latter is no cache that is
 * shared or kept true. What is written by hand takes part.
 */
export function compare(
  asked: string,
  figures: readonly Figure[],
  better: 'more' | 'less',
  text: (figure: number) => string
): Comparison[] {
  const own = figures.find(({ name }) => name === CORRAL)
  const others = figures.filter(({ name }) => !name.startsWith(CORRAL))
  if (own === undefined || others.length === 0) return []
  const sign = better === 'more' ? -1 : 1
  const [best] = others.toSorted((a, b) => sign * (a.figure - b.figure)) as [Figure]
  const level = others.filter(({ figure }) => text(figure) === text(best.figure))
  const who = level.length > 1 ? `${best.name} and ${level.length - 1} more` : best.name
  const isLevel = text(own.figure) === text(best.figure)
  const isOurs = sign * (own.figure - best.figure) < 0
  const ahead = isLevel ? 'level' : isOurs ? `**${CORRAL}**` : best.name.replace(/, .*/, '')
  return [{ asked, ours: text(own.figure), best: `${text(best.figure)} (${who})`, ahead }]
}

const SUMMARIES: Readonly<Record<string, (result: never) => Comparison[]>> = {
  'hit-path': ({ cases }: HitPathResult) =>
    cases.flatMap(({ shape, call, concurrency, contenders }) =>
      shape === '2 KiB' && call === 'get' && concurrency !== 512
        ? compare(
            `hits from Redis, rows of 2 KiB, ${concurrency === 1 ? 'one caller' : `${concurrency} callers`}, to \`redis.get\` and \`JSON.parse\``,
            contenders.map(({ name, throughput }) => ({ name, figure: throughput.median })),
            'more',
            (ratio) => `${ratio.toFixed(2)} times`
          )
        : []
    ),
  'memory-hit': ({ cases }: MemoryHitResult) =>
    cases.flatMap(({ shape, contenders }) =>
      shape === '2 KiB'
        ? compare(
            'a hit in memory, rows of 2 KiB',
            contenders
              .filter(({ name }) => name !== 'lru-cache alone')
              .map(({ name, nsPerHit }) => ({ name, figure: nsPerHit })),
            'less',
            (ns) => `${count(ns)} ns`
          )
        : []
    ),
  coherence: ({ settings: { settleMs }, lines }: CoherenceResult) => [
    ...compare(
      'a row changes: until no other process gives the old one from memory, p99',
      lines.map(({ name, p99Ms }) => ({ name, figure: p99Ms.median })),
      'less',
      milliseconds
    ),
    ...compare(
      `the same while the others hear nothing: old rows ${settleMs / 1_000} s after they do again`,
      lines.map(({ name, leftOld }) => ({ name, figure: leftOld })),
      'less',
      (rows) => `${count(rows)} of ${count(lines[0]!.mayBeOld)}`
    )
  ],
  http: ({ lines }: HttpResult) =>
    (['redis', 'memory'] as const).flatMap((kind) =>
      compare(
        `requests a second of an Express API, cached in ${kind === 'redis' ? 'Redis' : 'memory'}, to none cached`,
        lines
          .filter((line) => line.kind === kind)
          .map(({ name, throughput }) => ({ name, figure: throughput.median })),
        'more',
        (ratio) => `${ratio.toFixed(2)} times`
      )
    ),
  stampede: ({ cases }: StampedeResult) =>
    cases.flatMap(({ entry, processes, callersEach, contenders }) => {
      if (entry !== 'cold' || processes === 1) return []
      const callers = `${count(processes * callersEach)} callers in ${processes} processes miss one key`
      return [
        ...compare(
          `${callers}: queries, at most`,
          contenders.map(({ name, loads }) => ({ name, figure: loads.max })),
          'less',
          (loads) => `${loads}`
        ),
        ...compare(
          `${callers}: wait beyond the query, p99`,
          contenders.map(({ name, p99Ms }) => ({ name, figure: p99Ms.median })),
          'less',
          milliseconds
        )
      ]
    }),
  'expiry-storm': ({ settings, cases }: StormResult) =>
    cases.flatMap(({ stale, contenders }) => {
      const storm = `${settings.keys} hot keys expire together, ${stale ? 'stale values allowed' : 'fresh values only'}`
      return [
        ...compare(
          `${storm}: queries`,
          contenders.map(({ name, loads }) => ({ name, figure: loads.median })),
          'less',
          count
        ),
        ...compare(
          `${storm}: wait, p99`,
          contenders.map(({ name, p99Ms }) => ({ name, figure: p99Ms.median })),
          'less',
          milliseconds
        )
      ]
    }),
  'dead-leader': ({ contenders }: DeadLeaderResult) =>
    compare(
      'the loading process is killed: until all have the value (who loads in each process has nobody to wait for)',
      contenders.map(({ name, recoveredMs }) => ({ name, figure: recoveredMs.median })),
      'less',
      milliseconds
    ),
  'stale-set': ({ settings: { rounds }, lines }: StaleSetResult) =>
    compare(
      'an invalidation races a load: old rows after it',
      lines.map((line) => ({ name: line.name, figure: staleReads(line) })),
      'less',
      (reads) => `${count(reads)} of ${count(4 * rounds)}`
    ),
  'write-race': ({ settings: { rounds }, lines }: WriteRaceResult) =>
    compare(
      'two processes change a row and set the cache: ends with another value than the row',
      lines.filter(({ way }) => way !== 'delete').map(({ name, different }) => ({ name, figure: different })),
      'less',
      (different) => `${count(different)} of ${count(rounds)}`
    ),
  write: ({ lines }: WriteResult) =>
    compare(
      'a write through the cache, to the bare change of the row, 32 callers',
      lines
        .filter(({ callers, name }) => callers === 32 && name !== 'the bare change')
        .map(({ name, ratio }) => ({
          name: name === CORRAL ? name : 'a SET after it, which loses races',
          figure: ratio.median
        })),
      'more',
      (ratio) => `${ratio.toFixed(2)} times`
    ),
  'write-behind': ({ arrived }: WriteBehindResult) =>
    compare(
      'events a second until the last one is committed',
      arrived.map(({ name, perSecond }) => ({
        name: name.includes('unnest') ? 'batches from an array, which a crash loses' : name,
        figure: perSecond.median
      })),
      'more',
      count
    ),
  outage: ({ lines }: OutageResult) =>
    compare(
      'the worst p99 of a request while Redis fails, over all kinds of failure',
      [...new Set(lines.map(({ name }) => name))].map((name) => ({
        name,
        figure: Math.max(...lines.filter((line) => line.name === name).map(({ p99 }) => p99))
      })),
      'less',
      milliseconds
    ),
  footprint: ({ redis, memory, installations }: FootprintResult) => [
    ...compare(
      'an entry of 2 KiB in Redis',
      redis
        .filter(({ shape }) => shape === '2 KiB')
        .map(({ name, usedBytes }) => ({ name, figure: usedBytes })),
      'less',
      (bytes) => `${count(bytes)} bytes`
    ),
    ...compare(
      'an entry of 2 KiB in memory',
      memory
        .filter(({ shape, name }) => shape === '2 KiB' && name !== 'lru-cache alone')
        .map(({ name, bytes }) => ({ name, figure: bytes.median })),
      'less',
      (bytes) => `${count(bytes)} bytes`
    ),
    ...compare(
      'what it adds to the start of a process',
      installations.map(({ name, startMs }) => ({ name, figure: startMs.median })),
      'less',
      milliseconds
    ),
    ...compare(
      'what it installs, with its Redis client',
      installations.map(({ name, bytes }) => ({ name, figure: bytes / 1_000 })),
      'less',
      (kilobytes) => `${count(kilobytes)} kB`
    )
  ]
}

function milliseconds(ms: number): string {
  return `${ms < 100 ? ms.toFixed(1) : count(ms)} ms`
}

function count(figure: number): string {
  return Math.round(figure).toLocaleString('en')
}
