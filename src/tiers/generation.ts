import { createHash } from 'node:crypto'
import { NO_TAGS, type Stamp, type TagStamp, type ValueEntry } from '../entry.js'

/*
 * Whatever can be cleared as a whole (a namespace, a collection, a tenant, a tag) has a counter in the store, and its
 * value is the generation of now. A value carries the generations that it was loaded under; when one of them has moved
 * since, the value is outdated. See docs/decisions/0009-generations.md.
 */

/** This process's copy of one counter. */
export class Cell {
  readonly key: string
  /** Microseconds of the store's clock; 0 while it is not known, or there is no such counter. */
  hard = 0
  soft = 0
  /** Writers are at work under it until then, ms on the store's clock; 0 when none is. */
  guardedUntilMs = 0
  /** When the question was sent that the copy is the answer to, on this process's clock. */
  askedAtMs = Number.NEGATIVE_INFINITY
  /** When the last question was sent, answered or not. */
  askingSinceMs = Number.NEGATIVE_INFINITY
  /** Until when the store keeps the counter, on this process's clock, by what this process told it. */
  keptUntilMs = Number.NEGATIVE_INFINITY
  /** Of a tag: where the counter of all tag invalidations stood when the copy was made. */
  epoch = 0
  /** Grows with every change of what is known of it, and with every sign that something happened to it. */
  version = 0
  /** Where the news of changes stood when it was last asked for in a way that makes the store tell of its changes. */
  position: number | undefined
  #undelivered = false
  #answeredAtMs = Number.NEGATIVE_INFINITY
  #text: string | null = null

  /** For how long the store keeps the counter after it was moved; 0 for ever. */
  readonly keptMs: number

  constructor(key: string, keptMs = 0) {
    this.key = key
    this.keptMs = keptMs
  }

  /** It was cleared while the store could not be told: nothing under it is to be believed. */
  get undelivered(): boolean {
    return this.#undelivered
  }

  set undelivered(is: boolean) {
    this.#undelivered = is
    this.version++
  }

  get isKnown(): boolean {
    return this.hard !== 0
  }

  /** The store says that it changed, or may have. Nothing is kept under what was known of it. */
  happened(): void {
    this.version++
  }

  /** Whatever is known is too old to be believed. */
  forget(): void {
    this.version++
    this.askedAtMs = Number.NEGATIVE_INFINITY
    this.askingSinceMs = Number.NEGATIVE_INFINITY
  }

  /**
   * An answer. Two questions that were under way at once may have been answered in either order, over different
   * connections or by a script; counters only grow, so the larger answer is the later one. "There is none" in the other
   * order would undo what was just made.
   */
  apply(text: string | null, askedAtMs: number, answeredAtMs: number, position?: number): void {
    if (position !== undefined) this.position = Math.max(this.position ?? 0, position)
    const wasUnderWay = askedAtMs < this.#answeredAtMs
    if (text === this.#text) {
      this.askedAtMs = Math.max(this.askedAtMs, askedAtMs)
      this.#answeredAtMs = answeredAtMs
      return
    }
    const { hard, soft, writers } = parseCounter(text)
    const isNoLater = hard <= this.hard && soft <= this.soft
    const isEarlier = isNoLater && (hard < this.hard || soft < this.soft)
    // The copy's age stays that of the answer it is from: it will be asked for again.
    if ((askedAtMs < this.askedAtMs && isNoLater) || (wasUnderWay && isEarlier)) return
    this.askedAtMs = askedAtMs
    this.#answeredAtMs = answeredAtMs
    this.#text = text
    this.version++
    this.hard = hard
    this.soft = soft
    this.guardedUntilMs = Math.max(
      0,
      ...Array.from(writers.matchAll(WRITER), ([, untilMs]) => Number(untilMs))
    )
  }
}

const COUNTER = /^(\d+):(\d+)((?::[0-9a-f]+@\d+)*)$/
const WRITER = /:[0-9a-f]+@(\d+)/g

/** A counter as the store writes it; zeros for one that is missing or damaged. */
export function parseCounter(text: string | null): { hard: number; soft: number; writers: string } {
  const [, hard, soft, writers] = (text === null ? null : COUNTER.exec(text)) ?? []
  return { hard: Number(hard ?? 0), soft: Number(soft ?? 0), writers: writers ?? '' }
}

/** What a scope's counters come to: one number to compare instead of four. */
interface Print extends Stamp {
  readonly softAtMs: number
}

/** What a load begins with; what it brings home is stored under this, or not at all. */
export interface Capture {
  readonly print: Stamp
  /** Where the counter of all tag invalidations stood; undefined where there are no tags. */
  readonly epoch: number | undefined
}

