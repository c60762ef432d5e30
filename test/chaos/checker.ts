import type { Commit, Fault, Operation } from './history.js'

/** What must not happen, and did: with as little of the history as shows it. */
export interface Violation {
  readonly what: string
  readonly history: readonly string[]
}

/** What a process reads of a row at rest, and when. */
export interface Found {
  readonly process: number
  readonly id: string
  readonly version: number
  readonly at: number
}

export interface Round {
  readonly operations: readonly Operation[]
  /** What the rows were when the round began, and every version committed since. */
  readonly commits: readonly Commit[]
  readonly faults: readonly Fault[]
  /** When a process was killed. */
  readonly deaths: ReadonlyMap<number, number>
  /** What each process reads once everything is at rest. */
  readonly atRest: readonly Found[]
  readonly limits: {
    readonly writeLeaseMs: number
    readonly lifeMs: number
    /** For so long memory may serve what another process has changed. */
    readonly memoryMs: number
  }
}

export interface Verdict {
  readonly violations: readonly Violation[]
  /** Old values within the limits that the documentation states, by limit. */
  readonly withinLimits: Readonly<Record<string, number>>
  readonly reads: number
  readonly fromMemory: number
  /** Of values from memory, how long after a change to them was over the last was given out. */
  readonly latestFromMemoryMs: number
  readonly writes: number
  readonly failed: number
}

/** Whatever breaks around it, a call fails with an error that says so. */
const MISTAKE = /^(?:Type|Range|Reference|Syntax|Assertion)Error\b/

const PROMISED_TO_ALL: readonly (string | undefined)[] = ['published', 'dropped', 'confirmed']

/**
 * No phantom, no read older than what was over before it began, and at rest nothing but what the source has. Every
 * version is of one operation, so what a read saw names the write that it comes from.
 */
export function check(round: Round): Verdict {
  const violations: Violation[] = []
  const withinLimits: Record<string, number> = {}
  const isWithin = (limit: string | undefined): boolean => {
    if (limit !== undefined) withinLimits[limit] = (withinLimits[limit] ?? 0) + 1
    return limit !== undefined
  }
  let latestFromMemoryMs = 0
  const committed = new Map(round.commits.map(({ id, version, by }) => [`${id} ${version}`, by]))
  for (const [id, operations] of byId(round.operations)) {
    const tell = new Story(id, operations, round)
    for (const { read, write } of staleReads(operations, round.limits.memoryMs)) {
      if (!isWithin(limitOfRead(read, write, round)))
        violations.push({
          what: `a read older than what was over before it began, of ${id}`,
          history: tell.stale(read, write)
        })
    }
    latestFromMemoryMs = Math.max(latestFromMemoryMs, latestFromMemory(operations))
    for (const read of operations) {
      if (read.kind !== 'read' || read.version === undefined) continue
      if (committed.get(`${id} ${read.version}`) === read.by) continue
      violations.push({ what: `a phantom: nobody committed this version of ${id}`, history: tell.of([read]) })
    }
    for (const failed of operations) {
      if (!MISTAKE.test(failed.error ?? '')) continue
      violations.push({ what: `an error that no fault explains, of ${id}`, history: tell.of([failed]) })
    }
  }
  const told = new Set<string>()
  for (const found of round.atRest) {
    // One process tells what all of them read.
    const fact = `${found.id} ${found.version}`
    if (told.has(fact)) continue
    told.add(fact)
    const newest = Math.max(
      ...round.commits.filter(({ id }) => id === found.id).map(({ version }) => version)
    )
    if (found.version === newest || isWithin(limitAtRest(found, round))) continue
    const operations = round.operations.filter(({ id }) => id === found.id)
    violations.push({
      what: `at rest process ${found.process} reads ${found.id} v${found.version}, and the source has v${newest}`,
      history: new Story(found.id, operations, round).since(found.version)
    })
  }
  return {
    violations: shortestFirst(violations),
    withinLimits,
    latestFromMemoryMs,
    ...totals(round.operations)
  }
}

interface Stale {
  readonly read: Operation
  readonly write: Operation
}

/**
 * Reads that saw less than a write or an invalidation that had ended before they began; those from memory, so long before
 * they began. What its own process did, memory knows at once.
 */
