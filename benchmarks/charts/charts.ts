import { CORRAL } from '../contenders/contender.js'
import type { StormResult } from '../reports/expiry-storm.js'
import type { FootprintResult } from '../reports/footprint.js'
import type { HitPathResult } from '../reports/hit-path.js'
import { placeOf, type HttpResult } from '../reports/http.js'
import { WAYS, type LatencyResult } from '../reports/latency.js'
import type { MemoryHitResult } from '../reports/memory-hit.js'
import type { OutageResult } from '../reports/outage.js'
import type { StampedeResult } from '../reports/stampede.js'
import type { WriteBehindResult } from '../reports/write-behind.js'
import type { WriteRaceResult } from '../reports/write-race.js'
import { readResult } from '../support/results.js'
import type { Spread } from '../support/statistics.js'
import type { Chart, ChartBar, ChartRow } from './chart.js'

/** Of a question, when it has been asked and a picture says more than its table. */
export function chartOf(question: string): Chart | undefined {
  const draw = CHARTS[question]
  const result = draw === undefined ? undefined : readResult<never>(question)
  return result === undefined ? undefined : draw?.(result)
}

const CHARTS: Readonly<Record<string, (result: never) => Chart | undefined>> = {
  'hit-path': hitPathChart,
  'memory-hit': memoryHitChart,
  http: httpChart,
  latency: latencyChart,
  outage: outageChart,
  stampede: stampedeChart,
  'expiry-storm': expiryStormChart,
  'write-race': writeRaceChart,
  'write-behind': writeBehindChart,
  footprint: footprintChart
}

function hitPathChart({ cases }: HitPathResult): Chart | undefined {
  const one = cases.find(
    ({ shape, call, concurrency }) => shape === '2 KiB' && call === 'get' && concurrency === 64
  )
  return (
    one && {
      name: 'hit-path',
      title: 'A warm hit from Redis: rows of 2 KiB, 64 callers in one process',
      axis: 'hits a second, in those of ioredis and JSON.parse (more is better)',
      isLogarithmic: false,
      rows: one.contenders
        .toSorted((a, b) => b.throughput.median - a.throughput.median)
        .map(({ name, throughput }) => rowOf(name, throughput, times(throughput.median)))
    }
  )
}

function memoryHitChart({ cases }: MemoryHitResult): Chart | undefined {
  const one = cases.find(({ shape }) => shape === '2 KiB')
  return (
    one && {
      name: 'memory-hit',
      title: 'A hit in memory: rows of 2 KiB, one caller',
      axis: 'nanoseconds a hit (less is better; each line is ten times the one before)',
      isLogarithmic: true,
      rows: one.contenders
        .toSorted((a, b) => a.nsPerHit - b.nsPerHit)
        .map(({ name, nsPerHit }) => rowOf(name, exactly(nsPerHit), `${withThousands(nsPerHit)} ns`))
    }
  )
}

function httpChart({ lines }: HttpResult): Chart {
  return {
    name: 'http',
    title: 'An Express API over PostgreSQL, 50 connections',
    axis: 'requests a second (more is better)',
    isLogarithmic: false,
    rows: lines
      .toSorted((a, b) => b.perSecond.median - a.perSecond.median)
      .map((line) => {
        const label = line.kind === 'memory' ? `${line.name}, in ${placeOf(line)}` : line.name
        return rowOf(label, line.perSecond, withThousands(line.perSecond.median))
      })
  }
}

