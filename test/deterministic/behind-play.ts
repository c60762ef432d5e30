import type { Scheduler } from 'fast-check'
import type { Outgoing } from '../../src/behind/record.js'
import { newBehindStats } from '../../src/stats.js'
import { Queue } from '../../src/behind/queue.js'
import type { Readiness } from '../../src/behind/readiness.js'
import { BehindWorker } from '../../src/behind/worker.js'
import { resolveBehind } from '../../src/behind-options.js'
import { newToken, valueFrame } from '../../src/codec/frame.js'
import { CorralError, WriteUnknownError } from '../../src/errors.js'
import { Events } from '../../src/events.js'
import { ShardStreams } from '../../src/redis/shard-stream.js'
import type { EntryStore } from '../../src/tiers/entry-store.js'
import { Scope } from '../../src/tiers/generation.js'
import { BehindLedger } from './behind-ledger.js'
import {
  KEYS,
  PROCESSES,
  WRITERS,
  type BehindFault,
  type BehindOperation,
  type BehindPlan
} from './behind-plan.js'
import type { ModelServer } from './model-client.js'
import { ModelDatabase } from './model-database.js'
import { ModelLink } from './model-link.js'
import { plainCodec } from './model-redis.js'
import { ModelShards } from './model-shards.js'
import type { ModelRecord } from './shard-records.js'
import { microtasksDone } from './virtual-time.js'
import { Process, World } from './world.js'

const TROUBLE_MS = 10_000
/** Longer than holds, deadlines of writes and pauses between tries: by then everything is flushed. */
const REST_MS = 8_000
const WRITE_TIMEOUT_MS = 1_500
const LEASE_MS = 600
const FLUSH_EVERY_MS = 240
/** Some are away for longer than a write may take. */
const LONGEST_AWAY_MS = 2_500
const FRESH_MS = 3_600_000

const STAMP = new Scope([], undefined, '').print()!

/** Plays one plan in one order of steps. Throws with the story when an invariant does not hold. */
export async function playBehind(plan: BehindPlan, scheduler: Scheduler): Promise<World> {
  const game = new BehindGame(plan, scheduler)
  await game.play()
  return game.world
}

/** One process: a queue as `cache.ingest` and `writeBehind` open it, and with `works` a worker. */
class BehindProcess extends Process {
  readonly link: ModelLink
  readonly queue: Queue
  readonly onDeath: (() => void)[] = []

  constructor(name: string, works: boolean, game: BehindGame) {
    super(name)
    const { world, plan, database } = game
    const { clock } = world
    this.link = new ModelLink(world, game.server, this, {
      pushes: 'none',
      skewMs: 0,
      slownessNow: () => (game.isMended ? 0 : plan.slowness),
      faultOf: (command) => (game.isMended ? undefined : game.commandFaults.get(command)),
      isGivenUp: (call) => !game.isMended && plan.givenUp.includes(call)
    })
    const streams = new ShardStreams(this.link.asLink)
    // Of the store a queue needs only what tells memory of changes, and nothing is kept here.
    const store = {
      changing: (_keys: readonly string[], change: () => unknown) => change()
    } as unknown as EntryStore
    const events = new Events()
    const policy = resolveBehind(
      { sink: database.sinkOf(this), flushEvery: FLUSH_EVERY_MS, maxBatch: 4, shards: plan.shards },
      WRITE_TIMEOUT_MS
    )
    this.queue = new Queue('rows', policy, newBehindStats(plan.shards), FRESH_MS, {
      namespace: 'shop',
      streams,
      store,
      readiness: { of: async () => undefined } as unknown as Readiness,
      codec: plainCodec,
      events,
      clock
    })
    if (!works) return
    const parts = { queues: () => [this.queue], streams, store, codec: plainCodec, events, clock }
    world.as(
      this,
      () => new BehindWorker({ lease: LEASE_MS, name }, { ...parts, onStopped: () => undefined })
    )
  }
}

class BehindGame {
  readonly world: World
  readonly plan: BehindPlan
  readonly database: ModelDatabase
  readonly server: ModelServer
  readonly commandFaults: ReadonlyMap<number, 'reply-lost' | 'refused'>
  isMended = false
  readonly #ledger: BehindLedger
  readonly #shards: ModelShards
  readonly #processes: readonly BehindProcess[]
  readonly #restoreTimers: () => void
  readonly #acceptedSince: number[] = []
  #goBack: (() => void) | undefined
  #running = 0
  #made = 0

