import { PayloadCodec } from '../../src/codec/codec.js'
import { parseFrame } from '../../src/codec/frame.js'
import type { Clock } from '../../src/clock.js'
import type { Token } from '../../src/entry.js'
import type { Wake } from '../../src/redis/key-listeners.js'
import type { LeaseAnswer, LeaseRequest, Publication } from '../../src/tiers/entry-store.js'
import { Scope } from '../../src/tiers/generation.js'
import { LocalStore } from '../../src/tiers/local-store.js'
import type { Ledger, Row } from './ledger.js'
import type { ModelServer, ScriptArgument } from './model-client.js'
import { CHANGES_KEY, keyOf, LISTENERS_KEY, rowOf } from './names.js'
import type { World } from './world.js'

/** The bytes as they stand, whatever was cleared: what that makes of them is decided by those who ask. */
const NO_SCOPE = new Scope([], undefined, '')

/**
 * One store for all games, because it is made for more entries than a game has; what stands in it is told apart by its
 * keys, which begin with the game and with how often it has lost everything.
 */
let games = 0
let clock: Clock
const entries = new LocalStore(10_000_000, { now: () => clock.now(), random: () => clock.random() })

/** Nothing is compressed here, so every value is packed and opened without leaving the turn. */
export const plainCodec = new PayloadCodec({
  compressAboveBytes: Number.POSITIVE_INFINITY,
  maxValueBytes: 1_000_000
})

/**
 * The one Redis of the modelled fleet: the store that keeps the scripts' rules on the same bytes without a Redis
 * (`tiers/local-store.ts`, held to them by test/contracts and by the comparison in test/deterministic/scripts.test.ts), and every step
 * that it runs entered in the ledger.
 */
export class ModelRedis implements ModelServer {
  readonly #world: World
  readonly #ledger: Ledger
  readonly #rows: readonly string[]
  readonly #game = ++games
  #emptied = 0
  #commands = 0
  /** Who is told of the next change of a counter, or of a plain key. */
  readonly #ofCounters = new Map<string, ((changed: string | null) => void)[]>()
  readonly #wakes = new Map<Wake, (changed: string | null) => void>()
  readonly #plain = new Map<string, string>()
  readonly #subscribers = new Map<string, ((message: string) => void)[]>()
  #losesMessage: (message: number) => boolean = () => false
  #messages = 0

  constructor(world: World, ledger: Ledger, rows: readonly string[]) {
    this.#world = world
    this.#ledger = ledger
    clock = world.clock
    this.#rows = rows
  }

  nextCommand(): number {
    return this.#commands++
  }

  nowMs(): number {
    return entries.nowMs()
  }

  /** Messages of the change channel that nobody hears, by number. */
  loseMessages(isLost: (message: number) => boolean): void {
    this.#losesMessage = isLost
  }

  async mget(keys: readonly string[]): Promise<(Buffer | null)[]> {
    return Promise.all(
      keys.map(async (key) => {
        if (isPlain(key)) return this.#plain.has(key) ? Buffer.from(this.#plain.get(key)!) : null
        return isCounter(key) ? this.#counter(key) : this.#bytesOf(key)
      })
    )
  }

  setPlain(key: string, value: string): 'OK' {
    this.#plain.set(key, value)
    this.#moved(key)
    return 'OK'
  }

  subscribe(channel: string, hear: (message: string) => void): void {
    this.#subscribers.set(channel, [...(this.#subscribers.get(channel) ?? []), hear])
  }

