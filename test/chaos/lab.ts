import { setTimeout as sleep } from 'node:timers/promises'
import { mulberry32 } from '../deterministic/world.js'
import { createTemporaryFolder, type TemporaryFolder } from '../support/temporary-folder.js'
import { BehindPart } from './behind-part.js'
import type { BehindVerdict } from './behind-checker.js'
import { check, type Verdict, type Violation } from './checker.js'
import { startCluster } from './cluster.js'
import { Database } from './database.js'
import type { Failover } from './failover-watch.js'
import { FaultLog } from './fault-log.js'
import { Fleet } from './fleet.js'
import { readHistory, type Commit } from './history.js'
import { replayOf } from './report.js'
import { startSentinel } from './sentinel.js'
import { startSingle } from './single.js'
import { strikeServers } from './strike.js'
import type { RedisTopology, TopologyName } from './topology.js'

export interface LabOptions {
  readonly minutes: number
  readonly seed: number
  readonly topology: TopologyName
  readonly onProgress: (progress: Progress) => void
}

export interface Progress {
  readonly round: number
  readonly elapsedMs: number
  readonly operations: number
  readonly faults: number
  readonly violations: number
  readonly doing: string
}

export interface LabReport {
  readonly rounds: number
  readonly durationMs: number
  readonly reads: number
  readonly fromMemory: number
  /** Of values from memory, how long after a change to them was over elsewhere the last was given out. */
  readonly latestFromMemoryMs: number
  readonly writes: number
  /** Operations that ended in an error, as they may. */
  readonly failed: number
  /** What was written behind. */
  readonly behind: Omit<BehindVerdict, 'violations'>
  /** How often each fault struck. */
  readonly faults: Readonly<Record<string, number>>
  readonly withinLimits: Readonly<Record<string, number>>
  readonly violations: readonly Violation[]
  /** The seed of the round in which the first violation was found. */
  readonly seed: number | undefined
}

const MEMBERS = 4
/** The first of them. */
const KEEPING_IN_MEMORY = 2
const ROUND_MS = 20_000
const LIMITS = { commandTimeout: 150, lease: 800, writeLease: 1_500 }
/** Where a failover may bring back an old value, it is soon over. */
const TTL_MS = { single: 3_600_000, sentinel: 3_000, cluster: 3_000 }
/** Where Redis does not tell of changes, memory may be wrong for as long as it keeps a value. */
const MEMORY_TTL_MS = { single: 60_000, sentinel: 60_000, cluster: 3_000 }
const TWO_HEARTBEATS_MS = 2_000
const MEMORY_MS = { single: TWO_HEARTBEATS_MS, sentinel: TWO_HEARTBEATS_MS, cluster: MEMORY_TTL_MS.cluster }

export async function runLab({ minutes, seed, topology, onProgress }: LabOptions): Promise<LabReport> {
  await using lab = await Lab.open(topology)
  const startedAt = performance.now()
  const endsAt = startedAt + minutes * 60_000
  const total = { rounds: 0, reads: 0, fromMemory: 0, writes: 0, failed: 0 }
  const behind = { accepted: 0, unknown: 0, reads: 0, fromMemory: 0 }
  let latestFromMemoryMs = 0
  const withinLimits: Record<string, number> = {}
  const violations: Violation[] = []
  let failedSeed: number | undefined
  while (performance.now() < endsAt && violations.length === 0) {
    const round = total.rounds++
    const roundMs = Math.min(ROUND_MS, Math.max(5_000, endsAt - performance.now()))
    const playing = lab.play(round, seed + round, roundMs, (doing) =>
      onProgress({
        round,
        elapsedMs: performance.now() - startedAt,
        operations: total.reads + total.writes + behind.accepted + behind.reads,
        faults: lab.log.struck,
        violations: violations.length,
        doing
      })
    )
    const verdict = await playing.catch((error: unknown) => {
      throw new Error(`the round could not be played to its end: ${replayOf(seed + round, topology)}`, {
        cause: error
      })
    })
    add(total, verdict.cached)
    add(behind, verdict.behind)
    latestFromMemoryMs = Math.max(latestFromMemoryMs, verdict.cached.latestFromMemoryMs)
    for (const [limit, count] of Object.entries(verdict.cached.withinLimits))
      withinLimits[limit] = (withinLimits[limit] ?? 0) + count
    violations.push(...verdict.violations)
    if (verdict.violations.length > 0) failedSeed = seed + round
  }
  return {
    ...total,
    durationMs: performance.now() - startedAt,
    latestFromMemoryMs,
    behind,
    faults: lab.log.counts,
    withinLimits,
    violations,
    seed: failedSeed
  }
}