  constructor(plan: BehindPlan, scheduler: Scheduler) {
    this.plan = plan
    this.world = new World(scheduler, plan.seed)
    this.#restoreTimers = this.world.time.install()
    this.#ledger = new BehindLedger(this.world)
    this.database = new ModelDatabase(this.world, this.#ledger, plan.sink)
    this.commandFaults = new Map(plan.commandFaults.map(({ command, fault }) => [command, fault]))
    this.#shards = new ModelShards(() => this.world.time.nowMs, {
      accepted: (records) => this.#accepted(records),
      settled: () => this.#lookAll()
    })
    this.server = serverOf(this.world, this.#shards)
    this.#processes = Array.from(
      { length: PROCESSES },
      (_, place) =>
        new BehindProcess(`${place < WRITERS ? 'writer' : 'worker'}${place}`, place >= WRITERS, this)
    )
  }

  async play(): Promise<void> {
    const { world, plan } = this
    try {
      for (const { process, operations } of plan.writers) this.#start(this.#processes[process]!, operations)
      void this.#strike(plan.faults)
      const endsAt = world.time.nowMs + TROUBLE_MS
      await world.run(() => this.#running === 0 || world.time.nowMs > endsAt, plan.pace)
      await this.#rest()
    } finally {
      for (const process of this.#processes) process.isDead = true
      await microtasksDone()
      this.#restoreTimers()
    }
    const { violations, trace } = world
    if (violations.length === 0) return
    const broken = violations.map(({ invariant, what }) => `${invariant}: ${what}`).join('\n')
    throw new Error(`${broken}\n\nwhat happened:\n${trace.join('\n')}`)
  }

  #start(process: BehindProcess, operations: readonly BehindOperation[]): void {
    if (operations.length === 0) return
    let isOver = false
    const over = (): void => {
      if (!isOver) this.#running--
      isOver = true
    }
    this.#running++
    process.onDeath.push(over)
    void this.#perform(process, operations).then(over, (error: unknown) => {
      this.world.violated('I6', `a call ended in ${String(error)}`)
      over()
    })
  }

  async #perform(process: BehindProcess, operations: readonly BehindOperation[]): Promise<void> {
    for (const operation of operations) {
      await this.world.step(process, `${process.name} goes on`)
      if (operation.do === 'pause') await this.world.sleep(process, operation.ms)
      else await this.#change(process, operation)
    }
  }

  async #change(process: BehindProcess, operation: Exclude<BehindOperation, { do: 'pause' }>): Promise<void> {
    const number = ++this.#made
    const what =
      operation.do === 'append' ? `event ${number}` : `${operation.do} ${operation.key} (${number})`
    this.world.note(`${process.name}: ${what}`)
    const shard =
      operation.do === 'append'
        ? number % this.plan.shards
        : KEYS.indexOf(operation.key as 'a') % this.plan.shards
    try {
      const outcome = await process.queue.submit(shard, await outgoing(operation, number))
      this.#ledger.told(number, outcome.kind === 'accepted' ? 'accepted' : 'refused')
    } catch (error) {
      this.world.note(`${process.name}: ${what} ended in ${String(error)}`)
      if (!(error instanceof CorralError)) this.world.violated('I6', `a write ended in ${String(error)}`)
      this.#ledger.told(number, error instanceof WriteUnknownError ? 'unknown' : 'refused')
    }
  }

  #accepted(records: readonly ModelRecord[]): void {
    this.world.note(
      `redis accepts ${records.map(({ kind, key, number }) => `${kind} ${key} (${number})`).join(', ')}`
    )
    for (const { number, kind, key } of records) {
      this.#acceptedSince.push(number)
      this.#ledger.accepted({ number, kind: kind as 'put', key: key.slice(-1) })
    }
    this.#lookAll()
  }

  /** What anybody gets who reads just now, of every row. */
  #lookAll(): void {
    for (const key of KEYS) {
      const entry = this.#shards.entry(keyOf(key))
      if (entry !== undefined) {
        const { kind, number } = entry.shows
        const from = entry.unflushed === undefined ? 'a settled entry' : 'an unflushed entry'
        this.#ledger.seen(key, kind === 'delete' ? 'nothing' : number, from)
      } else if (!this.#shards.isMarked(keyOf(key)))
        this.#ledger.seen(key, this.database.row(key), 'the table')
      else this.world.count('a reader waits for the flush')
    }
  }

  async #strike(faults: readonly BehindFault[]): Promise<void> {
    for (const fault of faults) {
      if (fault.do === 'pause') {
        await this.world.sleep(undefined, fault.ms)
        continue
      }
      await this.world.step(undefined, fault.do)
      if (this.isMended) return
      this.#strikeOnce(fault)
      this.#lookAll()
    }
  }

  #strikeOnce(fault: Exclude<BehindFault, { do: 'pause' }>): void {
    switch (fault.do) {
      case 'mark':
        this.#acceptedSince.length = 0
        this.#goBack = this.#shards.copy()
        return
      case 'loseTail':
        this.world.note('redis goes on without its tail')
        this.#goBack?.()
        this.#ledger.lost(this.#acceptedSince)
        for (const process of this.#processes) this.#disconnect(process)
        return
      case 'evict':
        this.world.note(`the entry of ${fault.key} is deleted`)
        return this.#shards.evict(keyOf(fault.key))
      case 'die':
        return this.#die(this.#processes[fault.process]!)
      case 'stop':
        this.world.note(`${this.#processes[fault.process]!.name}: stopped`)
        return this.#processes[fault.process]!.stop()
      case 'goOn':
        return this.#processes[fault.process]!.goOn()
      case 'disconnect':
        return this.#disconnect(this.#processes[fault.process]!)
    }
  }

  #die(process: BehindProcess): void {
    const workers = this.#processes.slice(WRITERS)
    // One worker has to live.
    if (workers.includes(process) && workers.filter(({ isDead }) => !isDead).length === 1) return
    this.world.note(`${process.name}: dies`)
    process.isDead = true
    process.link.break()
    this.database.died(process)
    for (const tell of process.onDeath) tell()
  }

  #disconnect(process: BehindProcess): void {
    process.link.disconnect()
    void this.world
      .sleep(undefined, LONGEST_AWAY_MS * this.world.random() ** 2)
      .then(() => process.link.connect())
  }

  /** Nothing is broken any more, and everything is flushed. */
  async #rest(): Promise<void> {
    const { world } = this
    world.note('all is well again')
    this.isMended = true
    this.database.mend()
    for (const process of this.#processes) {
      process.goOn()
      if (!process.isDead) void process.link.connect()
    }
    await world.run(() => this.#running === 0, 0)
    if (this.#running > 0) world.violated('I6', `${this.#running} callers wait for ever`)
    let isRested = false
    void world.sleep(undefined, REST_MS).then(() => (isRested = true))
    await world.run(() => isRested || this.#shards.waiting === 0, 0)
    if (this.#shards.waiting > 0) world.violated('I6', `${this.#shards.waiting} batches are not flushed`)
    this.#lookAll()
    this.#ledger.atRest((key) => this.database.row(key))
  }
}

const keyOf = (key: string): string => `shop:rows:${key}`

async function outgoing(
  operation: Exclude<BehindOperation, { do: 'pause' }>,
  number: number
): Promise<Outgoing> {
  const { flags, bytes } = await plainCodec.encode(number)
  if (operation.do === 'append')
    return { kind: 'append', id: undefined, tenant: number as never, flags, payload: bytes }
  const key = keyOf(operation.key)
  const isPut = operation.do === 'put'
  const frame = valueFrame(key, {
    stamp: STAMP,
    token: newToken(),
    freshMs: FRESH_MS,
    loadMs: 0,
    flags: isPut ? flags : 0,
    notFound: !isPut,
    payload: isPut ? bytes : Buffer.alloc(0)
  })
  return { kind: operation.do, key, id: operation.key, tenant: number as never, frame }
}

/** The scripts are all that anybody asks for here. */
function serverOf(world: World, shards: ModelShards): ModelServer {
  let commands = 0
  const refuse = (): never => {
    throw new Error('nobody asks for that here')
  }
  return {
    nextCommand: () => commands++,
    nowMs: () => world.time.nowMs,
    run: async (script, keys, args) => shards.run(script, keys, args),
    mget: refuse,
    drop: refuse,
    setPlain: refuse,
    subscribe: refuse,
    onChange: refuse
  }
}
