import type { Scheduler } from 'fast-check'
import type { Clock } from '../../src/clock.js'
import { microtasksDone, VirtualTime, type Owner } from './virtual-time.js'

/** More steps than any plan needs: beyond it something goes round in a circle. */
const MOST_STEPS = 6_000
/** What a turn of the event loop takes at least. */
const TURN_MS = 0.05
const SHOWN_STEPS = 16
const READY = Promise.resolve()

/** Something that must not happen has happened: the invariant, and what was seen. */
export interface Violation {
  readonly invariant: string
  readonly what: string
}

/** A process of the modelled fleet, as the world sees it. It can be stopped and goes on, or dies and does not. */
export class Process implements Owner {
  readonly name: string
  isDead = false
  #resume: (() => void) | undefined
  #resumed: Promise<void> | undefined

  constructor(name: string) {
    this.name = name
  }

  get isStopped(): boolean {
    return this.#resumed !== undefined
  }

  get resumed(): Promise<void> {
    return this.#resumed ?? READY
  }

  stop(): void {
    this.#resumed ??= new Promise((resolve) => {
      this.#resume = resolve
    })
  }

  goOn(): void {
    this.#resumed = undefined
    this.#resume?.()
  }
}

/**
 * Where everything happens one step at a time. Whatever in reality happens at a moment of its own is a step: a
 * command that Redis runs, a reply that a process reads, a query, a commit, a push, a signal. fast-check's scheduler
 * chooses which step is next, so every order that reality could produce can come up, and the same seed brings
 * the same order again. Time passes only between steps.
 */
export class World {
  readonly violations: Violation[] = []
  readonly trace: string[] = []
  /** How often each thing came about, to show that the runs meet what they are meant to meet. */
  readonly counts: Record<string, number> = {}
  readonly time: VirtualTime
  readonly clock: Clock
  readonly #scheduler: Scheduler
  readonly #random: () => number
  readonly #names = new Map<string, string>()
  #current: Process | undefined
  #last: readonly string[] = []
  #steps = 0

  constructor(scheduler: Scheduler, seed: number) {
    this.#scheduler = scheduler
    this.#random = mulberry32(seed)
    this.time = new VirtualTime(
      () => this.#current,
      (owner, callback) => void this.#turn(owner as Process | undefined).then(callback)
    )
    this.clock = { now: () => this.time.nowMs, random: this.#random }
  }

  get steps(): number {
    return this.#steps
  }

  random(): number {
    return this.#random()
  }

  count(what: string): void {
    this.counts[what] = (this.counts[what] ?? 0) + 1
  }

  /** Tokens are random; by the order in which they come up, the same run tells the same story. */
  nameOf(token: Uint8Array): string {
    const bytes = Buffer.from(token).toString('hex')
    const name = this.#names.get(bytes) ?? `t${this.#names.size + 1}`
    this.#names.set(bytes, name)
    return name
  }

  note(what: string): void {
    this.trace.push(`${(this.time.nowMs - 1_000_000).toFixed(0).padStart(6)} ms  ${what}`)
  }

  violated(invariant: string, what: string): void {
    this.violations.push({ invariant, what })
    this.note(`VIOLATION of ${invariant}: ${what}`)
  }

  /**
   * Resolves in its turn. For a process that is dead by then, never; for one that stands still, once it goes on and its
   * turn has come again.
   */
  async step(owner: Process | undefined, label: string): Promise<void> {
    for (;;) {
      await this.#scheduler.schedule(READY, label)
      this.#current = owner
      this.#last = [...this.#last.slice(1 - SHOWN_STEPS), label]
      if (owner === undefined) return
      if (owner.isDead) return new Promise(() => undefined)
      if (!owner.isStopped) return
      await owner.resumed
    }
  }

  /** Whoever waits for time to pass, turn by turn, does not wait for ever. */
  async #turn(owner: Process | undefined): Promise<void> {
    await this.step(owner, 'next turn')
    this.time.pass(TURN_MS)
  }

  /** Runs code of a process outside of any step, such as building it. */
  as<T>(owner: Process, work: () => T): T {
    this.#current = owner
    return work()
  }

  sleep(owner: Process | undefined, ms: number): Promise<void> {
    const before = this.#current
    this.#current = owner
    const slept = new Promise<void>((resolve) => setTimeout(resolve, ms))
    this.#current = before
    return slept
  }

  /**
   * Takes steps until `isDone`.
   *
   * @param pace how likely time passes while a step could be taken instead
   */
  async run(isDone: () => boolean, pace: number): Promise<void> {
    await microtasksDone()
    while (!isDone() && this.violations.length === 0) {
      const canPass = this.time.hasTimers
      const canStep = this.#scheduler.count() > 0
      if (!canPass && !canStep) return
      if (++this.#steps > MOST_STEPS) {
        this.violated('I6', `no rest after ${MOST_STEPS} steps; the last were ${this.#last.join('; ')}`)
        return
      }
      if (canStep && !(canPass && this.#random() < pace)) await this.#scheduler.waitOne()
      else
        this.time.fireNext((owner, callback) => {
          this.#current = owner as Process | undefined
          callback()
        })
      await microtasksDone()
    }
  }
}

/** A small generator of numbers in [0, 1): the same seed, the same numbers. */
export function mulberry32(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}
