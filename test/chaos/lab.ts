import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Pool } from 'pg'
import { mulberry32 } from '../deterministic/world.js'
import { startPostgresServer, type PostgresServer } from '../support/postgres-server.js'
import { startWorker, type WorkerProcess } from '../support/processes.js'
import { createTemporaryFolder } from '../support/temporary-folder.js'
import { check, type Verdict, type Violation } from './checker.js'
import { nowUs, readHistory, type Commit, type Fault } from './history.js'
import { ROWS, type MemberCommands, type RedisAddress } from './member.js'
import { startCluster } from './cluster.js'
import { startSentinel } from './sentinel.js'
import { startSingle } from './single.js'
import type { RedisFault, RedisTopology, TopologyName } from './topology.js'

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

type Member = WorkerProcess<MemberCommands>

interface Place {
  readonly address: RedisAddress
  member: Member
  /** Stopped by a fault, or being replaced: other faults leave it alone. */
  isBusy: boolean
}

const MEMBERS = 4
const ROUND_MS = 20_000
const COLLECTIONS = ['steady', 'brief'] as const
const LIMITS = { commandTimeout: 150, lease: 800, writeLease: 1_500 }
/** Longer than any deadline of a member: what is under way by then never ends. */
const PATIENCE_MS = 30_000
const SETTLE_MS = 60_000

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
    const verdict = await lab.play(round, seed + round, roundMs, (doing) =>
      onProgress({
        round,
        elapsedMs: performance.now() - startedAt,
        operations: total.reads + total.writes,
        faults: lab.struck,
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
  return { ...total, faults: lab.faultCounts, withinLimits, violations, seed: failedSeed }
}

class Lab implements AsyncDisposable {
  readonly #topology: RedisTopology
  readonly #postgres: PostgresServer
  readonly #database: Pool
  readonly #folder: { path: string; remove(): Promise<void> }
  readonly #ttlMs: number
  readonly #places: Place[] = []
  readonly faultCounts: Record<string, number> = {}
  #files: string[] = []
  #faults: Fault[] = []
  #deaths = new Map<number, number>()
  #isStriking = false
  #started = 0

  static async open(name: TopologyName): Promise<Lab> {
    const [topology, postgres, folder] = await Promise.all([
      openTopology(name),
      startPostgresServer({ durable: false }),
      createTemporaryFolder('chaos')
    ])
    const lab = new Lab(topology, postgres, folder, name === 'single' ? 3_600_000 : 3_000)
    await lab.#prepare()
    return lab
  }

  private constructor(
    topology: RedisTopology,
    postgres: PostgresServer,
    folder: { path: string; remove(): Promise<void> },
    ttlMs: number
  ) {
    this.#topology = topology
    this.#postgres = postgres
    this.#folder = folder
    this.#ttlMs = ttlMs
    this.#database = new Pool({ connectionString: postgres.url, max: 2 })
    this.#database.on('error', () => undefined) // A fault ended this connection too; the next query opens another.
  }

  get struck(): number {
    return Object.values(this.faultCounts).reduce((sum, count) => sum + count, 0)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#places.map(({ member }) => member.kill()))
    await this.#database.end()
    await Promise.all([this.#topology.stop(), this.#postgres.stop()])
    await this.#folder.remove()
  }

  /** One round: work under faults, then rest, then the check of everything that was seen. */
  async play(round: number, seed: number, ms: number, progress: (doing: string) => void): Promise<Verdict> {
    this.#faults = []
    this.#deaths = new Map()
    this.#files = []
    await this.#database.query('TRUNCATE changes')
    const before = await this.#rows()
    const until = performance.now() + ms
    await Promise.all(this.#places.map((place) => place.member.call('start', this.#newFile(round))))
    this.#isStriking = true
    const ticking = setInterval(() => progress('working under faults'), 1_000)
    await Promise.all([
      this.#strikeProcesses(mulberry32(seed), until, round),
      this.#strikeServers(mulberry32(seed + 0x9e37), until)
    ])
    this.#isStriking = false
    clearInterval(ticking)
    progress('coming to rest')
    const unended = await this.#rest()
    const atRest = await this.#look()
    const commits = [...before, ...(await this.#commits())]
    const verdict = check({
      operations: await readHistory(this.#files),
      commits,
      faults: this.#faults,
      deaths: this.#deaths,
      atRest,
      limits: { writeLeaseMs: LIMITS.writeLease, lifeMs: this.#ttlMs + 1_000 }
    })
    if (Object.keys(verdict.withinLimits).length > 0) await this.#topology.forget()
    return { ...verdict, violations: [...unended, ...verdict.violations] }
  }

  async #prepare(): Promise<void> {
    await this.#database.query(
      'CREATE TABLE rows (id text PRIMARY KEY, version bigint NOT NULL, by text NOT NULL)'
    )
    await this.#database.query('CREATE TABLE changes (id text, version bigint, by text)')
    for (const name of COLLECTIONS) {
      await this.#database.query(
        `INSERT INTO rows SELECT $1 || ':' || n, 1, 'the start' FROM generate_series(1, ${ROWS}) n`,
        [name]
      )
    }
    for (let place = 0; place < MEMBERS; place++) {
      const address = await this.#topology.addressFor(place)
      this.#places.push({ address, member: await this.#startMember(address), isBusy: false })
    }
  }

  async #startMember(redis: RedisAddress): Promise<Member> {
    const member = await startWorker<MemberCommands>(new URL('./member.ts', import.meta.url))
    await member.call('open', { redis, databaseUrl: this.#postgres.url, limits: LIMITS, ttlMs: this.#ttlMs })
    return member
  }

  #newFile(round: number): string {
    const file = join(this.#folder.path, `${round}-${this.#started++}.jsonl`)
    this.#files.push(file)
    return file
  }

  async #strikeProcesses(random: () => number, until: number, round: number): Promise<void> {
    const replaced: Promise<void>[] = []
    while (performance.now() < until) {
      await sleep(300 + 1_200 * random())
      const place = this.#places[Math.floor(random() * MEMBERS)]!
      const [draw, stoppedMs, comesBackMs] = [random(), 100 + 2_400 * random(), 500 * random()]
      if (place.isBusy || performance.now() > until) continue
      place.isBusy = true
      const { member } = place
      if (draw < 0.45) {
        await this.#struck(`process ${member.pid} killed`, false, () => this.#kill(place))
        replaced.push(this.#replace(place, comesBackMs, round))
      } else {
        await this.#struck(`process ${member.pid} stopped`, true, async () => {
          member.signal('SIGSTOP')
          await sleep(stoppedMs)
          // Some never go on.
          if (draw > 0.9) await this.#kill(place)
          else member.signal('SIGCONT')
        })
        if (draw > 0.9) replaced.push(this.#replace(place, comesBackMs, round))
        else place.isBusy = false
      }
    }
    await Promise.all(replaced)
  }

  async #strikeServers(random: () => number, until: number): Promise<void> {
    const faults = [...this.#topology.faults, ...this.#databaseFaults()]
    const sum = faults.reduce((total, { weight }) => total + weight, 0)
    while (performance.now() < until) {
      await sleep(200 + 1_300 * random())
      let draw = random() * sum
      const fault = faults.find(({ weight }) => (draw -= weight) < 0) ?? faults[0]!
      if (performance.now() > until) return
      await this.#struck(fault.what, fault.mayLoseGuards, () => fault.strike(random), fault.failsOver)
    }
  }

  async #struck(
    what: string,
    mayLoseGuards: boolean,
    strike: () => Promise<void>,
    failsOver = false
  ): Promise<void> {
    const fault: Fault = { what, from: nowUs(), to: Number.POSITIVE_INFINITY, mayLoseGuards, failsOver }
    this.#faults.push(fault)
    const kind = what.replace(/ \d+/, '')
    this.faultCounts[kind] = (this.faultCounts[kind] ?? 0) + 1
    await strike()
    fault.to = nowUs()
  }

  async #kill({ member }: Place): Promise<void> {
    this.#deaths.set(member.pid, nowUs())
    await member.kill('SIGKILL')
  }

  async #replace(place: Place, afterMs: number, round: number): Promise<void> {
    await sleep(afterMs)
    place.member = await this.#startMember(place.address)
    if (this.#isStriking) await place.member.call('start', this.#newFile(round))
    place.isBusy = false
  }

  #databaseFaults(): RedisFault[] {
    return [
      {
        what: 'PostgreSQL stopped',
        weight: 1,
        mayLoseGuards: true,
        strike: async (random) => {
          const { rows } = await this.#database.query<{ pid: number }>(
            'SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND usename IS NOT NULL'
          )
          const pids = [this.#postgres.pid, ...rows.map(({ pid }) => pid)]
          signalAll(pids, 'SIGSTOP')
          await sleep(50 + 1_000 * random())
          signalAll(pids, 'SIGCONT')
        }
      },
      {
        what: 'connections of PostgreSQL ended',
        weight: 1,
        mayLoseGuards: false,
        strike: async () => {
          await this.#database.query(
            'SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND usename IS NOT NULL'
          )
        }
      }
    ]
  }

  /** Waits for what is under way; whatever does not end in time is a violation. */
  async #rest(): Promise<Violation[]> {
    const ended = await Promise.all(
      this.#places.map(async ({ member }) => {
        const isOver = await Promise.race([member.call('stop').then(() => true), sleep(PATIENCE_MS, false)])
        if (isOver) return undefined
        const left = await member.call('underWay')
        return {
          what: `${left} calls of process ${member.pid} have not ended after ${PATIENCE_MS} ms`,
          history: []
        }
      })
    )
    await this.#untilAll(async ({ member }) => {
      return (await member.call('redisState')) === 'ready' && (await member.call('pending')) === 0
    })
    await sleep(LIMITS.writeLease + 500)
    return ended.filter((violation) => violation !== undefined)
  }

  async #untilAll(holds: (place: Place) => Promise<boolean>): Promise<void> {
    const deadline = performance.now() + SETTLE_MS
    for (const place of this.#places) {
      while (!(await holds(place))) {
        if (performance.now() > deadline)
          throw new Error(
            `Process ${place.member.pid} does not find back to Redis: ${await place.member.call('redisState')}, ${await place.member.call('pending')} invalidations pending`
          )
        await sleep(50)
      }
    }
  }

  async #look(): Promise<{ process: number; id: string; version: number }[]> {
    const found: { process: number; id: string; version: number }[] = []
    for (const { member } of this.#places) {
      for (const name of COLLECTIONS) {
        for (let id = 1; id <= ROWS; id++) {
          const row = await member.call('look', name, id)
          found.push({ process: member.pid, id: `${name}:${id}`, version: row?.version ?? 0 })
        }
      }
    }
    return found
  }

  async #rows(): Promise<Commit[]> {
    return this.#select('SELECT id, version, by FROM rows')
  }

  async #commits(): Promise<Commit[]> {
    return this.#select('SELECT id, version, by FROM changes')
  }

  async #select(query: string): Promise<Commit[]> {
    const { rows } = await this.#database.query<{ id: string; version: string; by: string }>(query)
    return rows.map(({ id, version, by }) => ({ id, version: Number(version), by }))
  }
}

function signalAll(pids: readonly number[], signal: 'SIGSTOP' | 'SIGCONT'): void {
  for (const pid of pids) {
    try {
      process.kill(pid, signal)
    } catch (error) {
      // A connection of PostgreSQL that has ended meanwhile.
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
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
