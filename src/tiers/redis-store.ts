import type { Clock } from '../clock.js'
import type { Token } from '../entry.js'
import { RedisUnavailableError, UnflushedError } from '../errors.js'
import type { MemoryHealth, WakeUpHealth } from '../health.js'
import { shardOfKey } from '../keys/key-schema.js'
import type { ReplicaPolicy } from '../options.js'
import type { RedisClient } from '../redis/client.js'
import type { Wake } from '../redis/key-listeners.js'
import type { RedisLink } from '../redis/link.js'
import type { ChannelNames } from '../redis/change-channel.js'
import { ConfirmedCalls } from '../redis/confirmed-calls.js'
import { Coherence, type CoherenceReporter, type KeptEntries } from '../redis/coherence.js'
import { askByNode, type Call, type OrUnavailable } from '../redis/node-questions.js'
import { WholeEntries } from '../redis/read-batch.js'
import { scanKeys } from '../redis/scan.js'
import { sizesOf } from '../redis/keys.js'
import type { ScriptName } from '../redis/scripts.js'
import type {
  Delivery,
  EntryStore,
  LeaseAnswer,
  LeaseRequest,
  Publication,
  Question,
  Untold
} from './entry-store.js'
import { FetchedEntry } from './fetched-entry.js'
import type { Cell, Scope } from './generation.js'
import { Generations } from './generations.js'
import type { MemoryTier } from './memory-tier.js'
import { RecentValues } from './recent-values.js'
import { RedisChanges, type RunScript } from './redis-changes.js'
import { RedisCounters } from './redis-counters.js'
import { RedisReads, type Lane } from './redis-reads.js'

const NOTHING = Buffer.alloc(0)

const MEMORY_OFF: MemoryHealth = { mode: 'off', reason: undefined, entries: 0, bytes: 0, maxBytes: 0 }

const GRANTED = 1
const HELD = 2
const ENTRY = 3
const GUARDED = 5
const UNFLUSHED = 6
/** A worker may be about to flush. */
const FLUSH_LOOK_AGAIN_MS = 50
/** Of guard-entry. */
const GUARD_UNFLUSHED = 2

export interface RedisStoreParts {
  readonly link: RedisLink
  readonly clock: Clock
  /** What large values that were read lately may take; 0 keeps none. */
  readonly maxRecentBytes: number
  readonly names: ChannelNames
  /** Undefined where nothing is kept in memory. */
  readonly memory: MemoryTier | undefined
  /** Replicas that what makes entries wrong has to reach; undefined: none. */
  readonly waitForReplicas?: ReplicaPolicy | undefined
  readonly reporter: CoherenceReporter
}

const NO_CELLS: readonly Cell[] = []

/** Entries in Redis. */
export class RedisStore implements EntryStore {
  readonly source = 'redis'
  readonly generations: Generations
  readonly #link: RedisLink
  readonly #call: Call
  readonly #confirmedCalls: ConfirmedCalls
  readonly #waitsForReplicas: boolean
  readonly #memory: MemoryTier | undefined
  readonly #coherence: Coherence
  /** Of what is not kept in memory, and of what may be. */
  readonly #reads: RedisReads
  readonly #keptReads: RedisReads
  readonly #changes: RedisChanges