export function staleReads(operations: readonly Operation[], memoryMs: number): Stale[] {
  const { toAll, toOne } = promises(operations)
  const stale: Stale[] = []
  for (const read of operations) {
    const { version } = read
    if (read.kind !== 'read' || version === undefined) continue
    const isBroken = (write: Operation, sinceUs: number): boolean =>
      write.version! > version && write.endedAt! < sinceUs
    // Without Redis a process hears of its own changes only, so callers share a load that began before others ended.
    const sinceUs = read.aloneSince ?? read.startedAt - (read.source === 'memory' ? memoryMs * 1000 : 0)
    const write =
      toAll.find((one) => isBroken(one, sinceUs)) ??
      [...toAll, ...toOne].find((one) => one.process === read.process && isBroken(one, read.startedAt))
    if (write !== undefined) stale.push({ read, write })
  }
  return stale
}

/** What changes promised, newest first. */
function promises(operations: readonly Operation[]): {
  toAll: readonly Operation[]
  toOne: readonly Operation[]
} {
  const changes = operations.filter(({ kind, version }) => kind !== 'read' && version !== undefined)
  return {
    toAll: newestFirst(changes.filter(({ outcome }) => PROMISED_TO_ALL.includes(outcome))),
    toOne: newestFirst(changes.filter(({ outcome }) => outcome === 'pending'))
  }
}

/** How long after the change to a later version was over, memory gave out an older one; the longest, in ms. */
function latestFromMemory(operations: readonly Operation[]): number {
  const { toAll } = promises(operations)
  let latestUs = 0
  for (const { source, version, startedAt } of operations) {
    if (source !== 'memory') continue
    for (const write of toAll)
      if (write.version! > version!) latestUs = Math.max(latestUs, startedAt - write.endedAt!)
  }
  return latestUs / 1000
}

/** Of a replica that became the master and had not heard of the last of what the old one confirmed. */
function limitOfRead(read: Operation, write: Operation, round: Round): string | undefined {
  const isLost = isLostToFailover(write, { from: read.startedAt, to: read.endedAt! }, round)
  return isLost ? LOST_TO_FAILOVER : undefined
}

const LOST_TO_FAILOVER = 'a failover lost what the old master had confirmed'

/** Replicas are so far behind at most. */
const LAG_US = 2_000_000

/** @param seen when what the change had ended was seen again: not before the failover, nor once it cannot live any more */
function isLostToFailover(
  { outcome, startedAt, endedAt = Number.POSITIVE_INFINITY }: Operation,
  seen: { readonly from: number; readonly to: number },
  { faults, limits }: Round
): boolean {
  // What was pending was told later than it ended.
  const toldAt = outcome === 'pending' ? Number.POSITIVE_INFINITY : endedAt
  return faults.some(
    ({ failsOver, from, to }) =>
      failsOver === true &&
      toldAt > from - LAG_US &&
      startedAt < to &&
      seen.to > from &&
      seen.from < to + limits.lifeMs * 1000
  )
}

/** A guard that was lost and whose writer then died; a change past the cache whose author died, or whose Redis never answered. */
function limitAtRest(found: Found, round: Round): string | undefined {
  const { operations, deaths, faults, limits } = round
  const later = operations.filter(
    ({ id, kind, op }) => id === found.id && kind !== 'read' && madeLaterThan(found.version, id, op, round)
  )
  // What a process remembered has been delivered by now, if it lives.
  const isPromised = ({ outcome, process }: Operation): boolean =>
    PROMISED_TO_ALL.includes(outcome) || (outcome === 'pending' && !deaths.has(process))
  const isExcused = (one: Operation): boolean => {
    const diedAt = deaths.get(one.process)
    if (diedAt === undefined) return one.kind === 'change' && one.error !== undefined
    if (one.kind === 'change' || one.outcome === 'pending') return true
    const untilUs = diedAt + limits.writeLeaseMs * 1000
    return faults.some(({ mayLoseGuards, from, to }) => mayLoseGuards && from < untilUs && to > one.startedAt)
  }
  const seen = { from: found.at, to: found.at }
  const lost = later.filter((one) => isLostToFailover(one, seen, round))
  const others = later.filter((one) => !lost.includes(one))
  if (others.some(isPromised)) return undefined
  if (others.some(isExcused)) return 'its writer was killed after its guard, or what it remembered, was lost'
  return lost.length > 0 && others.length === 0 ? LOST_TO_FAILOVER : undefined
}

function madeLaterThan(version: number, id: string, op: string, { commits }: Round): boolean {
  return commits.some((commit) => commit.id === id && commit.by === op && commit.version > version)
}

