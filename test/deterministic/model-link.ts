import { RedisUnavailableError } from '../../src/errors.js'
import type { RedisClient } from '../../src/redis/client.js'
import type { LinkState, RedisLink } from '../../src/redis/link.js'
import { ModelClient, type ModelServer, type Network } from './model-client.js'
import type { Process, World } from './world.js'

const COMMAND_TIMEOUT_MS = 100

export interface Wire extends Network {
  /** Whether Redis tells waiters of changes, does not offer to, or offers to and the messages are lost. */
  readonly pushes: 'told' | 'silent' | 'none'
  /** By how much this process is wrong about Redis' clock. */
  readonly skewMs: number
  /** Whether the process gives up on its nth call before there is an answer: what it sent is run all the same. */
  readonly isGivenUp: (call: number) => boolean
}

/** What `RedisLink` is to a store, on the modelled Redis: a deadline on every call, and connections that break and come back. */
export class ModelLink {
  readonly client: ModelClient
  readonly timeoutMs = COMMAND_TIMEOUT_MS
  readonly serverClock: { nowMs(): number; isDue: boolean }
  beforeReady: ((client: RedisClient) => Promise<void>) | undefined
  state: LinkState = 'ready'
  readonly #world: World
  readonly #redis: ModelServer
  readonly #process: Process
  readonly #wire: Wire
  readonly #clients: ModelClient[] = []
  readonly #lostListeners: (() => void)[] = []
  #subscriber: ModelClient | undefined
  #session = 0
  #calls = 0

  constructor(world: World, redis: ModelServer, process: Process, wire: Wire) {
    this.#world = world
    this.#redis = redis
    this.#process = process
    this.#wire = wire
    this.serverClock = { nowMs: () => redis.nowMs() + wire.skewMs, isDue: false }
    this.client = this.#open('')
  }

  /** For the parts that ask for the link itself: of it they use what is here. */
  get asLink(): RedisLink {
    return this as unknown as RedisLink
  }

  callFor<T>(_key: string, action: string, send: (client: RedisClient) => Promise<T>): Promise<T> {
    return this.call(action, send)
  }

  async call<T>(
    action: string,
    send: (client: RedisClient) => Promise<T>,
    onSilence?: () => unknown
  ): Promise<T> {
    if (this.state !== 'ready')
      throw new RedisUnavailableError(action, { cause: new Error('the connection is away') })
    const call = `${this.#process.name} to ${action}`
    const isGivenUp = this.#wire.isGivenUp(this.#calls++)
    return new Promise((resolve, reject) => {
      const end = (what: string): void => {
        reject(new RedisUnavailableError(action, { cause: new Error(what) }))
        onSilence?.()
      }
      const timer = setTimeout(() => end('no answer in time'), COMMAND_TIMEOUT_MS)
      if (isGivenUp)
        void this.#world.step(this.#process, `${call} gives up`).then(() => {
          this.#world.note(`${call} gives up`)
          end('no answer in time')
        })
      send(this.client).then(
        (answer) => {
          clearTimeout(timer)
          resolve(answer)
        },
        (error: unknown) => {
          clearTimeout(timer)
          reject(new RedisUnavailableError(action, { cause: error }))
        }
      )
    })
  }

  onReady(listener: () => void): void {
    listener()
  }

  /** There is one database. */
  assertDatabase(): void {}

  onLost(listener: () => void): void {
    this.#lostListeners.push(listener)
  }

  /** What listens to Corral's own messages. */
  duplicateForChannel(): RedisClient {
    return this.#another()
  }

  /** The subscriber, and then the tracked connection. */
  duplicate(): RedisClient | undefined {
    if (this.#wire.pushes === 'none') return undefined
    const subscriber = this.#subscriber
    const client = this.#another()
    this.#subscriber ??= client
    if (subscriber === undefined) return client
    client.on('tracking', () => {
      const [ofClient, ofSubscriber] = [client.session, subscriber.session]
      const tracked = new Set<string>()
      client.tracker = (key) => {
        if (tracked.has(key)) return
        tracked.add(key)
        this.#redis.onChange(key, (changed) => {
          tracked.delete(key)
          // Of a connection that is gone Redis knows nothing any more.
          if (client.session !== ofClient || client.tracker === undefined) return
          if (this.#wire.pushes !== 'told') return
          const news = changed === null ? null : [Buffer.from(changed)]
          subscriber.tell('__redis__:invalidate', news, ofSubscriber)
        })
      }
    })
    return client
  }

  /** One of the connections beside the shared one goes silent. */
  cutOff(): void {
    const others = this.#clients.filter((client) => client !== this.client)
    others[Math.floor(this.#world.random() * others.length)]?.cutOff()
  }

  #another(): ModelClient {
    const client = this.#open(`, connection ${this.#clients.length}`)
    void this.#world.step(this.#process, `${this.#process.name} connects`).then(() => client.emit('ready'))
    return client
  }

  disconnect(): void {
    if (this.state === 'away') return
    this.state = 'away'
    this.#session++
    this.#world.note(`${this.#process.name}: connection lost`)
    for (const client of this.#clients) client.break()
    for (const tell of this.#lostListeners) tell()
  }

  /** What Redis must be told is told first, and again until it has been. */
  async connect(): Promise<void> {
    if (this.state !== 'away') return
    this.state = 'starting'
    const session = ++this.#session
    for (;;) {
      await this.#world.step(this.#process, `${this.#process.name} connects`)
      if (session !== this.#session) return
      this.client.restore()
      if (await this.#isTold()) break
      if (session !== this.#session) return
      this.client.break()
    }
    if (session !== this.#session) return
    this.state = 'ready'
    this.#world.note(`${this.#process.name}: connected`)
    for (const client of this.#clients) if (client !== this.client) client.restore()
  }

  /** Its process died. */
  break(): void {
    for (const client of this.#clients) client.break()
  }

  #isTold(): Promise<boolean> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => resolve(false), COMMAND_TIMEOUT_MS)
      Promise.resolve(this.beforeReady?.(this.client)).then(
        () => {
          clearTimeout(timer)
          resolve(true)
        },
        () => resolve(false)
      )
    })
  }

  #open(label: string): ModelClient {
    const client = new ModelClient(this.#world, this.#redis, this.#process, this.#wire, label)
    this.#clients.push(client)
    return client
  }
}
