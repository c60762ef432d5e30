import type { Clock } from '../clock.js'
import { RedisUnavailableError } from '../errors.js'
import type { Counters } from './counters.js'
import { Cell, parseCounter } from './generation.js'

/**
 * For how long a copy of a counter is believed. Clearing waits a little longer before it returns, so whoever starts to
 * read after that asks for the counter, or has a copy from after it was moved.
 */
export const COPY_MS = 2
const CLEARED_AFTER_MS = COPY_MS + 0.5

/** What this process knows of the counters in the store: one copy of each, and how it is brought up to date. */
export class CounterCopies {
  readonly counters: Counters
  readonly #clock: Clock
  readonly #copyMs: number
  readonly #position: () => number | undefined
  readonly #cells = new Map<string, WeakRef<Cell>>()
  readonly #dropped = new FinalizationRegistry<string>((key) => {
    if (this.#cells.get(key)?.deref() === undefined) this.#cells.delete(key)
  })
  #question: Question | undefined
  readonly #ensuring = new Map<Cell, Promise<void>>()

  /**
   * @param copyMs 0 where the counters are in this process and cost nothing to ask
   * @param position where the news of changes stand, when every answer may be kept
   */
  constructor(counters: Counters, clock: Clock, copyMs: number, position: () => number | undefined) {
    this.counters = counters
    this.#position = position
    this.#clock = clock
    this.#copyMs = copyMs
  }

  /** The one copy of a counter in this process. */
  cell(key: string, keptMs = 0): Cell {
    const known = this.#cells.get(key)?.deref()
    if (known !== undefined) return known
    const cell = new Cell(key, keptMs)
    this.#cells.set(key, new WeakRef(cell))
    this.#dropped.register(cell, key)
    return cell
  }

  /** The store says that something happened to what stands under `key`: a counter, perhaps. */
  changed(key: string): void {
    this.#cells.get(key)?.deref()?.happened()
  }

  /** Of `cells` those of which the copy is too old by now, and nobody asks yet. */
  addDue(due: Cell[], cells: readonly Cell[], nowMs: number): void {
    for (const cell of cells) {
      if (Math.max(cell.askedAtMs, cell.askingSinceMs) > nowMs - this.#copyMs) continue
      cell.askingSinceMs = nowMs
      due.push(cell)
    }
  }

  async refresh(cells: readonly Cell[]): Promise<void> {
    const oldestMs = this.#clock.now() - this.#copyMs
    const due = cells.filter((cell) => cell.askedAtMs <= oldestMs)
    if (due.length > 0) await this.ask(due)
  }

  /** Questions of one turn go out together; nobody joins one that was sent, whose answer may be older than they are. */
  async ask(cells: readonly Cell[]): Promise<void> {
    const question = (this.#question ??= this.#newQuestion())
    for (const cell of cells) question.cells.add(cell)
    const unanswered = await question.answered
    if (unanswered.size === 0) return
    for (const cell of cells) {
      const error = unanswered.get(cell)
      if (error !== undefined) throw error
    }
  }

  #newQuestion(): Question {
    const cells = new Set<Cell>()
    const answered = Promise.resolve().then(async () => {
      this.#question = undefined
      const [askedAtMs, position] = [this.#clock.now(), this.#position()]
      const asked = [...cells]
      const texts = await this.counters.ask(asked.map(({ key }) => key))
      const answeredAtMs = this.#clock.now()
      const unanswered = new Map<Cell, RedisUnavailableError>()
      for (const [index, cell] of asked.entries()) {
        const text = texts[index]!
        if (text instanceof RedisUnavailableError) unanswered.set(cell, text)
        else cell.apply(text, askedAtMs, answeredAtMs, position)
      }
      return unanswered
    })
    return { cells, answered }
  }

  /** Whoever comes while one is under way may have its answer: to store under an older generation is safe. */
  async ensure(cells: readonly Cell[], firstUs?: number, keptMs = 0): Promise<void> {
    await Promise.all(
      cells.map((cell) => {
        const ensuring = this.#ensuring.get(cell) ?? this.#ensureOne(cell, firstUs, keptMs)
        this.#ensuring.set(cell, ensuring)
        return ensuring
      })
    )
  }

  async #ensureOne(cell: Cell, firstUs: number | undefined, keptMs: number): Promise<void> {
    const askedAtMs = this.#clock.now()
    try {
      const text = await this.counters.ensure(cell.key, firstUs, keptMs)
      cell.apply(text, askedAtMs, this.#clock.now())
      if (keptMs > 0) cell.keptUntilMs = askedAtMs + keptMs
    } finally {
      this.#ensuring.delete(cell)
    }
  }

  /** The counter as it was moved; the copy may by then be of another moment. */
  async moved(
    key: string,
    how: 'hard' | 'soft' | 'raise',
    leastUs: number | undefined,
    lifeMs: number
  ): Promise<{ readonly hard: number; readonly soft: number }> {
    const askedAtMs = this.#clock.now()
    const text = await this.counters.move(key, how, leastUs, lifeMs)
    this.cell(key).apply(text, askedAtMs, this.#clock.now())
    return parseCounter(text)
  }

  /** Until no process believes a copy that was asked for before `movedAtMs`, on this process's clock. */
  async untilOver(movedAtMs: number): Promise<void> {
    if (this.#copyMs === 0) return
    for (;;) {
      const leftMs = movedAtMs + CLEARED_AFTER_MS - this.#clock.now()
      if (leftMs <= 0) return
      await new Promise((resolve) => setTimeout(resolve, leftMs))
    }
  }
}

interface Question {
  readonly cells: Set<Cell>
  /** Resolves with those that the store did not tell. */
  readonly answered: Promise<ReadonlyMap<Cell, RedisUnavailableError>>
}
