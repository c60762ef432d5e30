import type { Scheduler } from 'fast-check'
import { CorralError } from '../../src/errors.js'
import { FleetProcess } from './fleet-process.js'
import { Ledger, type Row } from './ledger.js'
import { ModelRedis } from './model-redis.js'
import { KEYS, type Caller, type Fault, type Operation, type Plan } from './plan.js'
import { Source, SourceError } from './source.js'
import { microtasksDone } from './virtual-time.js'
import { World } from './world.js'

/** Who stands still for so long is told to go on. */
const TROUBLE_MS = 20_000
const LONGEST_AWAY_MS = 600
/** Longer than any lease, guard, wait or deadline of the fleet. */
const REST_MS = 8_000
/** A call that takes longer, in a process that was never stopped, is not over by its deadlines. */
const LONGEST_CALL_MS = 60_000
const TRIES_TO_INVALIDATE = 3
const READS_TO_KEEP = 5

/** Plays one plan in one order of steps. Throws with the story when an invariant does not hold. */
export async function play(plan: Plan, scheduler: Scheduler): Promise<World> {
  const game = new Game(plan, scheduler)
  await game.play()
  return game.world
}

function isCalm({ pace, slowness, faults, commandFaults, givenUp }: Plan): boolean {
  const isSure = commandFaults.length === 0 && givenUp.length === 0
  return pace === 0 && slowness === 0 && isSure && faults.every((fault) => fault.do === 'pause')
}

class Game {
  readonly world: World
  readonly #plan: Plan
  readonly #ledger: Ledger
  readonly #redis: ModelRedis
  readonly #source: Source
  readonly #processes: readonly FleetProcess[]
  readonly #restoreTimers: () => void
  #running = 0
  #isMended = false

  constructor(plan: Plan, scheduler: Scheduler) {
    this.#plan = plan
    this.world = new World(scheduler, plan.seed)
    // Before there are processes: a heartbeat that one sets by Node's own timers would beat on in all later games.
    this.#restoreTimers = this.world.time.install()
    this.#ledger = new Ledger(this.world, isCalm(plan))
    this.#redis = new ModelRedis(this.world, this.#ledger, KEYS)
    this.#source = new Source(this.world, this.#ledger, plan.loads, plan.writes)
    const parts = { world: this.world, redis: this.#redis, source: this.#source, ledger: this.#ledger }
    this.#redis.loseMessages((message) => !this.#isMended && (plan.lostMessages ?? []).includes(message))
    const faults = new Map(plan.commandFaults.map(({ command, fault }) => [command, fault]))
    const places = [...new Set(plan.callers.map(({ process }) => process))].sort((a, b) => a - b)
    this.#processes = places.map(
      (place) =>
        new FleetProcess(
          `p${place}`,
          parts,
          {
            pushes: plan.pushes,
            skewMs: plan.skewMs[place] ?? 0,
            slownessNow: () => (this.#isMended ? 0 : plan.slowness),
            faultOf: (command) => (this.#isMended ? undefined : faults.get(command)),
            isGivenUp: (call) => !this.#isMended && plan.givenUp.includes(call)
          },
          plan.options
        )
    )
  }

  /** A fault may strike a place where nobody is. */
  #at(place: number): FleetProcess | undefined {
    return this.#processes.find(({ name }) => name === `p${place}`)
  }

  async play(): Promise<void> {
    try {
      for (const caller of this.#plan.callers) this.#start(caller)
      void this.#strike(this.#plan.faults)
      const endsAt = this.world.time.nowMs + TROUBLE_MS
      await this.world.run(() => this.#running === 0 || this.world.time.nowMs > endsAt, this.#plan.pace)
      await this.#rest()
      await this.#converge()
    } finally {
      for (const process of this.#processes) process.abandon()
      this.#redis.end()
      await microtasksDone()
      this.#restoreTimers()
    }
    const { violations, trace } = this.world
    if (violations.length === 0) return
    const broken = violations.map(({ invariant, what }) => `${invariant}: ${what}`).join('\n')
    throw new Error(`${broken}\n\nwhat happened:\n${trace.join('\n')}`)
  }

  #start(caller: Caller): void {
    const process = this.#at(caller.process)!
    let isOver = false
    const over = (): void => {
      if (!isOver) this.#running--
      isOver = true
    }
    this.#running++
    process.onDeath.push(over)
    void this.#perform(process, caller.operations).then(over, (error: unknown) => {
      this.world.violated('I6', `a call ended in ${String(error)}`)
      over()
    })
  }

  async #perform(process: FleetProcess, operations: readonly Operation[]): Promise<void> {
    for (const operation of operations) {
      await this.world.step(process, `${process.name} goes on`)
      const startedAt = this.world.time.nowMs
      await this.#one(process, operation)
      const tookMs = this.world.time.nowMs - startedAt
      if (tookMs > LONGEST_CALL_MS && !process.wasStopped)
        this.world.violated('I6', `${operation.do} in ${process.name} took ${tookMs} ms`)
    }
  }

