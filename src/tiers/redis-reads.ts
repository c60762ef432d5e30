import type { Clock } from '../clock.js'
import type { ValueEntry } from '../entry.js'
import { RedisUnavailableError } from '../errors.js'
import type { Call, OrUnavailable } from '../redis/node-questions.js'
import { ReadBatch, type WholeEntries } from '../redis/read-batch.js'
import type { Question } from './entry-store.js'
import { FetchedEntry, HEADER_BYTES } from './fetched-entry.js'
import { OUTDATED, type Cell, type Scope } from './generation.js'
import type { Generations } from './generations.js'
import type { RecentValues } from './recent-values.js'

const HEADERS_AT_ONCE = 1_000
/** An entry is read again when its tags turn out to be others than those that were asked for. */
const STANDING_TRIES = 3

export interface ReadParts {
  readonly clock: Clock
  /** On the store's clock. */
  readonly nowMs: () => number
  readonly generations: Generations
  readonly recent: RecentValues
  readonly entries: WholeEntries
  readonly lane: Lane
}

/** A connection to read over, and what may become of the answers. */
export interface Lane {
  readonly call: Call
  /** Where the news of changes stand, for what is sent now; undefined where nothing that is asked here may be kept. */
  position(): number | undefined
  /** Which of an entry's counters have to be asked for over this lane, so that the news tell of them as well. */
  untold(cells: readonly Cell[]): readonly Cell[]
}

interface Header {
  readonly bytes: Buffer
  readonly position: number | undefined
}

interface Answers {
  readonly fetched: readonly OrUnavailable<FetchedEntry>[]
  readonly lost: RedisUnavailableError | undefined
}

/** Where the news stood when a question was sent; of one that goes to several nodes, when the first of it was. */
class SendPosition {
  readonly #lane: Lane
  #sent = false
  value: number | undefined

  constructor(lane: Lane) {
    this.#lane = lane
  }

  readonly note = (): void => {
    const position = this.#lane.position()
    if (!this.#sent) this.value = position
    else if (this.value === undefined || position === undefined) this.value = undefined
    else this.value = Math.min(this.value, position)
    this.#sent = true
  }
}

/** Reads of entries over one connection, with the counters that they stand under. */
export class RedisReads {
  readonly #parts: ReadParts
  readonly #whole: ReadBatch<Question, OrUnavailable<FetchedEntry>, FetchedEntry>
  readonly #headers: ReadBatch<Question, OrUnavailable<Header>, FetchedEntry>

