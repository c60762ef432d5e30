import type { SinkOperation } from '../../src/sink.js'
import { CounterLedger, type Place } from './counter-ledger.js'
import type { Shown } from './model-entries.js'
import type { World } from './world.js'

/** The key of the counter; all others are rows, which are put and deleted. */
export const COUNTER = 'n' as const

/** An operation of the plan. Its number is its value, so that wherever it turns up it is known. */
export interface Made {
  readonly number: number
  readonly kind: 'put' | 'delete' | 'increment' | 'append'
  /** Of an event: none. */
  readonly key: string
}

interface KeyStory {
  /** In the order in which they were accepted. */
  readonly accepted: Made[]
  /** How many of them the table has behind it. */
  applied: number
  /** Redis has lost something of it that it had accepted: until the next one is accepted, readers may see less. */
  isLost: boolean
}

/**
 * What was accepted, in its order, and what the table came to. It knows nothing of batches, marks, epochs and holds: each
 * accepted operation takes effect once, those of a key in their order, and whoever looks sees the last accepted one.
 */
export class BehindLedger {
  readonly counter: CounterLedger
  readonly #world: World
  readonly #keys = new Map<string, KeyStory>()
  readonly #made = new Map<number, Made>()
  readonly #lost = new Set<number>()
  readonly #events = new Map<number, number>()

  constructor(world: World) {
    this.#world = world
    this.counter = new CounterLedger(world)
  }

  /** Redis has taken them, as one where they are several; the same ones again when it had lost them. */
  accepted(together: readonly Made[]): void {
    for (const made of together) this.#accept(made)
    const changes = together
      .filter(({ key }) => key === COUNTER)
      .map(({ number }) => this.counter.of(number)!)
    this.counter.accepted(changes)
  }

  #accept(made: Made): void {
    const { number, key, kind } = made
    if (this.#made.has(number) && !this.#lost.has(number))
      this.#world.violated('B1', `operation ${number} is accepted a second time`)
    this.#made.set(number, made)
    this.#lost.delete(number)
    if (kind === 'append' || key === COUNTER) return
    const story = this.#story(key)
    // What the table has had already takes no second effect, whatever readers are shown until then.
    const isApplied = story.accepted.some((one) => one.number === number)
    story.isLost = isApplied
    if (!isApplied) story.accepted.push(made)
  }

  /** Redis goes on without what it has accepted since, as a replica that had not heard of it. */
  lost(numbers: readonly number[]): void {
    for (const number of numbers) {
      this.#lost.add(number)
      const { kind, key } = this.#made.get(number)!
      if (key === COUNTER) this.counter.lost(number)
      if (kind === 'append' || key === COUNTER) continue
      const story = this.#story(key)
      story.isLost = true
      const at = story.accepted.findIndex((one) => one.number === number)
      if (at >= story.applied) story.accepted.splice(at, 1)
    }
  }

  /** A transaction commits. */
  committed(operations: readonly SinkOperation[], row: (key: string) => Shown): void {
    for (const operation of operations) {
      if (operation.kind === 'append') this.#event(operation.value as number)
      else if (operation.id === COUNTER) this.counter.committed(operation, row(COUNTER))
      else if (operation.kind === 'put') this.#put(operation.id as string, operation.value as number)
      else if (operation.kind === 'delete') this.#delete(operation.id as string)
    }
  }

  #event(number: number): void {
    const times = (this.#events.get(number) ?? 0) + 1
    this.#events.set(number, times)
    if (!this.#made.has(number)) this.#world.violated('B1', `event ${number} comes from nowhere`)
    if (times > 1) this.#world.violated('B1', `event ${number} is applied ${times} times`)
  }

  #put(key: string, number: number): void {
    const story = this.#story(key)
    const at = story.accepted.findIndex((one) => one.number === number)
    if (at >= story.applied) story.applied = at + 1
    else if (at >= 0) this.#world.violated('B1', `${key} = ${number} is applied again, or after a later one`)
    else if (this.#lost.has(number)) this.#appliedAlthoughLost(story, this.#made.get(number)!)
    else this.#world.violated('B1', `${key} = ${number} comes from nowhere`)
  }

  #delete(key: string): void {
    const story = this.#story(key)
    // All deletions look the same: the first that may be meant.
    const at = story.accepted.findIndex((one, index) => index >= story.applied && one.kind === 'delete')
    const lost = [...this.#lost].map((number) => this.#made.get(number)!)
    const lostOne = lost.find(
      (one) => one.key === key && one.kind === 'delete' && !story.accepted.includes(one)
    )
    if (at >= 0) story.applied = at + 1
    else if (lostOne !== undefined) this.#appliedAlthoughLost(story, lostOne)
    else this.#world.violated('B1', `${key} is deleted again, or after a later operation`)
  }

  /** A worker had read it before Redis lost it. */
  #appliedAlthoughLost(story: KeyStory, made: Made): void {
    story.accepted.splice(story.applied, 0, made)
    story.applied++
    story.isLost = true
  }

  /** What anybody who reads at this moment gets: the entry, or the table where nothing hints at what waits. */
  seen(key: string, shown: Shown, from: Place): void {
    if (key === COUNTER) return this.counter.seen(shown, from)
    const story = this.#story(key)
    if (story.isLost) return
    const last = story.accepted.at(-1)
    const expected: Shown = last === undefined || last.kind === 'delete' ? 'nothing' : last.number
    if (shown !== expected)
      this.#world.violated('B2', `${key} reads ${shown} from ${from}, and the last accepted is ${expected}`)
  }

  /** What the caller was told. */
  told(number: number, outcome: 'accepted' | 'refused' | 'unknown'): void {
    this.#world.count(`told ${outcome}`)
    if (outcome === 'accepted' && !this.#made.has(number))
      this.#world.violated('B1', `operation ${number} was called accepted, and Redis never took it`)
    if (outcome === 'refused' && this.#made.has(number))
      this.#world.violated('B1', `operation ${number} was called refused, and Redis had taken it`)
  }

  /** Everything is flushed: each row is what the last accepted operation made of it, and each event is there. */
  atRest(row: (key: string) => Shown): void {
    for (const key of this.#keys.keys()) this.seen(key, row(key), 'the table')
    this.counter.atRest(row(COUNTER))
    for (const [number, { kind }] of this.#made) {
      this.#world.count(this.#lost.has(number) ? 'lost by Redis' : 'accepted')
      if (kind === 'append' && !this.#lost.has(number) && !this.#events.has(number))
        this.#world.violated('B1', `event ${number} was accepted, and is lost`)
    }
  }

  #story(key: string): KeyStory {
    let story = this.#keys.get(key)
    if (story === undefined) {
      story = { accepted: [], applied: 0, isLost: false }
      this.#keys.set(key, story)
    }
    return story
  }
}
