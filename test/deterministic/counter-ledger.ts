import type { SinkOperation } from '../../src/sink.js'
import type { Shown } from './model-entries.js'
import type { World } from './world.js'

/**
 * A change of the counter. Each has a power of two of its own, which an increment adds and a put sets: so a sum tells which
 * of them are in it, and one that is in it twice shows as another sum.
 */
export interface CounterChange {
  readonly number: number
  readonly kind: 'put' | 'delete' | 'increment'
  readonly bit: number
  /** The table never takes it. */
  readonly isPoison: boolean
}

/** Where a reader finds it. */
export type Place = 'the table' | 'a settled entry' | 'an unflushed entry'

interface Accepted {
  readonly change: CounterChange
  /** Which changes came as one with it, itself among them. */
  readonly together: readonly CounterChange[]
  /** The table never takes one of them, so they are put aside: only an entry that waits may show them. */
  readonly isPoison: boolean
  /** Redis has lost it: it may be there or not. */
  isLost: boolean
  /** Its batch came again, and was known: its caller is told what the counter is by then. */
  cameAgain: boolean
}

/** A way that it can have gone: what the counter shows, and the bits of those that have had their effect. */
interface Way {
  readonly shows: Shown
  readonly done: number
}

/** The story of one counter: what was accepted of it, in order, and what anybody who looks may find. */
export class CounterLedger {
  readonly #world: World
  readonly #planned: CounterChange[] = []
  readonly #accepted: Accepted[] = []
  /** What the callers of increments that came as one were told. */
  readonly #results = new Map<readonly CounterChange[], Set<number>>()
  /** How often the table was given each change, by bit. */
  readonly #given = new Map<number, number>()
  /** So many of the accepted the table has behind it, at least. */
  #applied = 0

  constructor(world: World) {
    this.#world = world
  }

