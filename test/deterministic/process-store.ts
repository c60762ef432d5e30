import { RedisUnavailableError } from '../../src/errors.js'
import type { Token } from '../../src/entry.js'
import { KeyListeners, type Wake } from '../../src/redis/key-listeners.js'
import { ReadBatch } from '../../src/redis/read-batch.js'
import type { EntryStore, LeaseAnswer, LeaseRequest, Publication } from '../../src/tiers/entry-store.js'
import type { FetchedEntry } from '../../src/tiers/fetched-entry.js'
import type { ModelRedis } from './model-redis.js'
import type { Process, World } from './world.js'

export const COMMAND_TIMEOUT_MS = 100

/** Up to most of a deadline; whatever else can happen happens first. */
const SLOWEST_MS = 70

/**
 * What goes wrong with one command. `gives-up`: the process does not wait for the answer, and the command runs all the same;
 * `refused`: Redis answers with an error, as while it loads its data or has become a replica.
 */
export type CallFault = 'reply-lost' | 'gives-up' | 'refused'

export interface Wire {
  /** Whether Redis tells waiters of changes, does not offer to, or offers to and the messages are lost. */
  readonly pushes: 'told' | 'silent' | 'none'
  /** By how much this process is wrong about Redis' clock. */
  readonly skewMs: number
  /** How likely a request, or a reply, takes its time. */
  readonly slowness: number
  readonly faultOf: (call: number) => CallFault | undefined
  readonly onGrant: (key: string, token: Token) => void
}

interface Call {
  readonly reject: (error: Error) => void
}

/** Commands of one connection: Redis runs them in order, and their replies come back in order. */
class Lane {
  readonly #world: World
  readonly #label: string
  readonly #waiting = new Set<{ isLost: boolean }>()
  #requests: Promise<void> = Promise.resolve()
  #replies: Promise<void> = Promise.resolve()

  constructor(world: World, label: string) {
    this.#world = world
    this.#label = label
  }