/** The counters that the entries of one collection and tenant stand under. */
export class Scope {
  readonly cells: readonly Cell[]
  /** With the one that every invalidation of a tag moves, where loads have tags. */
  readonly asked: readonly Cell[]
  /** First part of the keys of its tags' counters. */
  readonly tagPrefix: string
  readonly #epoch: Cell | undefined
  readonly #seen: number[] = []
  #print: Print | undefined

  constructor(cells: readonly Cell[], epoch: Cell | undefined, tagPrefix: string) {
    this.cells = cells
    this.#epoch = epoch
    this.asked = epoch === undefined ? cells : [...cells, epoch]
    this.tagPrefix = tagPrefix
  }

  get isUndelivered(): boolean {
    for (const cell of this.asked) if (cell.undelivered) return true
    return false
  }

  /** Undefined while a counter is missing. */
  print(): Print | undefined {
    if (this.#hasMoved()) this.#print = printOf(this.cells)
    return this.#print
  }

  capture(): Capture | undefined {
    const print = this.print()
    if (print === undefined || this.#epoch?.isKnown === false) return undefined
    return { print, epoch: this.#epoch?.hard }
  }

  #hasMoved(): boolean {
    const seen = this.#seen
    let moved = seen.length === 0
    for (let index = 0; index < this.cells.length; index++) {
      const { hard, soft } = this.cells[index]!
      if (seen[2 * index] === hard && seen[2 * index + 1] === soft) continue
      seen[2 * index] = hard
      seen[2 * index + 1] = soft
      moved = true
    }
    return moved
  }
}

function printOf(cells: readonly Cell[]): Print | undefined {
  let softAtMs = 0
  for (const cell of cells) {
    if (!cell.isKnown) return undefined
    softAtMs = Math.max(softAtMs, cell.soft / 1000)
  }
  const hard = digest(cells.map((cell) => cell.hard))
  return {
    hardHigh: hard.readUInt32BE(0),
    hardLow: hard.readUInt32BE(4),
    soft: digest(cells.map((cell) => cell.soft)).readUInt32BE(0),
    tags: NO_TAGS,
    softAtMs
  }
}

function digest(values: readonly number[]): Buffer {
  return createHash('sha1').update(values.join()).digest()
}

/** How a value stands to the generations of now. `stale`: since `staleSinceMs` on the store's clock. */
export type Standing =
  | { readonly is: 'current' }
  | { readonly is: 'outdated' }
  | { readonly is: 'stale'; readonly sinceMs: number }

export const CURRENT: Standing = { is: 'current' }
export const OUTDATED: Standing = { is: 'outdated' }

type Stamped = Pick<ValueEntry, 'hardHigh' | 'hardLow' | 'soft' | 'tags'>

/** @param tagCells those of the value's tags, in their order */
export function standingOf(value: Stamped, scope: Scope, tagCells: readonly Cell[]): Standing {
  const print = scope.print()
  if (print === undefined || value.hardHigh !== print.hardHigh || value.hardLow !== print.hardLow)
    return OUTDATED
  if (value.soft === print.soft && tagCells.length === 0) return CURRENT
  let sinceMs = value.soft === print.soft ? Number.POSITIVE_INFINITY : print.softAtMs
  for (let index = 0; index < tagCells.length; index++) {
    const [{ hard, soft }, cell] = [value.tags[index]!, tagCells[index]!]
    if (cell.hard !== hard || cell.undelivered || cell.guardedUntilMs !== 0) return OUTDATED
    if (cell.soft !== soft) sinceMs = Math.min(sinceMs, cell.soft / 1000)
  }
  return sinceMs === Number.POSITIVE_INFINITY ? CURRENT : { is: 'stale', sinceMs }
}

/**
 * The stamp for what a load brought home, by what is known of its tags; undefined when a tag was invalidated since the
 * load began, or is guarded, so that it must not be stored. Tags are known only after the load, so their own counters
 * could not be noted before it; but each carries the epoch in which it was last moved.
 */
export function stampWith(
  capture: Capture,
  tagCells: readonly Cell[],
  parts: readonly string[]
): Stamp | undefined {
  const tags: TagStamp[] = []
  for (const [index, { hard, soft, guardedUntilMs, undelivered }] of tagCells.entries()) {
    const isMoved = capture.epoch === undefined || hard === 0 || Math.max(hard, soft) > capture.epoch
    if (isMoved || undelivered || guardedUntilMs !== 0) return undefined
    tags.push({ tag: parts[index]!, hard, soft })
  }
  return { ...capture.print, tags }
}
