import type { Scheduler } from 'fast-check'
import { CorralError, WriteUnknownError } from '../../src/errors.js'
import { shardOfKey } from '../../src/keys/key-schema.js'
import { BehindLedger, COUNTER, type Made } from './behind-ledger.js'
import {
  KEYS,
  PROCESSES,
  WRITERS,
  type BehindFault,
  type BehindOperation,
  type BehindPlan
} from './behind-plan.js'
import { BehindProcess, behindEntryKey, outgoing } from './behind-process.js'
import type { CounterChange } from './counter-ledger.js'
import type { ModelServer } from './model-client.js'
import { ModelDatabase } from './model-database.js'
import type { Wire } from './model-link.js'
import { ModelShards } from './model-shards.js'
import type { ModelRecord } from './shard-records.js'
import { microtasksDone } from './virtual-time.js'
import { World } from './world.js'

const TROUBLE_MS = 10_000
/** Longer than holds, deadlines of writes and pauses between tries: by then everything is flushed. */
const REST_MS = 8_000
/** Some are away for longer than a write may take. */
const LONGEST_AWAY_MS = 2_500

type Change = Exclude<BehindOperation, { do: 'pause' }>

/** Plays one plan in one order of steps. Throws with the story when an invariant does not hold. */
export async function playBehind(plan: BehindPlan, scheduler: Scheduler): Promise<World> {
  const game = new BehindGame(plan, scheduler)
  await game.play()
  return game.world
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
      cameAgain: (records) => this.#ledger.counter.cameAgain(records.flatMap((one) => this.#changesIn(one))),
      settled: () => this.#lookAll()
    })
    this.server = serverOf(this.world, this.#shards)
    const { world, server, database } = this
    this.#processes = Array.from({ length: PROCESSES }, (_, place) => {
      const works = place >= WRITERS
      const parts = { world, server, database, shards: plan.shards, works, wire: this.#wire() }
      return new BehindProcess(`${works ? 'worker' : 'writer'}${place}`, parts)
    })
  }

  #wire(): Wire {
    const { plan } = this
    return {
      pushes: 'none',
      skewMs: 0,
      slownessNow: () => (this.isMended ? 0 : plan.slowness),
      faultOf: (command) => (this.isMended ? undefined : this.commandFaults.get(command)),
      isGivenUp: (call) => !this.isMended && plan.givenUp.includes(call)
    }
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

  async #change(process: BehindProcess, operation: Change): Promise<void> {
    const number = ++this.#made
    const isCounted = operation.do !== 'append' && operation.key === COUNTER
    const change = isCounted ? this.#ledger.counter.plan(number, operation.do, this.plan.poison) : undefined
    const what = operation.do === 'append' ? 'event' : `${operation.do} ${operation.key}`
    this.world.note(`${process.name}: ${what} (${number}${change ? `: ${change.bit}` : ''})`)
    try {
      const outcome =
        operation.do === 'increment'
          ? await this.#increment(process, change!)
          : await this.#submit(process, operation, number, change?.bit ?? number)
      this.#ledger.told(number, outcome)
    } catch (error) {
      this.world.note(`${process.name}: ${what} (${number}) ended in ${String(error)}`)
      if (!(error instanceof CorralError)) this.world.violated('I6', `a write ended in ${String(error)}`)
      this.#ledger.told(number, error instanceof WriteUnknownError ? 'unknown' : 'refused')
    }
  }

  async #increment(process: BehindProcess, change: CounterChange): Promise<'accepted'> {
    const result = await process.increment(change.number, change.bit)
    this.world.note(`${process.name}: increment (${change.number}) came to ${result}`)
    this.#ledger.counter.answered(change, result)
    return 'accepted'
  }

  async #submit(
    process: BehindProcess,
    operation: Exclude<Change, { do: 'increment' }>,
    number: number,
    value: number
  ): Promise<'accepted' | 'refused'> {
    const key = operation.do === 'append' ? '' : this.#keyOf(operation.key)
    const shard = this.#shardOf(operation, number)
    const { kind } = await process.queue.submit(shard, outgoing(operation.do, key, number, value))
    return kind === 'accepted' ? 'accepted' : 'refused'
  }

  #shardOf(operation: Change, number: number): number {
    const { shards } = this.plan
    if (operation.do === 'append') return number % shards
    return shardOfKey(this.#keyOf(operation.key))?.index ?? KEYS.indexOf(operation.key as 'a') % shards
  }

  #keyOf(key: string): string {
    return behindEntryKey(key, this.plan.shards)
  }

  /** The increments that a record is: several calls may have gone as one. */
  #changesIn({ kind, by }: ModelRecord): CounterChange[] {
    return kind === 'increment' ? this.#ledger.counter.changesIn(by) : []
  }

  #accepted(records: readonly ModelRecord[]): void {
    this.world.note(
      `redis accepts ${records.map(({ kind, key, number, by }) => `${kind} ${key} (${by || number})`).join(', ')}`
    )
    for (const record of records) {
      const key = record.key.slice(record.key.lastIndexOf(':') + 1)
      const kind = record.kind as Made['kind']
      const numbers =
        kind === 'increment' ? this.#changesIn(record).map(({ number }) => number) : [record.number]
      this.#acceptedSince.push(...numbers)
      this.#ledger.accepted(numbers.map((number) => ({ number, kind, key })))
    }
    this.#lookAll()
  }

  /** What anybody gets who reads just now, of every row and of the counter. */
  #lookAll(): void {
    for (const key of [...KEYS, COUNTER]) {
      const entry = this.#shards.entry(this.#keyOf(key))
      if (entry?.is === 'value') {
        const from = entry.unflushed === undefined ? 'a settled entry' : 'an unflushed entry'
        this.#ledger.seen(key, entry.shows, from)
      } else if (!this.#shards.isMarked(this.#keyOf(key)))
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
        return this.#shards.evict(this.#keyOf(fault.key))
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

/** The scripts, and looks at single entries, are all that anybody asks for here. */
function serverOf(world: World, shards: ModelShards): ModelServer {
  let commands = 0
  const refuse = (): never => {
    throw new Error('nobody asks for that here')
  }
  return {
    nextCommand: () => commands++,
    nowMs: () => world.time.nowMs,
    run: async (script, keys, args) => shards.run(script, keys, args),
    mget: async (keys) => keys.map((key) => shards.bytes(key)),
    drop: refuse,
    setPlain: refuse,
    subscribe: refuse,
    onChange: refuse
  }
}