  send(run: () => Promise<void>, delayMs: number): void {
    const command = { isLost: false }
    this.#waiting.add(command)
    this.#requests = this.#requests.then(async () => {
      if (delayMs > 0) await this.#world.sleep(undefined, delayMs)
      // Not a step of the process: what is in Redis' socket is run even when its sender is dead.
      await this.#world.step(undefined, `redis runs a command of ${this.#label}`)
      this.#waiting.delete(command)
      if (!command.isLost) await run()
    })
  }

  reply(to: Process, deliver: () => void, delayMs: number): void {
    this.#replies = this.#replies.then(async () => {
      if (delayMs > 0) await this.#world.sleep(undefined, delayMs)
      await this.#world.step(to, `${to.name} reads a reply`)
      deliver()
    })
  }

  /** The connection is gone. What Redis has received already, some of it or all, it still runs. */
  cut(): void {
    let received = Math.floor(this.#world.random() * (this.#waiting.size + 1))
    for (const command of this.#waiting) command.isLost = received-- <= 0
  }
}

/**
 * What `RedisStore` is to a process, on the modelled Redis: each command runs at a moment of its own and its reply comes at a
 * later one, both within a deadline; connections break, and what was sent over them may run late or never.
 */
export class ProcessStore implements EntryStore {
  readonly source = 'redis'
  readonly #world: World
  readonly #redis: ModelRedis
  readonly #process: Process
  readonly #wire: Wire
  readonly #listeners = new KeyListeners()
  readonly #reads: ReadBatch<FetchedEntry, FetchedEntry>
  readonly #inFlight = new Set<Call>()
  #main: Lane
  #tracked: Lane
  #state: 'ready' | 'away' | 'connecting' = 'ready'
  #session = 0
  #tell: ((drop: (keys: readonly string[]) => Promise<unknown>) => Promise<void>) | undefined

  constructor(world: World, redis: ModelRedis, process: Process, wire: Wire) {
    this.#world = world
    this.#redis = redis
    this.#process = process
    this.#wire = wire
    this.#main = new Lane(world, process.name)
    this.#tracked = new Lane(world, `${process.name}, tracked`)
    this.#reads = new ReadBatch({
      ask: (keys) => this.#call('read entries', () => redis.readMany(keys)),
      read: (_key, fetched) => fetched,
      most: () => 100
    })
  }

  nowMs(): number {
    return this.#redis.nowMs() + this.#wire.skewMs
  }

  get pushes(): boolean {
    return this.#state === 'ready' && this.#wire.pushes !== 'none'
  }

  get isAway(): boolean {
    return this.#state !== 'ready'
  }

  read(key: string): Promise<FetchedEntry> {
    return this.#reads.read(key)
  }

  readMany(keys: readonly string[]): Promise<FetchedEntry[]> {
    return this.#reads.readMany(keys)
  }

  async takeLease(request: LeaseRequest): Promise<LeaseAnswer> {
    const push = this.pushes ? (): void => this.#push(request.key) : undefined
    const answer = await this.#call(
      'take a lease',
      () => this.#redis.takeLease(request, push),
      push === undefined ? this.#main : this.#tracked
    )
    if (answer.kind === 'granted') this.#wire.onGrant(request.key, request.token)
    return answer
  }

  renewLease(key: string, token: Token, leaseMs: number): Promise<boolean> {
    return this.#call('renew a lease', () => this.#redis.renewLease(key, token, leaseMs))
  }
  fill(key: string, token: Token, frame: Buffer, lifeMs: number): Promise<boolean> {
    return this.#call('store a value', () => this.#redis.fill(key, token, frame, lifeMs))
  }
  fail(key: string, token: Token, frame: Buffer, lifeMs: number): Promise<boolean> {
    return this.#call('note a failed load', () => this.#redis.fail(key, token, frame, lifeMs))
  }
  release(key: string, token: Token): Promise<boolean> {
    return this.#call('release a lease', () => this.#redis.release(key, token))
  }
  guard(key: string, token: Token, lifeMs: number, renewal: boolean): Promise<boolean> {
    return this.#call('guard an entry', () => this.#redis.guard(key, token, lifeMs, renewal))
  }
  publish(key: string, token: Token, written: Publication): Promise<boolean> {
    return this.#call('publish a write', () => this.#redis.publish(key, token, written))
  }
  set(key: string, frame: Buffer, lifeMs: number): Promise<boolean> {
    return this.#call('store a value', () => this.#redis.set(key, frame, lifeMs))
  }
  drop(keys: readonly string[]): Promise<number> {
    return this.#call('drop entries', () => this.#redis.drop(keys))
  }

  listen(key: string): Wake {
    return this.#listeners.listen(key)
  }

  beforeUse(tell: (drop: (keys: readonly string[]) => Promise<unknown>) => Promise<void>): void {
    this.#tell = tell
  }

  async close(): Promise<void> {}

  /** The connections break: calls under way get no answer, new ones fail at once. */
  disconnect(): void {
    if (this.#state === 'away') return
    this.#state = 'away'
    this.#session++
    this.#world.note(`${this.#process.name}: connection lost`)
    this.#main.cut()
    this.#tracked.cut()
    for (const { reject } of this.#inFlight) reject(new Error('connection lost'))
    this.#inFlight.clear()
    this.#listeners.wakeAll()
  }

  /** New connections; what Redis must be told is told first, and again until it has been. */
  async connect(): Promise<void> {
    if (this.#state !== 'away') return
    this.#state = 'connecting'
    const session = ++this.#session
    this.#main = new Lane(this.#world, this.#process.name)
    this.#tracked = new Lane(this.#world, `${this.#process.name}, tracked`)
    for (;;) {
      await this.#world.step(this.#process, `${this.#process.name} connects`)
      if (session !== this.#session) return
      try {
        await this.#tell?.((keys) => this.#send('drop entries', () => this.#redis.drop(keys), this.#main))
        if (session === this.#session) this.#state = 'ready'
        this.#world.note(`${this.#process.name}: connected`)
        return
      } catch (error) {
        if (!(error instanceof RedisUnavailableError)) throw error
      }
    }
  }

  /** Its process died. */
  cut(): void {
    this.#main.cut()
    this.#tracked.cut()
  }

  #call<T>(action: string, run: () => Promise<T>, lane = this.#main): Promise<T> {
    if (this.#state !== 'ready') return Promise.reject(new RedisUnavailableError(action))
    return this.#send(action, run, lane)
  }

  #send<T>(action: string, run: () => Promise<T>, lane: Lane): Promise<T> {
    const fault = this.#wire.faultOf(this.#redis.nextCall())
    return new Promise((resolve, reject) => {
      const end = (): void => {
        clearTimeout(timer)
        this.#inFlight.delete(call)
      }
      const call: Call = {
        reject: (cause) => {
          end()
          reject(new RedisUnavailableError(action, { cause }))
        }
      }
      const timer = setTimeout(() => call.reject(new Error('no answer in time')), COMMAND_TIMEOUT_MS)
      this.#inFlight.add(call)
      const session = this.#session
      const execute = async (): Promise<void> => {
        const answer = fault === 'refused' ? undefined : await run()
        if (fault === 'reply-lost') return this.#world.note(`${this.#process.name}: that reply is lost`)
        const deliver = (): void => {
          if (session !== this.#session) return
          if (fault === 'refused') return call.reject(new Error('-LOADING'))
          end()
          resolve(answer as T)
        }
        lane.reply(this.#process, deliver, this.#delayMs())
      }
      lane.send(execute, this.#delayMs())
      if (fault !== 'gives-up') return
      void this.#world.step(this.#process, `${this.#process.name} gives up`).then(() => {
        if (this.#inFlight.has(call)) this.#world.note(`${this.#process.name}: gives up to ${action}`)
        call.reject(new Error('no answer in time'))
      })
    })
  }

  #delayMs(): number {
    return this.#world.random() < this.#wire.slowness ? SLOWEST_MS * this.#world.random() : 0
  }

  #push(key: string): void {
    if (this.#wire.pushes !== 'told') return
    const session = this.#session
    void this.#world.step(this.#process, `${this.#process.name} is told of ${key}`).then(() => {
      if (session === this.#session) this.#listeners.wake(key)
    })
  }
}