/** Adds what `part` has under the names in `sum`. */
function add<Name extends string>(
  sum: Record<Name, number>,
  part: Partial<Record<NoInfer<Name>, number>>
): void {
  for (const name of Object.keys(sum) as Name[]) sum[name] += part[name] ?? 0
}

interface RoundVerdict {
  readonly cached: Verdict
  readonly behind: BehindVerdict
  readonly violations: readonly Violation[]
}

/** The servers, the fleet, and one round after the other. */
class Lab implements AsyncDisposable {
  readonly log: FaultLog
  readonly #name: TopologyName
  readonly #topology: RedisTopology
  readonly #database: Database
  readonly #folder: TemporaryFolder
  readonly #fleet: Fleet
  readonly #behind: BehindPart

  static async open(name: TopologyName): Promise<Lab> {
    const log = new FaultLog()
    const [topology, database, folder] = await Promise.all([
      openTopology(name, log),
      Database.start(),
      createTemporaryFolder('chaos')
    ])
    const behind = await BehindPart.open(database, folder.path, log)
    const lab = new Lab(name, log, { topology, database, folder, behind })
    for (let place = 0; place < MEMBERS; place++) {
      const memoryTtlMs = place < KEEPING_IN_MEMORY ? MEMORY_TTL_MS[name] : 0
      await lab.#fleet.add(await topology.addressFor(place), memoryTtlMs)
    }
    return lab
  }

  private constructor(
    name: TopologyName,
    log: FaultLog,
    parts: { topology: RedisTopology; database: Database; folder: TemporaryFolder; behind: BehindPart }
  ) {
    this.log = log
    this.#name = name
    this.#topology = parts.topology
    this.#database = parts.database
    this.#folder = parts.folder
    this.#behind = parts.behind
    const options = { databaseUrl: this.#database.url, limits: LIMITS, ttlMs: TTL_MS[name] }
    this.#fleet = new Fleet(options, this.#folder.path, this.log)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([this.#fleet[Symbol.asyncDispose](), this.#behind[Symbol.asyncDispose]()])
    await Promise.all([this.#topology.stop(), this.#database[Symbol.asyncDispose]()])
    await this.#folder.remove()
  }

  /** Work under faults, then rest, then the check of everything that was seen. */
  async play(
    round: number,
    seed: number,
    ms: number,
    progress: (doing: string) => void
  ): Promise<RoundVerdict> {
    this.log.newRound()
    const before = await this.#database.begin()
    await Promise.all([this.#fleet.start(), this.#behind.begin(round)])
    const until = performance.now() + ms
    const ticking = setInterval(() => progress('working under faults'), 1_000)
    const servers = [...this.#topology.faults, ...this.#database.faults]
    try {
      await Promise.all([
        this.#fleet.strike(mulberry32(seed), until),
        strikeServers(servers, this.log, mulberry32(seed + 0x9e37), until),
        this.#behind.strike(seed, until)
      ])
    } finally {
      clearInterval(ticking)
    }
    progress('coming to rest')
    const resting = this.#fleet.rest()
    const behind = await this.#behind.check(TWO_HEARTBEATS_MS)
    const unended = await resting
    // Until a guard of a dead writer is over, and memory has let go of what others changed in the end.
    await sleep(Math.max(LIMITS.writeLease + 500, MEMORY_MS[this.#name] + 100))
    const cached = await this.#check(before)
    if (Object.keys(cached.withinLimits).length > 0) await this.#forget()
    return { cached, behind, violations: [...unended, ...cached.violations, ...behind.violations] }
  }

  /** What is old within the limits would be a phantom in the next round. */
  async #forget(): Promise<void> {
    await this.#topology.forget()
    await sleep(MEMORY_MS[this.#name] + 100)
  }

  async #check(before: readonly Commit[]): Promise<Verdict> {
    const atRest = await this.#fleet.look()
    return check({
      operations: await readHistory(this.#fleet.files),
      commits: [...before, ...(await this.#database.commits())],
      faults: this.log.faults,
      deaths: this.#fleet.deaths,
      atRest,
      limits: {
        writeLeaseMs: LIMITS.writeLease,
        lifeMs: TTL_MS[this.#name] + 1_000,
        memoryMs: MEMORY_MS[this.#name]
      }
    })
  }
}

async function openTopology(name: TopologyName, log: FaultLog): Promise<RedisTopology> {
  const onFailover = (failover: Failover): void => log.noteFailover(failover)
  switch (name) {
    case 'single':
      return startSingle()
    case 'sentinel':
      return startSentinel(onFailover)
    case 'cluster':
      return startCluster(onFailover)
  }
}