  constructor(parts: ReadParts) {
    this.#parts = parts
    this.#whole = new ReadBatch(
      {
        ask: (questions, askedAtMs) => this.#askWhole(questions, askedAtMs),
        read: (question, fetched, askedAtMs) =>
          isUnavailable(fetched) ? Promise.reject(fetched) : this.#read(question, fetched, askedAtMs),
        most: () => parts.entries.most()
      },
      parts.clock
    )
    this.#headers = new ReadBatch(
      {
        ask: (questions, askedAtMs) => this.#askHeaders(questions, askedAtMs),
        read: (question, header, askedAtMs) =>
          isUnavailable(header) ? Promise.reject(header) : this.#revalidated(question, header, askedAtMs),
        most: () => HEADERS_AT_ONCE
      },
      parts.clock
    )
  }

  read(question: Question): Promise<FetchedEntry> {
    return this.#parts.recent.get(question.key) === undefined
      ? this.#whole.read(question)
      : this.#headers.read(question)
  }

  async readMany(questions: readonly Question[]): Promise<OrUnavailable<FetchedEntry>[]> {
    const { recent } = this.#parts
    if (recent.isEmpty) return this.#whole.readMany(questions)
    const known = questions.filter(({ key }) => recent.get(key) !== undefined)
    if (known.length === 0) return this.#whole.readMany(questions)
    const knownKeys = new Set(known.map(({ key }) => key))
    const others = questions.filter(({ key }) => !knownKeys.has(key))
    const [ofKnown, ofOthers] = await Promise.all([
      this.#headers.readMany(known),
      this.#whole.readMany(others)
    ])
    const [nextKnown, nextOther] = [ofKnown.values(), ofOthers.values()]
    return questions.map(({ key }) => (knownKeys.has(key) ? nextKnown : nextOther).next().value!)
  }

  async again(fetched: FetchedEntry, scope: Scope): Promise<FetchedEntry> {
    return this.#standing(fetched, { key: fetched.key, scope }, this.#parts.clock.now())
  }

  async #askWhole(
    questions: readonly Question[],
    askedAtMs: number
  ): Promise<readonly OrUnavailable<FetchedEntry>[]> {
    const due = this.#dueFor(questions, askedAtMs)
    const keys = questions.map(({ key }) => key)
    return (await this.#askWith(keys, due, askedAtMs)).fetched
  }

  /**
   * Entries, and with them the counters that copies are too old of: one command, and one moment in Redis; of a Cluster
   * one for each node. `lost`: a counter that was not told, so that copies of it stay as old as they are.
   */
  async #askWith(keys: readonly string[], cells: readonly Cell[], askedAtMs: number): Promise<Answers> {
    const { entries, lane, clock } = this.#parts
    const asked = cells.length === 0 ? keys : [...keys, ...cells.map(({ key }) => key)]
    const position = new SendPosition(lane)
    const replies = await entries.ask(asked, lane.call, position.note)
    const answeredAtMs = clock.now()
    let lost: RedisUnavailableError | undefined
    for (const [index, cell] of cells.entries()) {
      const reply = replies[keys.length + index]!
      if (isUnavailable(reply)) lost = reply
      else cell.apply(reply?.toString('latin1') ?? null, askedAtMs, answeredAtMs, position.value)
    }
    const fetched = keys.map((key, index) => {
      const reply = replies[index]!
      return isUnavailable(reply) ? reply : new FetchedEntry(key, reply, position.value)
    })
    return { fetched, lost }
  }

  async #askHeaders(
    questions: readonly Question[],
    askedAtMs: number
  ): Promise<readonly OrUnavailable<Header>[]> {
    const { entries, lane } = this.#parts
    const due = this.#dueFor(questions, askedAtMs)
    const keys = questions.map(({ key }) => key)
    const position = new SendPosition(lane)
    const headers = entries.askForHeaders(keys, HEADER_BYTES, lane.call, position.note)
    const counters = due.length === 0 ? undefined : this.#askWith([], due, askedAtMs)
    const [all] = await Promise.all([headers, counters])
    return all.map((bytes) => (isUnavailable(bytes) ? bytes : { bytes, position: position.value }))
  }

  #dueFor(questions: readonly Question[], nowMs: number): Cell[] {
    const { generations, lane } = this.#parts
    const due: Cell[] = []
    let last: Scope | undefined
    for (const { key, scope } of questions) {
      const isNew = scope !== last
      last = scope
      generations.addDue(due, key, isNew ? scope : undefined, nowMs)
      if (isNew) for (const cell of lane.untold(scope.cells)) if (!due.includes(cell)) due.push(cell)
    }
    return due
  }

  #read(question: Question, fetched: FetchedEntry, askedAtMs: number): FetchedEntry | Promise<FetchedEntry> {
    this.#parts.recent.noteRead(fetched)
    return this.#standing(fetched, question, askedAtMs)
  }

  #standing(
    fetched: FetchedEntry,
    question: Question,
    askedAtMs: number
  ): FetchedEntry | Promise<FetchedEntry> {
    const { entry } = fetched
    // What the source does not have yet is nothing that a clear could mean.
    if (entry.state !== 'value' || entry.unflushed) return fetched
    const { key, scope } = question
    const { generations, nowMs } = this.#parts
    const standing = generations.standing(entry, key, scope, askedAtMs)
    if (standing === undefined) return this.#readAgain(question, entry)
    return standing.is === 'current' ? fetched : fetched.standing(standing, nowMs())
  }

  /** Entry and all of its counters in one moment: what it comes to is certain, unless its tags have changed as well. */
  async #readAgain({ key, scope }: Question, seen: ValueEntry): Promise<FetchedEntry> {
    const { generations, clock, nowMs } = this.#parts
    let last: ValueEntry = seen
    let fetched: FetchedEntry | undefined
    for (let tries = 0; tries < STANDING_TRIES; tries++) {
      const askedAtMs = clock.now()
      const cells = generations.cellsOf(last, key, scope)
      const answers = await this.#askWith([key], cells, askedAtMs)
      const [found] = answers.fetched as [OrUnavailable<FetchedEntry>]
      // Without the counters nobody can say whether it was cleared since.
      if (isUnavailable(found)) throw found
      if (answers.lost !== undefined) throw answers.lost
      fetched = found
      const { entry } = fetched
      if (entry.state !== 'value' || entry.unflushed) return fetched
      const standing = generations.standing(entry, key, scope, askedAtMs)
      if (standing !== undefined) return fetched.standing(standing, nowMs())
      last = entry
    }
    // Its tags change faster than it can be read: what is not known to be current counts as outdated.
    return (fetched ?? new FetchedEntry(key, null)).standing(OUTDATED, nowMs())
  }

  /** What stands under a key whose value was read whole before, by its first bytes. */
  #revalidated(
    question: Question,
    { bytes, position }: Header,
    askedAtMs: number
  ): FetchedEntry | Promise<FetchedEntry> {
    const { key } = question
    const { recent } = this.#parts
    const again = recent.get(key)?.revalidated(bytes, position)
    if (again !== undefined) {
      recent.noteStands(key)
      return this.#standing(again, question, askedAtMs)
    }
    recent.forget(key)
    // Nothing, or something as short as a lease: that was all of it.
    if (bytes.length < HEADER_BYTES) return new FetchedEntry(key, bytes.length === 0 ? null : bytes)
    return this.#whole.read(question)
  }
}

function isUnavailable<T>(answer: OrUnavailable<T>): answer is RedisUnavailableError {
  return answer instanceof RedisUnavailableError
}
