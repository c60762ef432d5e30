import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { startWorker, type WorkerProcess } from '../support/processes.js'
import { standStill } from '../support/standstill.js'
import type { Found, Violation } from './checker.js'
import type { FaultLog } from './fault-log.js'
import { nowUs } from './history.js'
import {
  COLLECTIONS,
  ROWS,
  type MemberCommands,
  type MemberOptions,
  type RedisAddress
} from './member-options.js'

type Member = WorkerProcess<MemberCommands>

/** What all members have in common. */
type CommonOptions = Omit<MemberOptions, 'redis' | 'memoryTtlMs'>

interface Place {
  readonly address: RedisAddress
  readonly memoryTtlMs: number
  member: Member
  /** Stopped by a fault, or being replaced: other faults leave it alone. */
  isBusy: boolean
}

/** Longer than any deadline of a member: what is under way by then never ends. */
const PATIENCE_MS = 120_000
const SETTLE_MS = 120_000
/** A machine that starts many servers and processes has little time for each. */
const START_MS = 120_000

/** The processes of the lab, and what is done to them. */
export class Fleet implements AsyncDisposable {
  readonly #options: CommonOptions
  readonly #folder: string
  readonly #log: FaultLog
  readonly #places: Place[] = []
  #files: string[] = []
  #deaths = new Map<number, number>()
  #started = 0

  /** @param folder for what they note */
  constructor(options: CommonOptions, folder: string, log: FaultLog) {
    this.#options = options
    this.#folder = folder
    this.#log = log
  }

  get files(): readonly string[] {
    return this.#files
  }

  get deaths(): ReadonlyMap<number, number> {
    return this.#deaths
  }

  async add(address: RedisAddress, memoryTtlMs: number): Promise<void> {
    const member = await this.#startMember({ address, memoryTtlMs })
    this.#places.push({ address, memoryTtlMs, member, isBusy: false })
  }

  async start(): Promise<void> {
    this.#files = []
    this.#deaths = new Map()
    await Promise.all(this.#places.map(({ member }) => member.call('start', this.#newFile())))
  }

  /** Kills and stops processes, one after the other, until then; whoever is killed is replaced. */
  async strike(random: () => number, until: number): Promise<void> {
    const replaced: Promise<void>[] = []
    while (performance.now() < until) {
      await sleep(300 + 1_200 * random())
      const place = this.#places[Math.floor(random() * this.#places.length)]!
      const [draw, stoppedMs, comesBackMs] = [random(), 100 + 2_400 * random(), 500 * random()]
      if (place.isBusy || performance.now() > until) continue
      place.isBusy = true
      if (draw < 0.45)
        await this.#log.note(`process ${place.member.pid} killed`, false, () => this.#kill(place))
      // Some never go on.
      else await this.#stop(place, stoppedMs, draw > 0.9)
      if (draw < 0.45 || draw > 0.9) replaced.push(this.#replace(place, comesBackMs, until))
      else place.isBusy = false
    }
    await Promise.all(replaced)
  }

  /** Waits for what is under way; whatever does not end in time is a violation. */
  async rest(): Promise<Violation[]> {
    const ended = await Promise.all(
      this.#places.map(async ({ member }): Promise<Violation | undefined> => {
        const isOver = await Promise.race([member.call('stop').then(() => true), sleep(PATIENCE_MS, false)])
        if (isOver) return undefined
        const history = await member.call('underWay')
        const what = `${history.length} calls of process ${member.pid} have not ended after ${PATIENCE_MS} ms`
        return { what, history }
      })
    )
    const settled: (Violation | undefined)[] = []
    for (const { member } of this.#places) settled.push(await this.#settled(member))
    return [...ended, ...settled].filter((violation) => violation !== undefined)
  }

  /** What each process reads now. */
  async look(): Promise<Found[]> {
    const found: Found[] = []
    for (const { member } of this.#places) {
      for (const name of COLLECTIONS) {
        for (let id = 1; id <= ROWS; id++) {
          const row = await member.call('look', name, id)
          found.push({ process: member.pid, id: `${name}:${id}`, version: row?.version ?? 0, at: nowUs() })
        }
      }
    }
    return found
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#places.map(({ member }) => member.kill()))
  }

  async #startMember({ address, memoryTtlMs }: Pick<Place, 'address' | 'memoryTtlMs'>): Promise<Member> {
    const member = await startWorker<MemberCommands>(new URL('./member.ts', import.meta.url), {
      startTimeoutMs: START_MS
    })
    await member.call('open', { ...this.#options, redis: address, memoryTtlMs })
    return member
  }

  #newFile(): string {
    const file = join(this.#folder, `${this.#started++}.jsonl`)
    this.#files.push(file)
    return file
  }

  #stop(place: Place, ms: number, forEver: boolean): Promise<void> {
    const { member } = place
    return this.#log.note(`process ${member.pid} stopped`, true, async () => {
      const standstill = await standStill([member.pid])
      await sleep(ms)
      if (forEver) await this.#kill(place)
      await standstill.goOn()
    })
  }

  async #kill({ member }: Place): Promise<void> {
    this.#deaths.set(member.pid, nowUs())
    await member.kill('SIGKILL')
  }

  async #replace(place: Place, afterMs: number, until: number): Promise<void> {
    await sleep(afterMs)
    place.member = await this.#startMember(place)
    if (performance.now() < until) await place.member.call('start', this.#newFile())
    place.isBusy = false
  }

  async #settled(member: Member): Promise<Violation | undefined> {
    const deadline = performance.now() + SETTLE_MS
    for (;;) {
      const [state, pending] = [await member.call('redisState'), await member.call('pending')]
      if (state === 'ready' && pending === 0) return undefined
      if (performance.now() > deadline) {
        const what = `process ${member.pid} has not found back to Redis after ${SETTLE_MS} ms`
        return { what, history: [`Redis is ${state} to it, and ${pending} invalidations are pending`] }
      }
      await sleep(50)
    }
  }
}
