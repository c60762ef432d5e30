import { differences, readLog, type Tables } from '../faults/behind-model.js'
import { readBehindHistory, type Attempt, type BehindHistory, type Seen } from './behind-log.js'
import type { Violation } from './checker.js'
import type { Fault } from './history.js'

/** What a process reads of a row or a counter once everything is flushed. */
export interface LookedAt {
  readonly kind: 'R' | 'C'
  readonly id: string
  readonly process: number
  readonly value: number | undefined
}

export interface BehindRound {
  readonly lines: readonly string[]
  readonly tables: Tables
  readonly atRest: readonly LookedAt[]
  readonly faults: readonly Fault[]
  /** For so long memory may serve what another process has changed. */
  readonly memoryMs: number
}

export interface BehindVerdict {
  readonly violations: readonly Violation[]
  readonly accepted: number
  /** Operations of which their callers do not know whether they were accepted. */
  readonly unknown: number
  readonly reads: number
  readonly fromMemory: number
}

/**
 * At rest the tables are what one process after the other could have made of the accepted operations, each taken once, with
 * any of the unknown ones; every process reads what is in them; and no read was older than what was accepted before it.
 */
export function checkBehind({ lines, tables, atRest, faults, memoryMs }: BehindRound): BehindVerdict {
  const log = readLog(lines)
  const history = readBehindHistory(lines)
  const violations: Violation[] = differences(log, tables).map((what) => ({
    what,
    history: story(lines.filter((line) => line.includes(` ${idIn(what)} `)).slice(-40), faults)
  }))
  for (const read of history.reads) {
    const allowed = allowedFor(read, history, memoryMs)
    if (!allowed.has(read.value))
      violations.push({
        what: `process ${read.process} read ${read.kind} ${read.id} as ${read.value}, possible: ${told(allowed)}`,
        history: story(about(read, lines), faults)
      })
  }
  for (const { kind, id, process, value } of atRest) {
    const inTable = kind === 'R' ? tables.rows.get(id) : tables.counters.get(Number(id))
    if (value === inTable) continue
    violations.push({
      what: `at rest process ${process} reads ${kind} ${id} as ${value}, and its table has ${inTable}`,
      history: story(lines.filter((line) => line.includes(` ${id} `)).slice(-40), faults)
    })
  }
  return {
    violations: violations.sort((a, b) => a.history.length - b.history.length),
    accepted: log.acknowledged,
    unknown: log.unknown,
    reads: history.reads.length,
    fromMemory: history.reads.filter(({ source }) => source === 'memory').length
  }
}

/** Everything that a read may have seen. */
export function allowedFor(
  read: Seen,
  { attempts }: BehindHistory,
  memoryMs: number
): ReadonlySet<number | undefined> {
  const all = attempts.get(`${read.kind} ${read.id}`) ?? []
  // Another process may have done it just before it ended, so memory has until then and the bound to hear of it.
  const isOver = ({ state, endedAt, process }: Attempt): boolean =>
    state === 'accepted' &&
    read.source !== 'lone' &&
    endedAt! < read.startedAt - (read.source === 'memory' && process !== read.process ? memoryMs * 1000 : 0)
  const mayBeThere = all.filter(({ startedAt, state }) => startedAt < read.endedAt && state !== 'refused')
  if (read.kind === 'C') return numbers(all.filter(isOver).length, mayBeThere.length)
  const least = Math.max(0, ...all.filter(isOver).map(({ n }) => n))
  const values = mayBeThere.filter(({ n }) => n >= least).map(({ n }) => (n % 7 === 0 ? undefined : n))
  return new Set(least === 0 ? [undefined, ...values] : values)
}

function numbers(from: number, to: number): ReadonlySet<number | undefined> {
  const all = Array.from({ length: to - from + 1 }, (_, index) => from + index)
  // What does not exist counts as 0.
  return new Set(from === 0 ? [undefined, ...all] : all)
}

function told(allowed: ReadonlySet<number | undefined>): string {
  const all = [...allowed]
  return all.length <= 8 ? all.join(', ') : `${all[0]} … ${all.at(-1)}`
}

const idIn = (what: string): string => /(?:event|counter|row) (\S+?),?(?: |$)/.exec(what)?.[1] ?? ''

/** What was noted of it around the read. */
function about({ id, startedAt, endedAt }: Seen, lines: readonly string[]): string[] {
  return lines.filter((line) => {
    if (!line.includes(` ${id} `)) return false
    const times = [...line.matchAll(/ (\d{7,})(?= |$)/g)].map(([, at]) => Number(at))
    return times.some((at) => at > startedAt - 3_000_000 && at < endedAt + 100_000)
  })
}

/** What is accepted is applied a little later. */
const AFTERWARDS_US = 5_000_000

/** Times are in microseconds, as they were noted. */
function story(lines: readonly string[], faults: readonly Fault[]): string[] {
  const times = lines.flatMap((line) => [...line.matchAll(/ (\d{7,})(?= |$)/g)].map(([, at]) => Number(at)))
  const [from, to] = [Math.min(...times), Math.max(...times)]
  return [
    ...lines,
    ...faults
      .filter((fault) => fault.to >= from - 1_000_000 && fault.from <= to + AFTERWARDS_US)
      .map((fault) => `FAULT ${fault.what} ${fault.from} … ${fault.to}`)
  ]
}
