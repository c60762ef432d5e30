import { LRUCache } from 'lru-cache'
import type { Clock } from '../clock.js'
import type { Stamp, ValueEntry } from '../entry.js'
import { generationKeys, tagKey, tagPrefix } from '../keys/key-schema.js'
import type { TenantId } from '../ports.js'
import { COPY_MS, CounterCopies } from './counter-copies.js'
import type { Counters } from './counters.js'
import {
  CURRENT,
  Scope,
  standingOf,
  stampWith,
  type Capture,
  type Cell,
  type Standing
} from './generation.js'

/** Of a tag's copy when something is stored under it: one that is older costs a useless fill at worst. */
const TAG_COPY_MS = 5_000
/** Tags are as many as the user's data has; their counters are kept for this long after the last entry under them. */
const TAG_KEPT_MS = 24 * 3_600_000
/** Keys whose tags are known before they are read. */
const MOST_TAGGED_KEYS = 20_000

const NO_CELLS: readonly Cell[] = []

/** The generations of now, as this process knows them, and what stands under them. */
export class Generations {
  readonly counters: Counters
  readonly #clock: Clock
  readonly #copyMs: number
  readonly #copies: CounterCopies
  /** The tags of entries read lately, so that their counters are asked for together with the entry. */
  readonly #tagsOf = new LRUCache<string, KnownTags>({
    // Not `max`, which takes the memory for so many at once: most caches have few.
    maxSize: MOST_TAGGED_KEYS,
    sizeCalculation: () => 1
  })

  /** Of the many of one read most stand as the one before. */
  #lastCurrent: { readonly scope: Scope; readonly askedAtMs: number; readonly value: ValueEntry } | undefined

  /**
   * @param copyMs 0 where the counters are in this process and cost nothing to ask
   * @param position where the news of changes stand, when every answer may be kept
   */
  constructor(
    counters: Counters,
    clock: Clock,
    copyMs: number = COPY_MS,
    position: () => number | undefined = unkept
  ) {
    this.counters = counters
    this.#clock = clock
    this.#copyMs = copyMs
    this.#copies = new CounterCopies(counters, clock, copyMs, position)
  }

  scope(namespace: string, collection: string, tenant: TenantId | undefined, hasTags: boolean): Scope {
    const cells = generationKeys(namespace, collection, tenant).map((key) => this.cell(key))
    const prefix = tagPrefix(namespace, tenant)
    return new Scope(cells, hasTags ? this.cell(prefix) : undefined, prefix)
  }

  /** The one copy of a counter in this process. */
  cell(key: string, keptMs = 0): Cell {
    return this.#copies.cell(key, keptMs)
  }

  tagCell(prefix: string, part: string): Cell {
    return this.cell(tagKey(prefix, part), TAG_KEPT_MS)
  }

  /** What has to be asked for together with an entry, by now; without `scope` only for its tags. */
  addDue(due: Cell[], key: string, scope: Scope | undefined, nowMs: number): void {
    if (scope !== undefined) this.#copies.addDue(due, scope.asked, nowMs)
    const tags = this.#tagsOf.size === 0 ? undefined : this.#tagsOf.get(key)
    if (tags !== undefined) this.#copies.addDue(due, tags.cells, nowMs)
  }

  /** Undefined when copies are too old to tell; then the entry has to be read again, with `cellsOf` it. */
  standing(value: ValueEntry, key: string, scope: Scope, askedAtMs: number): Standing | undefined {
    const last = this.#lastCurrent
    const isLikeLast =
      scope === last?.scope &&
      askedAtMs === last.askedAtMs &&
      value.hardLow === last.value.hardLow &&
      value.hardHigh === last.value.hardHigh &&
      value.soft === last.value.soft &&
      value.tags.length === 0
    if (isLikeLast) return CURRENT
    const standing = this.#standing(value, key, scope, askedAtMs)
    if (standing === CURRENT && value.tags.length === 0) this.#lastCurrent = { scope, askedAtMs, value }
    return standing
  }

  #standing(value: ValueEntry, key: string, scope: Scope, askedAtMs: number): Standing | undefined {
    const tagCells = this.#tagCellsOf(value, key, scope)
    const oldest = Math.min(oldestOf(scope.cells), oldestOf(tagCells))
    if (oldest < askedAtMs - this.#copyMs) return undefined
    const standing = standingOf(value, scope, tagCells)
    // The entry may be newer than a copy, and only look outdated by it.
    return standing.is === 'current' || oldest >= askedAtMs ? standing : undefined
  }

  /** What a value may be kept under; undefined when it is not current any more, as far as is known here. */
  cellsOver(value: ValueEntry, key: string, scope: Scope): readonly Cell[] | undefined {
    const tagCells = this.#tagCellsOf(value, key, scope)
    if (scope.isUndelivered || standingOf(value, scope, tagCells).is !== 'current') return undefined
    return tagCells.length === 0 ? scope.cells : [...scope.cells, ...tagCells]
  }

  /** The store says that something happened to what stands under `key`: a counter, perhaps. */
  changed(key: string): void {
    this.#copies.changed(key)
  }

  /** How a value stands by counters that are asked for now. */
  async standingNow(value: ValueEntry, key: string, scope: Scope): Promise<Standing> {
    await this.#copies.ask(this.cellsOf(value, key, scope))
    return standingOf(value, scope, this.#tagCellsOf(value, key, scope))
  }

  /** All counters that an entry stands under. */
  cellsOf(value: ValueEntry, key: string, scope: Scope): readonly Cell[] {
    return [...scope.asked, ...this.#tagCellsOf(value, key, scope)]
  }

  /** Where a load begins. Undefined while something was cleared that the store has not been told of. */
  async capture(scope: Scope): Promise<Capture | undefined> {
    if (scope.isUndelivered) return undefined
    await this.#copies.refresh(scope.asked)
    if (scope.capture() === undefined) await this.#copies.ensure(scope.asked.filter((cell) => !cell.isKnown))
    return scope.capture()
  }

  /** What is stored under which tags; undefined when a tag was invalidated since the capture, so that it must not be stored. */
  async stamp(
    capture: Capture,
    scope: Scope,
    tagParts: readonly string[],
    lifeMs: number
  ): Promise<Stamp | undefined> {
    if (tagParts.length === 0) return capture.print
    const cells = tagParts.map((part) => this.tagCell(scope.tagPrefix, part))
    await this.#prepareTags(cells, capture, scope, lifeMs)
    return stampWith(capture, cells, tagParts)
  }

  /** Whether nothing under which `stamp` was made has moved, by counters of now. */
  async isCurrent(stamp: Stamp, scope: Scope): Promise<boolean> {
    const tagCells = stamp.tags.map(({ tag }) => this.tagCell(scope.tagPrefix, tag))
    await this.#copies.refresh([...scope.cells, ...tagCells])
    return standingOf(stamp, scope, tagCells).is === 'current'
  }

  /**
   * Moves a counter; once it resolves nobody who starts to read is served what stood under it. Answers when it was moved,
   * in ms on the store's clock.
   */
  async move(key: string, how: 'hard' | 'soft'): Promise<number> {
    const { hard, soft } = await this.#copies.moved(key, how, undefined, 0)
    await this.untilCopiesAreOver(this.#clock.now())
    return Math.max(hard, soft) / 1000
  }

  async moveTags(prefix: string, parts: readonly string[], how: 'hard' | 'soft'): Promise<void> {
    const epoch = await this.moveEpoch(prefix)
    await Promise.all(parts.map((part) => this.#copies.moved(tagKey(prefix, part), how, epoch, TAG_KEPT_MS)))
    await this.untilCopiesAreOver(this.#clock.now())
  }

  /** Before any tag: a load that began before this stores nothing under a tag that is moved after it. */
  async moveEpoch(prefix: string): Promise<number> {
    return (await this.#copies.moved(prefix, 'hard', undefined, 0)).hard
  }

  /** Announces a writer under a tag, renews it, or takes it away with `guardMs` 0. False when it was lost. */
  async guardTag(key: string, epoch: number | undefined, token: string, guardMs: number): Promise<boolean> {
    const renewal = epoch === undefined
    const guard = { token, guardMs, renewal, leastUs: epoch, lifeMs: TAG_KEPT_MS }
    const askedAtMs = this.#clock.now()
    const text = await this.counters.guard(key, guard)
    if (text !== undefined) this.cell(key).apply(text, askedAtMs, this.#clock.now())
    return text !== undefined
  }

  /** Until no process believes a copy that was asked for before `movedAtMs`, on this process's clock. */
  untilCopiesAreOver(movedAtMs: number): Promise<void> {
    return this.#copies.untilOver(movedAtMs)
  }

  async #prepareTags(cells: readonly Cell[], capture: Capture, scope: Scope, lifeMs: number): Promise<void> {
    const epochCell = this.cell(scope.tagPrefix)
    const nowMs = this.#clock.now()
    // No tag was invalidated, nor were counters lost, since a copy was made in the same epoch.
    const old = cells.filter(
      (cell) =>
        cell.epoch !== capture.epoch || cell.askedAtMs < nowMs - TAG_COPY_MS || cell.guardedUntilMs > 0
    )
    if (old.length > 0) await this.#copies.ask([...old, epochCell])
    for (const cell of old) cell.epoch = epochCell.hard
    // A tag without a counter gets the present epoch. If a tag was moved since the load began it could be this one, and
    // then that is above what was captured: this load stores nothing, but the next finds the counter.
    const keptMs = Math.max(TAG_KEPT_MS, 2 * lifeMs)
    const toEnsure = cells.filter((cell) =>
      cell.isKnown
        ? cell.keptUntilMs < nowMs + lifeMs + TAG_KEPT_MS / 2 || cell.guardedUntilMs > 0
        : epochCell.isKnown
    )
    await this.#copies.ensure(toEnsure, epochCell.hard, keptMs)
    // Overlapping moves and dead writers leave a tag above the epoch, as does an epoch that was lost and made anew on a
    // clock that was set back. Nothing loaded under a lower epoch would be stored.
    const highest = Math.max(...cells.map(({ hard, soft }) => Math.max(hard, soft)))
    if (highest > epochCell.hard && epochCell.isKnown)
      await this.#copies.moved(epochCell.key, 'raise', highest, 0)
  }

  #tagCellsOf({ tags }: ValueEntry, key: string, scope: Scope): readonly Cell[] {
    if (tags.length === 0) return NO_CELLS
    const known = this.#tagsOf.get(key)
    const isSame =
      known?.parts.length === tags.length && tags.every(({ tag }, index) => known.parts[index] === tag)
    if (isSame) return known.cells
    const parts = tags.map(({ tag }) => tag)
    const cells = parts.map((part) => this.tagCell(scope.tagPrefix, part))
    this.#tagsOf.set(key, { parts, cells })
    return cells
  }
}

interface KnownTags {
  readonly parts: readonly string[]
  readonly cells: readonly Cell[]
}

const unkept = (): undefined => undefined

function oldestOf(cells: readonly Cell[]): number {
  let oldest = Number.POSITIVE_INFINITY
  for (const cell of cells) oldest = Math.min(oldest, cell.askedAtMs)
  return oldest
}