  /** The script of that name: a number after the one before, and the message with it. */
  #announce(key: string, channel: string, changed: string): string {
    const known = this.#plain.get(key)
    // One that was lost begins at the server's time, far above the one before.
    const number = known === undefined ? Math.floor(this.nowMs() * 1000) : Number(known) + 1
    this.setPlain(key, String(number))
    const isLost = this.#losesMessage(this.#messages++)
    this.#world.note(
      `redis: message ${number} of ${changed.replaceAll('\n', ', ')}${isLost ? ' is lost' : ''}`
    )
    if (isLost) this.#world.count('message lost')
    else for (const hear of this.#subscribers.get(channel) ?? []) hear(`${number}\n${changed}`)
    return String(number)
  }

  async #counter(key: string): Promise<Buffer | null> {
    const [text] = await entries.generations.counters.ask([this.#place(key)])
    return typeof text === 'string' ? Buffer.from(text) : null
  }

  async #bytesOf(key: string): Promise<Buffer | null> {
    return (await entries.read({ key: this.#place(key), scope: NO_SCOPE })).bytes
  }

  #place(key: string): string {
    return `${this.#game}.${this.#emptied}.${key}`
  }

  async run(script: string, keys: readonly string[], args: readonly ScriptArgument[]): Promise<unknown> {
    const key = keys[0]!
    const text = (at: number): string => String(args[at] ?? '')
    const token = args[0] as Buffer
    const count = (yes: boolean): number => (yes ? 1 : 0)
    switch (script) {
      case 'take-lease': {
        const seen = args[2] as Buffer
        const answer = await this.#takeLease({
          key,
          scope: NO_SCOPE,
          token,
          leaseMs: Number(args[1]),
          seen: seen.length === 0 ? undefined : seen,
          force: text(3) === '1'
        })
        return leaseReply(answer)
      }
      case 'renew-lease':
        return count(await this.#renewLease(key, token, Number(args[1])))
      case 'fill-entry':
        return count(await this.#fill(key, token, args[1] as Buffer, Number(args[2])))
      case 'fail-load':
        return count(await this.#fail(key, token, args[1] as Buffer, Number(args[2])))
      case 'release-lease':
        return count(await this.#release(key, token))
      case 'guard-entry':
        return count(await this.#guard(key, token, Number(args[1]), text(2) === '1'))
      case 'publish-entry': {
        const frame = args[1] as Buffer
        return count(
          await this.#publish(key, token, {
            frame: frame.length === 0 ? undefined : frame,
            lifeMs: Number(args[2]),
            version: text(3) === '' ? undefined : Number(args[3]),
            unknown: text(4) === '1'
          })
        )
      }
      default:
        return this.#runOnCounter(script, key, args, text)
    }
  }

  async #runOnCounter(
    script: string,
    key: string,
    args: readonly ScriptArgument[],
    text: (at: number) => string
  ): Promise<unknown> {
    const { counters } = entries.generations
    const number = (at: number): number | undefined => (text(at) === '' ? undefined : Number(args[at]))
    this.#world.note(`redis: ${script} ${key} ${args.join(' ')}`)
    switch (script) {
      case 'announce-changes':
        return this.#announce(key, text(0), text(1))
      case 'ensure-generation':
        this.#moved(key)
        return counters.ensure(this.#place(key), number(0), Number(args[1]))
      case 'move-generation':
        this.#world.count('generation moved')
        this.#moved(key)
        return counters.move(this.#place(key), text(0) as 'hard', number(1), Number(args[2]))
      case 'guard-generation': {
        this.#moved(key)
        const guard = { token: text(0), guardMs: Number(args[1]), renewal: text(2) === '1' }
        return (
          (await counters.guard(this.#place(key), {
            ...guard,
            leastUs: number(3),
            lifeMs: Number(args[4])
          })) ?? 0
        )
      }
      default:
        throw new Error(`The modelled Redis has no script ${script}`)
    }
  }

  onChange(key: string, tell: (changed: string | null) => void): void {
    if (!isCounter(key)) this.#listen(key, tell)
    else this.#ofCounters.set(key, [...(this.#ofCounters.get(key) ?? []), tell])
  }

  #listen(key: string, tell: (changed: string | null) => void): void {
    const wake = entries.listen(this.#place(key))
    this.#wakes.set(wake, tell)
    void wake.changed.then(() => {
      this.#wakes.delete(wake)
      tell(key)
    })
  }

  /** Whoever waits for any change: from here on nobody does. */
  #everybody(): ((changed: null) => void)[] {
    const told = [...this.#wakes.values(), ...[...this.#ofCounters.values()].flat()]
    this.end()
    this.#wakes.clear()
    this.#ofCounters.clear()
    return told
  }

  /** The game is over: what still waits for a change would be kept, with its game, by the store that all games share. */
  end(): void {
    for (const wake of this.#wakes.keys()) wake.cancel()
  }

  #moved(key: string): void {
    const told = this.#ofCounters.get(key) ?? []
    this.#ofCounters.delete(key)
    for (const tell of told) tell(key)
  }

  async #takeLease(request: LeaseRequest): Promise<LeaseAnswer> {
    const { key, token, leaseMs, force } = request
    const answer = await entries.takeLease({ ...request, key: this.#place(key) })
    const kind = answer.kind === 'held' ? `held by a ${answer.by}` : answer.kind
    this.#world.count(`lease ${kind}`)
    if (answer.kind === 'granted') {
      const { state } = (await entries.read({ key: this.#place(key), scope: NO_SCOPE })).entry
      this.#ledger.granted(rowOf(key), this.#world.nameOf(token), leaseMs, force, state === 'hold')
    }
    this.#world.note(`redis: lease on ${key} for ${this.#world.nameOf(token)}: ${kind}`)
    return answer
  }

  async #renewLease(key: string, token: Token, leaseMs: number): Promise<boolean> {
    const renewed = await entries.renewLease(this.#place(key), token, leaseMs)
    this.#world.count(`lease renewal ${renewed ? 'done' : 'refused'}`)
    if (renewed) this.#ledger.renewed(rowOf(key), this.#world.nameOf(token), leaseMs)
    this.#world.note(`redis: lease on ${key} of ${this.#world.nameOf(token)} renewed: ${renewed}`)
    return renewed
  }

  async #fill(key: string, token: Token, frame: Buffer, lifeMs: number): Promise<boolean> {
    const stored = await entries.fill(this.#place(key), token, frame, lifeMs)
    this.#world.count(`fill ${stored ? 'done' : 'refused'}`)
    if (stored) this.#ledger.filled(rowOf(key), this.#world.nameOf(token), rowIn(key, frame)?.version)
    this.#world.note(
      `redis: fill of ${key} v${rowIn(key, frame)?.version} by ${this.#world.nameOf(token)}: ${stored}`
    )
    return stored
  }

  async #fail(key: string, token: Token, frame: Buffer, lifeMs: number): Promise<boolean> {
    const marked = await entries.fail(this.#place(key), token, frame, lifeMs)
    this.#world.count(`failure ${marked ? 'marked' : 'refused'}`)
    if (marked) this.#ledger.failed(rowOf(key), this.#world.nameOf(token), lifeMs)
    this.#world.note(`redis: ${key} marked failed by ${this.#world.nameOf(token)}: ${marked}`)
    return marked
  }

  async #release(key: string, token: Token): Promise<boolean> {
    const released = await entries.release(this.#place(key), token)
    if (released) this.#ledger.released(rowOf(key))
    this.#world.note(`redis: lease on ${key} given back by ${this.#world.nameOf(token)}: ${released}`)
    return released
  }

  async #guard(key: string, token: Token, lifeMs: number, renewal: boolean): Promise<boolean> {
    const guarded = await entries.guard(this.#place(key), token, lifeMs, renewal)
    if (renewal) this.#world.count(`guard renewal ${guarded ? 'done' : 'refused'}`)
    if (guarded) this.#ledger.guarded(rowOf(key), this.#world.nameOf(token), lifeMs)
    this.#world.note(
      `redis: guard on ${key} of ${this.#world.nameOf(token)}${renewal ? ' renewed' : ''}: ${guarded}`
    )
    return guarded
  }

  async #publish(key: string, token: Token, written: Publication): Promise<boolean> {
    const stored = await entries.publish(this.#place(key), token, written)
    if (written.frame !== undefined) this.#world.count(`row ${stored ? 'published' : 'not published'}`)
    const row = written.frame && rowIn(key, written.frame)
    this.#ledger.published(
      rowOf(key),
      this.#world.nameOf(token),
      row?.version,
      written.version !== undefined,
      stored
    )
    this.#world.note(`redis: ${key} v${row?.version} published by ${this.#world.nameOf(token)}: ${stored}`)
    return stored
  }

  async drop(keys: readonly string[]): Promise<number> {
    for (const key of keys) this.#ledger.dropped(rowOf(key))
    this.#world.note(`redis: ${keys.join(', ')} dropped`)
    return entries.drop(keys.map((key) => this.#place(key)))
  }

  /** What was there is gone, as after FLUSHALL, a restart without a disk, or an eviction. */
  async forget(row?: string): Promise<void> {
    const rows = row === undefined ? this.#rows : [row]
    for (const one of rows) this.#ledger.dropped(one)
    this.#world.note(`redis: forgets ${row ?? 'everything'}`)
    const told = row === undefined ? this.#everybody() : []
    await entries.drop(rows.map((one) => this.#place(keyOf(one))))
    if (row !== undefined) return
    // With everything go the counters of what was cleared, and of messages.
    this.#emptied++
    this.#plain.clear()
    for (const tell of told) tell(null)
  }
}

/** Of the script `take-lease.lua`. */
function leaseReply(answer: LeaseAnswer): unknown {
  switch (answer.kind) {
    case 'granted':
      return [1, 0, answer.seenStands ? 1 : 0]
    case 'held':
      return [answer.by === 'writer' ? 5 : 2, answer.leftMs, answer.seenStands ? 1 : 0]
    case 'entry':
      return [3, answer.fetched.bytes]
    case 'foreign':
      return [4]
  }
}

const isCounter = (key: string): boolean => key.includes('#')
/** Of the change channel: what has no generation in it. */
const isPlain = (key: string): boolean => key === CHANGES_KEY || key === LISTENERS_KEY

function rowIn(key: string, frame: Buffer): Row | undefined {
  const entry = parseFrame(key, frame)
  if (entry.state !== 'value' || entry.notFound) return undefined
  return plainCodec.decode(entry.flags, entry.payload) as Row
}
