import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { startWorker, type WorkerProcess } from '../support/processes.js'
import { standStill } from '../support/standstill.js'
import type { LookedAt } from './behind-checker.js'
import {
  COUNTERS,
  counterOf,
  WRITERS,
  type BehindCommands,
  type BehindMemberOptions
} from './behind-member-options.js'
import type { Violation } from './checker.js'
import type { FaultLog } from './fault-log.js'

type Member = WorkerProcess<BehindCommands>

interface Place {
  readonly number: number
  readonly role: 'writer' | 'worker'
  readonly options: BehindMemberOptions
  member: Member
  generation: number
  isBusy: boolean
}

const WORKERS = 2
const PATIENCE_MS = 120_000
const START_MS = 120_000

/** The processes that write behind and those that work, and what is done to them. */
export class BehindFleet implements AsyncDisposable {
  readonly #folder: string
  readonly #log: FaultLog
  readonly #places: Place[] = []
  #files: string[] = []
  #round = 0

  /** @param optionsFor a process; asked for each place once */
  static async start(
    optionsFor: (place: number) => Promise<BehindMemberOptions>,
    folder: string,
    log: FaultLog
  ): Promise<BehindFleet> {
    const fleet = new BehindFleet(folder, log)
    for (let number = 0; number < WRITERS + WORKERS; number++) {
      const options = await optionsFor(number)
      const role = number < WRITERS ? 'writer' : 'worker'
      const member = await startMember(options, role)
      fleet.#places.push({ number, role, options, member, generation: 0, isBusy: false })
    }
    return fleet
  }

  private constructor(folder: string, log: FaultLog) {
    this.#folder = folder
    this.#log = log
  }

  /** Where the writers of this round note what they do. */
  get files(): readonly string[] {
    return this.#files
  }

  async begin(round: number): Promise<void> {
    this.#round = round
    this.#files = []
    for (const place of this.#places) {
      place.generation = 0
      if (place.role === 'writer') await this.#write(place)
    }
  }

  /** Kills, stops and drains processes, one after the other, until then; whoever is killed is replaced. */
  async strike(random: () => number, until: number): Promise<void> {
    const replaced: Promise<void>[] = []
    while (performance.now() < until) {
      await sleep(300 + 1_200 * random())
      const place = this.#places[Math.floor(random() * this.#places.length)]!
      const [draw, stoppedMs, comesBackMs] = [random(), 100 + 2_400 * random(), 500 * random()]
      if (place.isBusy || performance.now() > until) continue
      place.isBusy = true
      const isKilled = draw < 0.4 || draw > 0.95
      if (draw < 0.4) await this.#note(place, 'killed', async () => void (await place.member.kill('SIGKILL')))
      else if (draw < 0.6 && place.role === 'worker')
        await this.#note(place, 'drained', () => place.member.call('drain'))
      else await this.#stop(place, stoppedMs, isKilled)
      if (isKilled) replaced.push(this.#replace(place, comesBackMs, until))
      else place.isBusy = false
    }
    await Promise.all(replaced)
  }

  /** Ends what writers do, and flushes; whatever does not end in time is a violation. */
  async rest(): Promise<Violation[]> {
    const writers = this.#places.filter(({ role }) => role === 'writer')
    const ended = await Promise.all(writers.map(({ member }) => isOver(member.call('stop'))))
    if (ended.includes(false))
      return [{ what: `writes behind have not ended after ${PATIENCE_MS} ms`, history: [] }]
    const flushing = writers[0]!.member.call('flush')
    try {
      await flushing
      return []
    } catch (error) {
      return [{ what: `what was accepted is not flushed: ${String(error)}`, history: [] }]
    }
  }

  /** What each process reads now of the counters of this round and of these rows. */
  async look(rows: Iterable<string>): Promise<LookedAt[]> {
    const found: LookedAt[] = []
    const all: ['R' | 'C', string][] = Array.from({ length: COUNTERS }, (_, index) => [
      'C',
      String(counterOf(this.#round, index))
    ])
    for (const row of rows) all.push(['R', row])
    for (const { member } of this.#places) {
      for (const [kind, id] of all)
        found.push({ kind, id, process: member.pid, value: await member.call('look', kind, id) })
    }
    return found
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#places.map(({ member }) => member.kill()))
  }

  #note(place: Place, what: string, strike: () => Promise<void>): Promise<void> {
    const name = place.role === 'writer' ? 'process that writes behind' : 'worker'
    return this.#log.note(`${name} ${place.member.pid} ${what}`, false, strike)
  }

  #stop(place: Place, ms: number, forEver: boolean): Promise<void> {
    const { member } = place
    return this.#note(place, 'stopped', async () => {
      const standstill = await standStill([member.pid])
      await sleep(ms)
      if (forEver) await member.kill('SIGKILL')
      await standstill.goOn()
    })
  }

  async #replace(place: Place, afterMs: number, until: number): Promise<void> {
    await sleep(afterMs)
    place.member = await startMember(place.options, place.role)
    place.generation++
    if (place.role === 'writer' && performance.now() < until) await this.#write(place)
    place.isBusy = false
  }

  async #write({ member, number, generation }: Place): Promise<void> {
    const file = join(this.#folder, `behind-${this.#round}-${number}-${generation}.log`)
    this.#files.push(file)
    await member.call('write', { file, round: this.#round, place: number, generation })
  }
}

async function startMember(options: BehindMemberOptions, role: Place['role']): Promise<Member> {
  const member = await startWorker<BehindCommands>(new URL('./behind-member.ts', import.meta.url), {
    startTimeoutMs: START_MS
  })
  await member.call('open', options)
  if (role === 'worker') await member.call('work')
  return member
}

async function isOver(work: Promise<unknown>): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<false>((resolve) => {
    timer = setTimeout(resolve, PATIENCE_MS, false)
  })
  return Promise.race([work.then(() => true), late]).finally(() => clearTimeout(timer))
}