  constructor(parts: RedisStoreParts) {
    const { link, clock, maxRecentBytes, names, memory, waitForReplicas, reporter } = parts
    this.#link = link
    this.#confirmedCalls = new ConfirmedCalls(link)
    this.#waitsForReplicas = waitForReplicas !== undefined
    this.#memory = memory
    const runOnCounter: RunScript = (...call) => this.#changes.runOnCounter(...call)
    this.generations = new Generations(new RedisCounters(link, runOnCounter), clock)
    this.#coherence = new Coherence({ link, clock, names, kept: memory && this.#kept(memory), reporter })
    const confirmed =
      waitForReplicas && this.#confirmedCalls.by({ command: 'wait', follows: true, ...waitForReplicas })
    this.#changes = new RedisChanges({ link, memory, coherence: this.#coherence, confirmed })
    const common = {
      clock,
      nowMs: () => this.nowMs(),
      generations: this.generations,
      recent: new RecentValues(maxRecentBytes),
      entries: new WholeEntries(link)
    }
    this.#call = (action, send, onNodeSilence) => link.call(action, send, onNodeSilence)
    this.#reads = new RedisReads({
      ...common,
      lane: { call: this.#call, position: () => undefined, untold: () => NO_CELLS }
    })
    this.#keptReads =
      memory === undefined ? this.#reads : new RedisReads({ ...common, lane: this.#laneOf(memory) })
  }

  /** News of a key are news of what is kept of it, and of the counter that it may be. */
  #kept(memory: MemoryTier): KeptEntries {
    return {
      drop: (key) => {
        memory.drop(key)
        this.generations.changed(key)
      },
      dropAll: () => memory.dropAll(),
      trustUntil: (untilMs) => memory.trustUntil(untilMs)
    }
  }

  #laneOf(memory: MemoryTier): Lane {
    const coherence = this.#coherence
    const isTold = (cell: Cell): boolean =>
      cell.position !== undefined && memory.standsSince(cell.position, cell.key)
    // Of what is being sent at this moment.
    let isHeardOf = false
    return {
      call: (action, send, onNodeSilence) =>
        coherence.callTracked(
          action,
          (client, isTracked) => {
            isHeardOf = coherence.mode === 'channel' || (isTracked && coherence.mode === 'tracking')
            return send(client)
          },
          onNodeSilence
        ),
      position: () => (isHeardOf ? memory.position : undefined),
      untold: (cells) => (cells.every(isTold) ? NO_CELLS : cells.filter((cell) => !isTold(cell)))
    }
  }

  nowMs(): number {
    return this.#link.serverClock.nowMs()
  }

  isAway(key: string): boolean {
    const { state, nodes } = this.#link
    return state !== 'ready' || (nodes !== undefined && nodes.isAway(nodes.nodeOf(key)))
  }

  /** `maxValueBytes` is less than what Redis takes. */
  mostBytes(): number {
    return Number.POSITIVE_INFINITY
  }

  get pushes(): boolean {
    return this.#coherence.trackedClient !== undefined
  }

  read(question: Question): Promise<FetchedEntry> {
    return (question.memory === undefined ? this.#reads : this.#keptReads).read(question)
  }

  readMany(questions: readonly Question[]): Promise<OrUnavailable<FetchedEntry>[]> {
    return (questions[0]?.memory === undefined ? this.#reads : this.#keptReads).readMany(questions)
  }

  again(fetched: FetchedEntry, scope: Scope): Promise<FetchedEntry> {
    return this.#reads.again(fetched, scope)
  }

  async takeLease({ key, scope, token, leaseMs, seen, force }: LeaseRequest): Promise<LeaseAnswer> {
    const args = [token, leaseMs, seen ?? NOTHING, force ? '1' : '']
    const reply = await this.#runTracked('take a lease', 'take-lease', [key, ...unflushedBeside(key)], args)
    const [kind, detail, stands] = reply as [kind: number, detail: unknown, stands: number]
    const [leftMs, seenStands] = [Math.max(0, Number(detail)), stands === 1]
    switch (kind) {
      case GRANTED:
        return { kind: 'granted', seenStands }
      case HELD:
        return { kind: 'held', leftMs, by: 'loader', seenStands }
      case GUARDED:
        return { kind: 'held', leftMs, by: 'writer', seenStands }
      case UNFLUSHED:
        return { kind: 'held', leftMs: FLUSH_LOOK_AGAIN_MS, by: 'flush', seenStands: false }
      case ENTRY: {
        const fetched = new FetchedEntry(key, detail as Buffer)
        return { kind: 'entry', fetched: await this.again(fetched, scope) }
      }
      default:
        return { kind: 'foreign' }
    }
  }

  async renewLease(key: string, token: Token, leaseMs: number): Promise<boolean> {
    return (await this.#changes.run('renew a lease', 'renew-lease', key, [token, leaseMs])) === 1
  }

  async fill(key: string, token: Token, frame: Buffer, lifeMs: number): Promise<boolean> {
    return (await this.#changes.change('store a value', 'fill-entry', key, [token, frame, lifeMs])) === 1
  }

  async fail(key: string, token: Token, frame: Buffer, lifeMs: number): Promise<boolean> {
    return (await this.#changes.change('note a failed load', 'fail-load', key, [token, frame, lifeMs])) === 1
  }

  async release(key: string, token: Token): Promise<boolean> {
    return (await this.#changes.run('release a lease', 'release-lease', key, [token])) === 1
  }

  async guard(key: string, token: Token, lifeMs: number, renewal: boolean): Promise<boolean> {
    const args = [token, lifeMs, renewal ? '1' : '']
    // What renews it may be lost: then the guard ends early, and its writer finds it gone.
    const others = unflushedBeside(key)
    const reply = renewal
      ? await this.#changes.change('guard an entry', 'guard-entry', key, args, others)
      : await this.#changes.declare('guard an entry', 'guard-entry', key, args, others)
    if (reply === GUARD_UNFLUSHED) throw new UnflushedError(key)
    return reply === 1
  }

  async publish(
    key: string,
    token: Token,
    { frame, lifeMs, version, unknown }: Publication
  ): Promise<boolean> {
    const args = [token, frame ?? NOTHING, lifeMs, version ?? '', unknown ? '1' : '']
    return (await this.#changes.declare('publish a write', 'publish-entry', key, args)) === 1
  }

  async set(key: string, frame: Buffer, lifeMs: number): Promise<boolean> {
    const others = unflushedBeside(key)
    return (await this.#changes.declare('store a value', 'set-entry', key, [frame, lifeMs], others)) === 1
  }

  async drop(keys: readonly string[]): Promise<number> {
    const dropped = await this.#changes.drop(keys)
    for (const one of dropped) if (one instanceof RedisUnavailableError) throw one
    return sum(dropped)
  }

  async dropWhatCanBe(keys: readonly string[]): Promise<Untold> {
    const dropped = await this.#changes.drop(keys)
    const untold = keys.flatMap((key, index) => {
      const one = dropped[index]
      return one instanceof RedisUnavailableError ? [[key, one] as const] : []
    })
    return new Map(untold)
  }

  async soften(keys: readonly string[]): Promise<number> {
    return sum(
      await Promise.all(
        keys.map((key) => this.#changes.declare('make an entry stale', 'soften-entry', key, []))
      )
    )
  }

  scan(patterns: readonly string[], pageSize: number, isWhole = false): AsyncIterable<readonly string[]> {
    return scanKeys(this.#link, { patterns, pageSize, isWhole })
  }

  async dropOlder(keys: readonly string[], beforeMs: number): Promise<number> {
    const before = Math.floor(beforeMs)
    return sum(
      await Promise.all(keys.map((key) => this.#changes.change('clean', 'drop-older', key, [before])))
    )
  }

  async sizes(keys: readonly string[]): Promise<number[]> {
    const { nodes } = this.#link
    const [action, call] = ['measure entries', this.#call]
    if (nodes === undefined) return call(action, (client) => sizesOf(client, keys))
    const ask = async (client: RedisClient, key: string): Promise<number> =>
      (await sizesOf(client, [key]))[0]!
    const sizes = await askByNode(nodes, keys, { action, call, ask })
    return sizes.map((size) => {
      if (size instanceof RedisUnavailableError) throw size
      return size
    })
  }

  beforeUse(tell: (undelivered: Delivery) => Promise<void>): void {
    this.#link.beforeReady = (client) => tell(this.#changes.deliveryOver(client))
  }

  changing<T>(keys: readonly string[], change: () => Promise<T>): Promise<T> {
    return this.#changes.changing(keys, change)
  }

  listen(key: string): Wake {
    return this.#coherence.listen(key)
  }

  async whenNewsAreDecided(): Promise<void> {
    await this.#coherence.whenDecided()
    // Answers at once, since none is waited for: it shows whether this user may.
    if (this.#waitsForReplicas)
      await this.#link.call('wait for replicas', (client) => client.call('WAIT', 0, 1))
  }

  wakeUpHealth(): WakeUpHealth {
    return this.#coherence.wakeUpHealth()
  }

  memoryHealth(): MemoryHealth {
    if (this.#memory === undefined) return MEMORY_OFF
    const { entries, bytes, maxBytes } = this.#memory
    return { ...this.#coherence.memoryState(), entries, bytes, maxBytes }
  }

  async close(): Promise<void> {
    this.#coherence.close()
    this.#confirmedCalls.close()
    await this.#link.close()
  }

  /** Over the tracked connection when there is one, so that "held" also means "you will be told". */
  #runTracked(
    action: string,
    script: ScriptName,
    keys: readonly string[],
    args: (string | number | Buffer)[]
  ): Promise<unknown> {
    const send = (client: RedisClient): Promise<unknown> =>
      this.#changes.runnerOf(client).runOn(script, keys, args)
    return this.#changes.inTurn(() =>
      this.#link.nodes === undefined
        ? this.#coherence.callTracked(action, send)
        : this.#link.callFor(keys[0]!, action, send)
    )
  }
}

function sum(replies: readonly unknown[]): number {
  return replies.reduce((total: number, reply) => total + Number(reply), 0)
}

/** Of an entry that is written behind: the list of what the source does not have yet in its shard. */
function unflushedBeside(key: string): readonly string[] {
  const unflushed = shardOfKey(key)?.unflushed
  return unflushed === undefined ? [] : [unflushed]
}