function newestFirst(operations: readonly Operation[]): Operation[] {
  return operations.filter(({ endedAt }) => endedAt !== undefined).sort((a, b) => b.version! - a.version!)
}

function byId(operations: readonly Operation[]): Map<string, Operation[]> {
  const groups = new Map<string, Operation[]>()
  for (const operation of operations) {
    const group = groups.get(operation.id)
    if (group === undefined) groups.set(operation.id, [operation])
    else group.push(operation)
  }
  return groups
}

function shortestFirst(violations: readonly Violation[]): Violation[] {
  return [...violations].sort((a, b) => a.history.length - b.history.length)
}

function totals(
  operations: readonly Operation[]
): Omit<Verdict, 'violations' | 'withinLimits' | 'latestFromMemoryMs'> {
  const reads = operations.filter(({ kind }) => kind === 'read').length
  return {
    reads,
    fromMemory: operations.filter(({ source }) => source === 'memory').length,
    writes: operations.length - reads,
    failed: operations.filter(({ error }) => error !== undefined).length
  }
}

/** Tells of one row, in the order in which things ended. */
class Story {
  readonly #id: string
  readonly #operations: readonly Operation[]
  readonly #round: Round

  constructor(id: string, operations: readonly Operation[], round: Round) {
    this.#id = id
    this.#operations = operations
    this.#round = round
  }

  /** From the change that made what was read, over the one that it should have been, to the read: changes, the read, the faults. */
  stale(read: Operation, write: Operation): string[] {
    const changes = this.#operations.filter(
      ({ kind, startedAt, endedAt }) =>
        kind !== 'read' &&
        startedAt <= read.endedAt! &&
        (endedAt ?? Number.POSITIVE_INFINITY) >= write.startedAt
    )
    // Where the old version came from: the first that saw it again after the change was over.
    const carriers = this.#operations.filter(
      ({ kind, version, endedAt }) =>
        kind === 'read' &&
        version === read.version &&
        endedAt! >= write.startedAt &&
        endedAt! <= read.endedAt!
    )
    return this.of([...changes, ...carriers.slice(0, 3), read])
  }

  /** The changes after `version`, what overlapped them, and the first reads that saw that version again. */
  since(version: number): string[] {
    const isChange = ({ kind }: Operation): boolean => kind !== 'read'
    const later = this.#operations.filter((one) => isChange(one) && (one.version ?? version + 1) > version)
    const from = Math.min(...later.map(({ startedAt }) => startedAt))
    const to = Math.max(...later.map(({ startedAt, endedAt }) => endedAt ?? startedAt))
    const changes = this.#operations.filter(
      (one) => isChange(one) && one.startedAt <= to && (one.endedAt ?? Number.POSITIVE_INFINITY) >= from
    )
    const seenAgain = this.#operations.filter(
      (one) => one.kind === 'read' && one.version === version && one.endedAt! >= from
    )
    return this.of([...changes, ...seenAgain.slice(0, 3)])
  }

  of(operations: readonly Operation[]): string[] {
    const unique = [...new Set(operations)]
    const from = Math.min(...unique.map(({ startedAt }) => startedAt))
    const to = Math.max(...unique.map(({ startedAt, endedAt }) => endedAt ?? startedAt))
    const faults = this.#round.faults.filter((fault) => fault.to >= from && fault.from <= to)
    const lines = [
      ...unique.map((one) => [one.startedAt, line(one, from)] as const),
      ...faults.map(
        (fault) => [fault.from, `${span(fault.from, fault.to, from)}  FAULT ${fault.what}`] as const
      )
    ]
    return [
      `row ${this.#id}; milliseconds from the first of these`,
      ...lines.sort((a, b) => a[0] - b[0]).map(([, text]) => text)
    ]
  }
}

function line(
  { process, kind, version, by, tell, source, outcome, error, startedAt, endedAt, op }: Operation,
  from: number
): string {
  const saw = version === undefined ? '' : ` v${version} (by ${by})`
  const how = [
    tell,
    source,
    outcome,
    error,
    endedAt === undefined ? 'killed in the middle' : undefined
  ].filter(Boolean)
  return `${span(startedAt, endedAt, from)}  ${process} ${kind} ${op}${saw} ${how.join(', ')}`
}

function span(from: number, to: number | undefined, zero: number): string {
  const ms = (at: number): string => ((at - zero) / 1000).toFixed(1).padStart(9)
  return `${ms(from)} … ${to === undefined ? '         ' : ms(to)}`
}
