import { setTimeout as sleep } from 'node:timers/promises'
import { mulberry32 } from '../deterministic/world.js'
import { createTemporaryFolder, type TemporaryFolder } from '../support/temporary-folder.js'
import { check, type Verdict, type Violation } from './checker.js'
import { startCluster } from './cluster.js'
import { Database } from './database.js'
import { FaultLog } from './fault-log.js'
import { Fleet } from './fleet.js'
import { readHistory, type Commit } from './history.js'
import { startSentinel } from './sentinel.js'
import { startSingle } from './single.js'
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
  readonly reads: number
  readonly writes: number
  /** Operations that ended in an error, as they may. */
  readonly failed: number
  /** How often each fault struck. */
  readonly faults: Readonly<Record<string, number>>
  readonly withinLimits: Readonly<Record<string, number>>
  readonly violations: readonly Violation[]
  /** The seed of the round in which the first violation was found. */
  readonly seed: number | undefined
}

const MEMBERS = 4
const ROUND_MS = 20_000
const LIMITS = { commandTimeout: 150, lease: 800, writeLease: 1_500 }
/** Where a failover may bring back an old value, it is soon over. */
const TTL_MS = { single: 3_600_000, sentinel: 3_000, cluster: 3_000 }

export async function runLab({ minutes, seed, topology, onProgress }: LabOptions): Promise<LabReport> {
  await using lab = await Lab.open(topology)
  const startedAt = performance.now()
  const endsAt = startedAt + minutes * 60_000
  const total = { rounds: 0, reads: 0, writes: 0, failed: 0 }
  const withinLimits: Record<string, number> = {}
  const violations: Violation[] = []
  let failedSeed: number | undefined
  while (performance.now() < endsAt && violations.length === 0) {
    const round = total.rounds++
    const roundMs = Math.min(ROUND_MS, Math.max(5_000, endsAt - performance.now()))
    const verdict = await lab.play(seed + round, roundMs, (doing) =>
      onProgress({
        round,
        elapsedMs: performance.now() - startedAt,
        operations: total.reads + total.writes,
        faults: lab.log.struck,
        violations: violations.length,
        doing
      })
    )
    total.reads += verdict.reads
    total.writes += verdict.writes
    total.failed += verdict.failed
    for (const [limit, count] of Object.entries(verdict.withinLimits))
      withinLimits[limit] = (withinLimits[limit] ?? 0) + count
    violations.push(...verdict.violations)
    if (verdict.violations.length > 0) failedSeed = seed + round
  }
  return { ...total, faults: lab.log.counts, withinLimits, violations, seed: failedSeed }
}

/** The servers, the fleet, and one round after the other. */
class Lab implements AsyncDisposable {
  readonly log = new FaultLog()
  readonly #ttlMs: number
  readonly #topology: RedisTopology
  readonly #database: Database
  readonly #folder: TemporaryFolder
  readonly #fleet: Fleet

  static async open(name: TopologyName): Promise<Lab> {
    const [topology, database, folder] = await Promise.all([
      openTopology(name),
      Database.start(),
      createTemporaryFolder('chaos')
    ])
    const lab = new Lab(topology, database, folder, TTL_MS[name])
    for (let place = 0; place < MEMBERS; place++) await lab.#fleet.add(await topology.addressFor(place))
    return lab
  }

  private constructor(topology: RedisTopology, database: Database, folder: TemporaryFolder, ttlMs: number) {
    this.#topology = topology
    this.#database = database
    this.#folder = folder
    this.#ttlMs = ttlMs
    const options = { databaseUrl: database.url, limits: LIMITS, ttlMs }
    this.#fleet = new Fleet(options, folder.path, this.log)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#fleet[Symbol.asyncDispose]()
    await Promise.all([this.#topology.stop(), this.#database[Symbol.asyncDispose]()])
    await this.#folder.remove()
  }

  /** Work under faults, then rest, then the check of everything that was seen. */
  async play(seed: number, ms: number, progress: (doing: string) => void): Promise<Verdict> {
    this.log.newRound()
    const before = await this.#database.begin()
    await this.#fleet.start()
    const until = performance.now() + ms
    const ticking = setInterval(() => progress('working under faults'), 1_000)
    try {
      await Promise.all([
        this.#fleet.strike(mulberry32(seed), until),
        this.#strikeServers(mulberry32(seed + 0x9e37), until)
      ])
    } finally {
      clearInterval(ticking)
    }
    progress('coming to rest')
    const unended = await this.#fleet.rest()
    await sleep(LIMITS.writeLease + 500)
    const verdict = await this.#check(before)
    if (Object.keys(verdict.withinLimits).length > 0) await this.#topology.forget()
    return { ...verdict, violations: [...unended, ...verdict.violations] }
  }

  async #check(before: readonly Commit[]): Promise<Verdict> {
    const atRest = await this.#fleet.look()
    return check({
      operations: await readHistory(this.#fleet.files),
      commits: [...before, ...(await this.#database.commits())],
      faults: this.log.faults,
      deaths: this.#fleet.deaths,
      atRest,
      limits: { writeLeaseMs: LIMITS.writeLease, lifeMs: this.#ttlMs + 1_000 }
    })
  }

  async #strikeServers(random: () => number, until: number): Promise<void> {
    const faults = [...this.#topology.faults, ...this.#database.faults]
    const sum = faults.reduce((total, { weight }) => total + weight, 0)
    while (performance.now() < until) {
      await sleep(200 + 1_300 * random())
      let draw = random() * sum
      const fault = faults.find(({ weight }) => (draw -= weight) < 0) ?? faults[0]!
      if (performance.now() > until) return
      await this.log.note(fault.what, fault.mayLoseGuards, () => fault.strike(random), fault.failsOver)
    }
  }
}

async function openTopology(name: TopologyName): Promise<RedisTopology> {
  switch (name) {
    case 'single':
      return startSingle()
    case 'sentinel':
      return startSentinel()
    case 'cluster':
      return startCluster()
  }
}