  /** @param poison which increments the table will not take, by the order in which the changes are made */
  plan(number: number, kind: CounterChange['kind'], poison: readonly number[]): CounterChange {
    const isPoison = kind === 'increment' && poison.includes(this.#planned.length)
    const change = { number, kind, bit: 2 ** this.#planned.length, isPoison }
    this.#planned.push(change)
    return change
  }

  /** The changes in a sum of increments. */
  changesIn(sum: number): CounterChange[] {
    return this.#planned.filter(({ bit, kind }) => kind === 'increment' && (sum & bit) !== 0)
  }

  hasPoison(sum: number): boolean {
    return this.changesIn(sum).some(({ isPoison }) => isPoison)
  }

  of(number: number): CounterChange | undefined {
    return this.#planned.find((change) => change.number === number)
  }

  accepted(together: readonly CounterChange[]): void {
    const isPoison = together.some((one) => one.isPoison)
    for (const change of together)
      this.#accepted.push({ change, together, isPoison, isLost: false, cameAgain: false })
  }

  cameAgain(changes: readonly CounterChange[]): void {
    for (const one of this.#accepted) if (changes.includes(one.change)) one.cameAgain = true
  }

  lost(number: number): void {
    for (const one of this.#accepted) if (one.change.number === number) one.isLost = true
  }

  /** A transaction commits, and leaves the row so. */
  committed(operation: Exclude<SinkOperation, { kind: 'append' }>, row: Shown): void {
    let sum = 0
    if (operation.kind === 'increment') sum = operation.by
    else if (operation.kind === 'put') sum = operation.value as number
    for (const { bit, number } of this.#planned) {
      if ((sum & bit) === 0) continue
      sum -= bit
      const times = (this.#given.get(bit) ?? 0) + 1
      this.#given.set(bit, times)
      if (times > 1) this.#world.violated('B1', `change ${number} of the counter is applied ${times} times`)
      if (!this.#accepted.some(({ change }) => change.bit === bit))
        this.#world.violated('B1', `change ${number} of the counter comes from nowhere`)
    }
    if (sum !== 0) this.#world.violated('B1', `the counter is given ${sum} that nobody asked for`)
    this.#follow(row)
  }

  /** The table is always what the first of the accepted ones come to, and never goes back. */
  #follow(row: Shown): void {
    for (let applied = this.#applied; applied <= this.#accepted.length; applied++) {
      if (!this.#can(row, this.#accepted.slice(0, applied), false)) continue
      this.#applied = applied
      return
    }
    this.#world.violated('B2', `the table has ${told(row)}, which no first ones of ${this.#told()} come to`)
  }

  /** What anybody who reads at this moment gets. */
  seen(shows: Shown, from: Place): void {
    if (this.#can(shows, this.#accepted, from === 'an unflushed entry')) return
    this.#world.violated('B2', `the counter reads ${told(shows)} from ${from}, after ${this.#told()}`)
  }

  /** The caller of an increment was told what the counter came to. */
  answered({ number, bit }: CounterChange, result: number): void {
    const at = this.#accepted.findIndex(({ change }) => change.number === number)
    // What a Redis that lost something tells is as much as it has; and what is put aside goes out of the sum at some time.
    if (at === -1 || this.#accepted.some(({ isLost, isPoison }) => isLost || isPoison)) return
    const { together, cameAgain } = this.#accepted[at]!
    const first = this.#accepted.findIndex((one) => one.together === together)
    const [before] = waysOf(this.#accepted.slice(0, first), false)
    const least = (before!.shows === 'nothing' ? 0 : before!.shows) + bit
    const others = together.reduce((sum, change) => sum + change.bit, 0) - bit
    this.#world.count(cameAgain ? 'counted, told later' : 'counted')
    // In the meantime it may have been set to something else, or be away.
    const isSetSince = this.#accepted.slice(at).some(({ change }) => change.kind !== 'increment')
    if (cameAgain && (Number.isNaN(result) || isSetSince)) return
    const isIncluded = (result & least) === least
    const rest = result - least
    const isExact = cameAgain || (rest >= 0 && (rest & ~others) === 0)
    const results = this.#results.get(together) ?? new Set()
    this.#results.set(together, results)
    if (results.has(result)) this.#world.violated('B2', `two increments came to ${told(result)} at once`)
    results.add(result)
    if (!isIncluded || !isExact)
      this.#world.violated(
        'B2',
        `increment ${number} came to ${told(result)}, and it was at least ${told(least)}`
      )
  }

  atRest(row: Shown): void {
    if (!this.#can(row, this.#accepted, false))
      this.#world.violated('B1', `at rest the table has ${told(row)}, after ${this.#told()}`)
  }

  #can(shows: Shown, accepted: readonly Accepted[], isEntry: boolean): boolean {
    return waysOf(accepted, isEntry).some((way) => way.shows === shows)
  }

  #told(): string {
    const all = this.#accepted.map(({ change, isLost }) => {
      const { kind, bit, number } = change
      return `${kind}${kind === 'delete' ? '' : ` ${bit}`} (${number}${isLost ? ', lost' : ''})`
    })
    return all.length === 0 ? 'nothing' : all.join(', ')
  }
}

/**
 * All ways in which these can have had their effect. One that was lost may have had none. One that was accepted again after
 * that has had its effect by then, and has it once; only an entry, until it is settled, may show it twice: it was lost,
 * and an increment stood on what the table had of it.
 */
function waysOf(accepted: readonly Accepted[], isEntry: boolean): Way[] {
  let ways: Way[] = [{ shows: 'nothing', done: 0 }]
  for (const { change, isLost, isPoison } of accepted) {
    ways = ways.flatMap((way) => {
      const isDone = (way.done & change.bit) !== 0
      const after = { shows: changed(way.shows, change), done: way.done | change.bit }
      if (isPoison) return isEntry ? [way, after] : [way]
      if (isDone) return isEntry ? [way, after] : [way]
      return isLost ? [way, after] : [after]
    })
  }
  return ways
}

function changed(shows: Shown, { kind, bit }: CounterChange): Shown {
  if (kind === 'delete') return 'nothing'
  return kind === 'put' ? bit : (shows === 'nothing' ? 0 : shows) + bit
}

const told = (shows: Shown): string => (shows === 'nothing' ? 'nothing' : String(shows))
