import type { Clock } from '../clock.js'
import type { Token, ValueEntry } from '../entry.js'
import type { MemoryHealth, WakeUpHealth } from '../health.js'
import type { RedisClient } from '../redis/client.js'
import type { Wake } from '../redis/key-listeners.js'
import type { RedisLink } from '../redis/link.js'
import { askForHeaders, ReadBatch, WholeEntries } from '../redis/read-batch.js'
import { scanKeys } from '../redis/scan.js'
import { ScriptRunner, type ScriptName } from '../redis/scripts.js'
import { WakeUps } from '../redis/wake-ups.js'
import type { Delivery, EntryStore, LeaseAnswer, LeaseRequest, Publication, Question } from './entry-store.js'
import { FetchedEntry, HEADER_BYTES } from './fetched-entry.js'
import { OUTDATED, type Cell, type Scope } from './generation.js'
import { Generations } from './generations.js'
import { RecentValues } from './recent-values.js'
import { RedisCounters } from './redis-counters.js'

const NOTHING = Buffer.alloc(0)

const KEYS_PER_UNLINK = 500
const HEADERS_AT_ONCE = 1_000
/** An entry is read again when its tags turn out to be others than those that were asked for. */
const STANDING_TRIES = 3

const GRANTED = 1
const HELD = 2
const ENTRY = 3
const GUARDED = 5

/** Entries in Redis. */
export class RedisStore implements EntryStore {
  readonly source = 'redis'
  readonly generations: Generations
  readonly #link: RedisLink
  readonly #clock: Clock
  readonly #wholeEntries: WholeEntries
  readonly #whole: ReadBatch<Question, Buffer | null, FetchedEntry>
  readonly #headers: ReadBatch<Question, Buffer, FetchedEntry>
  readonly #recent: RecentValues
  readonly #wakeUps: WakeUps
  readonly #runners = new WeakMap<RedisClient, ScriptRunner>()