  async #one(process: FleetProcess, operation: Operation): Promise<void> {
    switch (operation.do) {
      case 'get':
        return void (await this.#read(process, [operation.key], async () => [
          await process.read(operation.key)
        ]))
      case 'peek':
        return this.#peek(process, operation.key)
      case 'refresh':
        return void (await this.#read(process, [operation.key], async () => [
          await process.refresh(operation.key)
        ]))
      case 'getMany':
        return void (await this.#read(process, KEYS, async () =>
          (await process.readMany(KEYS)).map((value) => ({ value, source: 'many' }))
        ))
      case 'put':
        return this.#write(process, [operation.key])
      case 'putBoth':
        return this.#write(process, KEYS)
      case 'invalidate':
        return void (await this.#invalidate(process, operation.key))
      case 'change':
      case 'changeAndClear':
      case 'changeAndClearTag':
        return this.#change(process, operation.key, operation.do)
      case 'keep':
        return this.#keep(process, operation.key)
      case 'pause':
        return this.world.sleep(process, operation.ms)
    }
  }

  /** Reads it as often as it takes until memory has it: it is loaded, read from Redis, and then there. */
  async #keep(process: FleetProcess, key: string): Promise<void> {
    for (let left = READS_TO_KEEP; left > 0; left--) {
      const [source] = await this.#read(process, [key], async () => [await process.read(key)])
      if (source === 'memory') return
    }
  }

  /** Answers where the values came from; nothing when it failed, as it may. */
  async #read(
    process: FleetProcess,
    keys: readonly string[],
    read: () => Promise<readonly { value: unknown; source: string }[]>
  ): Promise<readonly string[]> {
    const readings = keys.map((key) => this.#ledger.begin(process.name, key))
    this.world.note(`${process.name}: reads ${keys.join(', ')}`)
    try {
      const lookups = await read()
      for (const [index, { value, source }] of lookups.entries())
        this.#ledger.got(readings[index]!, value as Row | undefined, source)
      return lookups.map(({ source }) => source)
    } catch (error) {
      this.#expected(process, 'read', error)
      return []
    }
  }

  async #peek(process: FleetProcess, key: string): Promise<void> {
    const reading = this.#ledger.begin(process.name, key)
    const found = await process.peek(key)
    if (found !== undefined) this.#ledger.got(reading, found.value as Row, found.source)
  }

  async #write(process: FleetProcess, keys: readonly string[]): Promise<void> {
    this.world.note(`${process.name}: writes ${keys.join(', ')}`)
    const committed = new Map<string, number>()
    try {
      const { outcome } = await process.write(keys, (key, version) => committed.set(key, version))
      this.world.note(`${process.name}: wrote ${keys.join(', ')}: ${outcome}`)
      for (const [key, version] of committed) {
        if (outcome === 'pending') this.#ledger.isOverFor(process.name, key, version)
        else this.#ledger.isOver(process.name, key, version)
      }
    } catch (error) {
      this.#expected(process, 'write', error)
    }
  }

  /** The source is changed past the cache, which is then told, for as long as somebody would try. */
  async #change(
    process: FleetProcess,
    key: string,
    how: 'change' | 'changeAndClear' | 'changeAndClearTag'
  ): Promise<void> {
    const change = await this.#source.change(key, process)
    for (let left = TRIES_TO_INVALIDATE; left > 0; left--) {
      await this.world.step(process, `${process.name} goes on`)
      const outcome =
        how === 'change'
          ? await this.#invalidate(process, key)
          : await this.#clear(process, key, how === 'changeAndClear' ? 'clear' : 'tag')
      if (outcome === 'confirmed') this.#ledger.isTold(key, change)
      if (outcome !== 'failed') return
    }
    change.isGivenUp = true
  }

  async #clear(process: FleetProcess, key: string, how: 'clear' | 'tag'): Promise<'confirmed' | 'failed'> {
    const keys = how === 'tag' ? [key] : KEYS
    const versions = keys.map((one) => [one, this.#ledger.committed(one)] as const)
    this.world.note(`${process.name}: clears ${how === 'tag' ? `the tag of ${key}` : 'everything'}`)
    try {
      await process.clear(how, key)
      for (const [one, version] of versions) this.#ledger.isOver(process.name, one, version)
      this.world.note(`${process.name}: cleared ${keys.join(', ')}`)
      return 'confirmed'
    } catch (error) {
      this.#expected(process, how, error)
      return 'failed'
    }
  }

  async #invalidate(process: FleetProcess, key: string): Promise<'confirmed' | 'pending' | 'failed'> {
    const version = this.#ledger.committed(key)
    this.world.note(`${process.name}: invalidates ${key}`)
    try {
      const outcome = await process.invalidate(key)
      if (outcome === 'pending') this.#ledger.isOverFor(process.name, key, version)
      else this.#ledger.isOver(process.name, key, version)
      this.world.note(`${process.name}: invalidated ${key}: ${outcome}`)
      return outcome
    } catch (error) {
      this.#expected(process, 'invalidate', error)
      return 'failed'
    }
  }

  /** One of Corral's own errors, or the source's, unchanged: everything else is a bug. */
  #expected(process: FleetProcess, what: string, error: unknown): void {
    const { name, message } = error as Error
    this.world.note(`${process.name}: ${what} ended in ${name}: ${message}`)
    if (error instanceof CorralError || error instanceof SourceError) return
    this.world.violated('I6', `${what} ended in ${name}: ${message}`)
  }

  async #strike(faults: readonly Fault[]): Promise<void> {
    for (const fault of faults) {
      if (fault.do === 'pause') {
        await this.world.sleep(undefined, fault.ms)
        continue
      }
      await this.world.step(undefined, fault.do)
      if (this.#isMended) return
      await this.#strikeOnce(fault)
    }
  }

  async #strikeOnce(fault: Exclude<Fault, { do: 'pause' }>): Promise<void> {
    switch (fault.do) {
      case 'flush':
        return this.#redis.forget()
      case 'evict':
        return this.#redis.forget(fault.key)
      case 'outage':
        for (const process of this.#processes) this.#disconnect(process)
        return this.#redis.forget()
      case 'die':
        // One has to live to tell.
        if (this.#processes.filter(({ isDead }) => !isDead).length > 1) this.#at(fault.process)?.die()
        return
      case 'stop':
        return this.#at(fault.process)?.stop()
      case 'goOn':
        return this.#at(fault.process)?.goOn()
      case 'disconnect':
        return this.#disconnect(this.#at(fault.process))
      case 'cutOff':
        return this.#at(fault.process)?.link.cutOff()
    }
  }

  #disconnect(process: FleetProcess | undefined): void {
    if (process === undefined) return
    process.link.disconnect()
    const awayMs = LONGEST_AWAY_MS * this.world.random()
    void this.world.sleep(undefined, awayMs).then(() => process.link.connect())
  }

  /** Nothing is broken any more, and everything that was begun comes to its end. */
  async #rest(): Promise<void> {
    this.world.note('all is well again')
    this.#isMended = true
    this.#source.mend()
    for (const process of this.#processes) {
      process.goOn()
      if (!process.isDead) void process.link.connect()
    }
    await this.world.run(() => this.#running === 0, 0)
    if (this.#running > 0 && this.world.violations.length === 0)
      this.world.violated('I6', `${this.#running} callers wait for ever`)
    let isRested = false
    void this.world.sleep(undefined, REST_MS).then(() => (isRested = true))
    await this.world.run(() => isRested, 0)
  }

  /** What is cached is what the source has, in every process. */
  async #converge(): Promise<void> {
    for (const process of this.#processes) {
      if (process.isDead) continue
      const ways = [() => process.readMany(KEYS)]
      if (this.#plan.options.memory === true)
        ways.push(async () =>
          (await Promise.all(KEYS.map((key) => process.read(key)))).map(({ value }) => value)
        )
      for (const read of ways) {
        const rows = await this.#readAtRest(process, read)
        if (this.world.violations.length > 0) return
        for (const [index, key] of KEYS.entries()) this.#compare(process, key, rows[index])
      }
    }
  }

  async #readAtRest(
    process: FleetProcess,
    read: () => Promise<readonly unknown[]>
  ): Promise<readonly (Row | undefined)[]> {
    let rows: (Row | undefined)[] | undefined
    read().then(
      (values) => {
        rows = values as (Row | undefined)[]
      },
      (error: unknown) => this.world.violated('I6', `at rest a read ended in ${String(error)}`)
    )
    await this.world.run(() => rows !== undefined, 0)
    if (rows === undefined && this.world.violations.length === 0)
      this.world.violated('I6', `at rest a read in ${process.name} does not end`)
    return rows ?? []
  }

  #compare(process: FleetProcess, key: string, row: Row | undefined): void {
    if (row?.version === this.#ledger.committed(key)) return
    if (this.#ledger.mayStayOld(key)) return this.world.count('old at rest, within the stated limits')
    const has = `${process.name} has ${key} v${row?.version} (${row?.by})`
    this.world.violated('convergence, W3', `${has} at rest, the source v${this.#ledger.committed(key)}`)
  }
}