function latencyChart({ cases }: LatencyResult): Chart | undefined {
  const one = cases.find(({ shape }) => shape === '2 KiB')
  return (
    one && {
      name: 'latency',
      title: 'Where a row of 2 KiB comes from, and how long that takes: p50, one caller',
      axis: 'microseconds (less is better; each line is ten times the one before)',
      isLogarithmic: true,
      rows: one.lines.map(({ way, p50Us }) => {
        const label = WAYS[way].replaceAll(/[*`]/g, '')
        const digits = p50Us.median < 10 ? p50Us.median.toPrecision(2) : withThousands(p50Us.median)
        return rowOf(label, p50Us, `${digits} µs`)
      })
    }
  )
}

function expiryStormChart({ settings: { keys, readsPerSecond }, cases }: StormResult): Chart | undefined {
  const one = cases.find(({ stale }) => !stale)
  return (
    one && {
      name: 'expiry-storm',
      title: `${keys} hot keys expire together under ${withThousands(readsPerSecond)} reads a second`,
      axis: 'milliseconds until the answer, p99 (less is better; each line is ten times the one before)',
      isLogarithmic: true,
      rows: one.contenders
        .toSorted((a, b) => a.p99Ms.median - b.p99Ms.median)
        .map(({ name, p99Ms, loads }) =>
          rowOf(name, p99Ms, `${withThousands(p99Ms.median)} ms, ${withThousands(loads.median)} queries`)
        )
    }
  )
}

function footprintChart({ memory }: FootprintResult): Chart {
  return {
    name: 'footprint',
    title: 'A row of 2 KiB, kept in the memory of the process',
    axis: 'bytes (less is better)',
    isLogarithmic: false,
    rows: memory
      .filter(({ shape }) => shape === '2 KiB')
      .toSorted((a, b) => a.bytes.median - b.bytes.median)
      .map(({ name, bytes }) => rowOf(name, bytes, withThousands(bytes.median)))
  }
}

function outageChart({ lines }: OutageResult): Chart {
  const faults = [...new Set(lines.map(({ fault }) => fault))]
  return {
    name: 'outage',
    title: 'While Redis fails: the wait of a request, p99; above Corral, below the best of all others',
    axis: 'milliseconds (less is better; each line is ten times the one before)',
    isLogarithmic: true,
    rows: faults.map((fault) => {
      const own = lines.filter((line) => line.fault === fault)
      const [best] = own
        .filter(({ name }) => !isOurs(name))
        .toSorted((a, b) => a.errors - b.errors || a.p99 - b.p99)
      const both = [...own.filter(({ name }) => isOurs(name)), ...(best === undefined ? [] : [best])]
      return { label: `Redis ${fault}`, bars: both.map(outageBar) }
    })
  }
}

function outageBar({ name, p99, errors }: OutageResult['lines'][number]): ChartBar {
  const failed = errors === 0 ? '' : `, ${withThousands(errors)} errors`
  const who = isOurs(name) ? '' : ` (${name})`
  const text = `${withThousands(p99)} ms${failed}${who}`
  return { value: p99, min: p99, max: p99, isOurs: isOurs(name), text }
}

function stampedeChart({ cases }: StampedeResult): Chart | undefined {
  const one = cases.find(({ entry, processes }) => entry === 'cold' && processes > 1)
  if (one === undefined) return undefined
  const callers = withThousands(one.processes * one.callersEach)
  return {
    name: 'stampede',
    title: `A stampede: ${callers} callers in ${one.processes} processes miss one key`,
    axis: 'queries to the database (1 is all it takes; each line is ten times the one before)',
    isLogarithmic: true,
    rows: one.contenders
      .toSorted((a, b) => a.loads.median - b.loads.median || a.loads.max - b.loads.max)
      .map(({ name, loads }) => rowOf(name, loads, withThousands(loads.median)))
  }
}

function writeRaceChart({ settings: { rounds }, lines }: WriteRaceResult): Chart {
  return {
    name: 'write-race',
    title: `Two processes change a row and set the cache, ${rounds} times at the same moment`,
    axis: 'rounds after which the cache differs from the row (0 is right)',
    isLogarithmic: false,
    rows: lines
      .filter(({ way }) => way !== 'delete')
      .toSorted((a, b) => a.different - b.different)
      .map(({ name, different }) =>
        rowOf(name.replaceAll('`', ''), exactly(different), withThousands(different))
      )
  }
}

function writeBehindChart({ arrived }: WriteBehindResult): Chart {
  return {
    name: 'write-behind',
    title: 'Events until the last one is committed in PostgreSQL',
    axis: 'events a second (more is better)',
    isLogarithmic: false,
    rows: arrived
      .toSorted((a, b) => b.perSecond.median - a.perSecond.median)
      .map(({ name, perSecond }) => rowOf(name, perSecond, withThousands(perSecond.median)))
  }
}

function rowOf(label: string, { median, min, max }: Spread, text: string): ChartRow {
  const bar: ChartBar = { isOurs: isOurs(label), value: median, min, max, text }
  return { label, bars: [bar] }
}

function isOurs(name: string): boolean {
  return name.startsWith(CORRAL)
}

function exactly(figure: number): Spread {
  return { median: figure, min: figure, max: figure }
}

function times(ratio: number): string {
  return `${ratio.toFixed(2)} times`
}

function withThousands(figure: number): string {
  return (figure < 10 ? Number(figure.toFixed(1)) : Math.round(figure)).toLocaleString('en')
}