  /** @param maxRecentBytes what large values that were read lately may take; 0 keeps none */
  constructor(
    link: RedisLink,
    maxRecentBytes: number,
    clock: Clock,
    onWakeUpFailure: (error: unknown) => void
  ) {
    this.#link = link
    this.#clock = clock
    this.#recent = new RecentValues(maxRecentBytes)
    this.#wholeEntries = new WholeEntries(link)
    const run = this.#run.bind(this)
    this.generations = new Generations(new RedisCounters(link, run), clock)
    this.#whole = new ReadBatch(
      {
        ask: (questions, askedAtMs) => this.#askWhole(questions, askedAtMs),
        read: (question, bytes, askedAtMs) => this.#read(question, bytes, askedAtMs),
        most: () => this.#wholeEntries.most()
      },
      clock
    )
    this.#headers = new ReadBatch(
      {
        ask: (questions, askedAtMs) => this.#askHeaders(questions, askedAtMs),
        read: (question, header, askedAtMs) => this.#revalidated(question, header, askedAtMs),
        most: () => HEADERS_AT_ONCE
      },
      clock
    )
    this.#wakeUps = new WakeUps(link, onWakeUpFailure)
  }

  nowMs(): number {
    return this.#link.serverClock.nowMs()
  }

  get pushes(): boolean {
    return this.#wakeUps.trackedClient !== undefined
  }

  read(question: Question): Promise<FetchedEntry> {
    return this.#recent.get(question.key) === undefined
      ? this.#whole.read(question)
      : this.#headers.read(question)
  }

  async readMany(questions: readonly Question[]): Promise<FetchedEntry[]> {
    if (this.#recent.isEmpty) return this.#whole.readMany(questions)
    const known = questions.filter(({ key }) => this.#recent.get(key) !== undefined)
    if (known.length === 0) return this.#whole.readMany(questions)
    const knownKeys = new Set(known.map(({ key }) => key))
    const others = questions.filter(({ key }) => !knownKeys.has(key))
    const found = (await Promise.all([this.#headers.readMany(known), this.#whole.readMany(others)])).flat()
    const byKey = new Map(found.map((fetched) => [fetched.key, fetched]))
    return questions.map(({ key }) => byKey.get(key)!)
  }

  async again(fetched: FetchedEntry, scope: Scope): Promise<FetchedEntry> {
    return this.#standing(fetched, { key: fetched.key, scope }, this.#clock.now())
  }

  /** Entries, and with them the counters that copies are too old of: one command, and one moment in Redis. */
  async #askWhole(questions: readonly Question[], askedAtMs: number): Promise<readonly (Buffer | null)[]> {
    const due = this.#dueFor(questions, askedAtMs)
    const keys = questions.map(({ key }) => key)
    if (due.length === 0) return this.#wholeEntries.ask(keys)
    return this.#askWith(keys, due, askedAtMs)
  }

  async #askWith(
    keys: readonly string[],
    cells: readonly Cell[],
    askedAtMs: number
  ): Promise<readonly (Buffer | null)[]> {
    const replies = await this.#wholeEntries.ask([...keys, ...cells.map(({ key }) => key)])
    for (const [index, cell] of cells.entries()) {
      cell.apply(replies[keys.length + index]?.toString('latin1') ?? null, askedAtMs)
    }
    return replies
  }

  async #askHeaders(questions: readonly Question[], askedAtMs: number): Promise<readonly Buffer[]> {
    const due = this.#dueFor(questions, askedAtMs)
    const keys = questions.map(({ key }) => key)
    const headers = askForHeaders(this.#link, keys, HEADER_BYTES)
    if (due.length === 0) return headers
    return (await Promise.all([headers, this.#askWith([], due, askedAtMs)]))[0]
  }

  #dueFor(questions: readonly Question[], nowMs: number): Cell[] {
    const due: Cell[] = []
    let last: Scope | undefined
    for (const { key, scope } of questions) {
      this.generations.addDue(due, key, scope === last ? undefined : scope, nowMs)
      last = scope
    }
    return due
  }

  #read(question: Question, bytes: Buffer | null, askedAtMs: number): FetchedEntry | Promise<FetchedEntry> {
    const fetched = new FetchedEntry(question.key, bytes)
    this.#recent.noteRead(fetched)
    return this.#standing(fetched, question, askedAtMs)
  }

  #standing(
    fetched: FetchedEntry,
    question: Question,
    askedAtMs: number
  ): FetchedEntry | Promise<FetchedEntry> {
    const { entry } = fetched
    if (entry.state !== 'value') return fetched
    const standing = this.generations.standing(entry, question.key, question.scope, askedAtMs)
    if (standing === undefined) return this.#readAgain(question, entry)
    return fetched.standing(standing)
  }

  /** Entry and all of its counters in one moment: what it comes to is certain, unless its tags have changed as well. */
  async #readAgain({ key, scope }: Question, seen: ValueEntry): Promise<FetchedEntry> {
    let last: ValueEntry = seen
    let bytes: Buffer | null = null
    for (let tries = 0; tries < STANDING_TRIES; tries++) {
      const askedAtMs = this.#clock.now()
      const cells = this.generations.cellsOf(last, key, scope)
      bytes = (await this.#askWith([key], cells, askedAtMs))[0] ?? null
      const fetched = new FetchedEntry(key, bytes)
      const { entry } = fetched
      if (entry.state !== 'value') return fetched
      const standing = this.generations.standing(entry, key, scope, askedAtMs)
      if (standing !== undefined) return fetched.standing(standing)
      last = entry
    }
    // Its tags change faster than it can be read: what is not known to be current counts as outdated.
    return new FetchedEntry(key, bytes).standing(OUTDATED)
  }

  /** What stands under a key whose value was read whole before, by its first bytes. */
  #revalidated(question: Question, header: Buffer, askedAtMs: number): FetchedEntry | Promise<FetchedEntry> {
    const { key } = question
    const again = this.#recent.get(key)?.revalidated(header)
    if (again !== undefined) return this.#standing(again, question, askedAtMs)
    this.#recent.forget(key)
    // Nothing, or something as short as a lease: that was all of it.
    if (header.length < HEADER_BYTES) return new FetchedEntry(key, header.length === 0 ? null : header)
    return this.#whole.read(question)
  }

  async takeLease({ key, scope, token, leaseMs, seen, force }: LeaseRequest): Promise<LeaseAnswer> {
    const args = [token, leaseMs, seen ?? NOTHING, force ? '1' : '']
    const reply = await this.#runTracked('take a lease', 'take-lease', key, args)
    const [kind, detail, stands] = reply as [kind: number, detail: unknown, stands: number]
    const [leftMs, seenStands] = [Math.max(0, Number(detail)), stands === 1]
    switch (kind) {
      case GRANTED:
        return { kind: 'granted', seenStands }
      case HELD:
        return { kind: 'held', leftMs, by: 'loader', seenStands }
      case GUARDED:
        return { kind: 'held', leftMs, by: 'writer', seenStands }
      case ENTRY: {
        const fetched = new FetchedEntry(key, detail as Buffer)
        return { kind: 'entry', fetched: await this.again(fetched, scope) }
      }
      default:
        return { kind: 'foreign' }
    }
  }

  async renewLease(key: string, token: Token, leaseMs: number): Promise<boolean> {
    return (await this.#run('renew a lease', 'renew-lease', key, [token, leaseMs])) === 1
  }

  async fill(key: string, token: Token, frame: Buffer, lifeMs: number): Promise<boolean> {
    return (await this.#run('store a value', 'fill-entry', key, [token, frame, lifeMs])) === 1
  }

  async fail(key: string, token: Token, frame: Buffer, lifeMs: number): Promise<boolean> {
    return (await this.#run('note a failed load', 'fail-load', key, [token, frame, lifeMs])) === 1
  }

  async release(key: string, token: Token): Promise<boolean> {
    return (await this.#run('release a lease', 'release-lease', key, [token])) === 1
  }

  async guard(key: string, token: Token, lifeMs: number, renewal: boolean): Promise<boolean> {
    return (await this.#run('guard an entry', 'guard-entry', key, [token, lifeMs, renewal ? '1' : ''])) === 1
  }

  async publish(
    key: string,
    token: Token,
    { frame, lifeMs, version, unknown }: Publication
  ): Promise<boolean> {
    const args = [token, frame ?? NOTHING, lifeMs, version ?? '', unknown ? '1' : '']
    return (await this.#run('publish a write', 'publish-entry', key, args)) === 1
  }

  async set(key: string, frame: Buffer, lifeMs: number): Promise<boolean> {
    return (await this.#run('store a value', 'set-entry', key, [frame, lifeMs])) === 1
  }

  drop(keys: readonly string[]): Promise<number> {
    return this.#link.call('drop entries', (client) => unlink(client, keys))
  }

  async soften(keys: readonly string[]): Promise<number> {
    return sum(
      await Promise.all(keys.map((key) => this.#run('make an entry stale', 'soften-entry', key, [])))
    )
  }

  scan(patterns: readonly string[], pageSize: number): AsyncIterable<readonly string[]> {
    return scanKeys(this.#link, patterns, pageSize)
  }

  async dropOlder(keys: readonly string[], beforeMs: number): Promise<number> {
    const before = Math.floor(beforeMs)
    return sum(await Promise.all(keys.map((key) => this.#run('clean', 'drop-older', key, [before]))))
  }

  async sizes(keys: readonly string[]): Promise<number[]> {
    return this.#link.call('measure entries', (client) =>
      Promise.all(keys.map(async (key) => Number(await client.strlen(key).catch(zeroForWrongType))))
    )
  }

  beforeUse(tell: (undelivered: Delivery) => Promise<void>): void {
    this.#link.beforeReady = (client) => {
      const runner = this.#runnerOf(client)
      return tell({
        drop: (keys) => unlink(client, keys),
        move: (key) => runner.run('move-generation', key, ['hard', '', 0])
      })
    }
  }

  listen(key: string): Wake {
    return this.#wakeUps.listen(key)
  }

  wakeUpHealth(): WakeUpHealth {
    return this.#wakeUps.health()
  }

  memoryHealth(): MemoryHealth {
    return { mode: 'off', reason: undefined, entries: 0, bytes: 0, maxBytes: 0 }
  }

  async close(): Promise<void> {
    this.#wakeUps.close()
    await this.#link.close()
  }

  /** Over the tracked connection when there is one, so that "held" also means "you will be told". */
  async #runTracked(
    action: string,
    script: ScriptName,
    key: string,
    args: (string | number | Buffer)[]
  ): Promise<unknown> {
    const tracked = this.#wakeUps.trackedClient
    if (tracked === undefined) return this.#run(action, script, key, args)
    const call = (): Promise<unknown> => this.#runnerOf(tracked).run(script, key, args)
    try {
      return await this.#link.call(action, call, () => this.#wakeUps.distrust())
    } catch (error) {
      // The pair was lost with the call on it; the other connection may be well, and asking again is harmless.
      if (this.#wakeUps.trackedClient === tracked || this.#link.state !== 'ready') throw error
      return this.#run(action, script, key, args)
    }
  }

  #run(
    action: string,
    script: ScriptName,
    key: string,
    args: (string | number | Buffer)[]
  ): Promise<unknown> {
    return this.#link.call(action, (client) => this.#runnerOf(client).run(script, key, args))
  }

  #runnerOf(client: RedisClient): ScriptRunner {
    const known = this.#runners.get(client)
    if (known !== undefined) return known
    const runner = new ScriptRunner(client)
    this.#runners.set(client, runner)
    return runner
  }
}

function sum(replies: readonly unknown[]): number {
  return replies.reduce((total: number, reply) => total + Number(reply), 0)
}

/** Somebody else's key beside ours. */
function zeroForWrongType(error: unknown): number {
  if (error instanceof Error && error.message.startsWith('WRONGTYPE')) return 0
  throw error
}

/** Not DEL: a large value is freed in the background. Both pass when Redis is full, and both void every lease. */
async function unlink(client: RedisClient, keys: readonly string[]): Promise<number> {
  // One command with keys of several slots is refused by a Cluster; one with very many keys holds up everybody else.
  const size = client.isCluster ? 1 : KEYS_PER_UNLINK
  const pages: Promise<number>[] = []
  for (let at = 0; at < keys.length; at += size) pages.push(client.unlink(...keys.slice(at, at + size)))
  return (await Promise.all(pages)).reduce((sum, dropped) => sum + dropped, 0)
}
