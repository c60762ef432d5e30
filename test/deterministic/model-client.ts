import { createHash } from 'node:crypto'
import type { RedisClient, RedisPipeline } from '../../src/redis/client.js'
import { LUA } from '../../src/redis/lua.generated.js'
import type { ModelRedis, ScriptArgument } from './model-redis.js'
import type { Process, World } from './world.js'

/** What goes wrong with one command. `refused`: Redis answers with an error, as while it loads its data. */
export type CommandFault = 'reply-lost' | 'refused'

export interface Network {
  /** How likely a request, or a reply, takes its time. */
  readonly slownessNow: () => number
  readonly faultOf: (command: number) => CommandFault | undefined
}

/** Up to most of a deadline; whatever else can happen happens first. */
const SLOWEST_MS = 70

const NAMES = new Map(
  Object.entries(LUA).map(([name, text]) => [createHash('sha1').update(text).digest('hex'), name])
)

type Listener = (...args: never[]) => void

/**
 * One connection as the driver gives it, on the modelled Redis. Redis runs its commands in order, each at a moment of its
 * own, and their replies come back in order. When it breaks, what Redis had received is still run, some of it or all.
 */
export class ModelClient implements RedisClient {
  readonly isCluster = false
  readonly options = {}
  status = 'ready'
  readonly #world: World
  readonly #redis: ModelRedis
  readonly #process: Process
  readonly #network: Network
  readonly #label: string
  readonly #listeners = new Map<string, Listener[]>()
  readonly #rejects = new Set<(error: Error) => void>()
  readonly #waiting = new Set<{ isLost: boolean }>()
  #requests: Promise<void> = Promise.resolve()
  #replies: Promise<void> = Promise.resolve()
  #session = 0
  /** Told of each key that a script reads over this connection, once tracking is on. */
  tracker: ((key: string) => void) | undefined

  constructor(world: World, redis: ModelRedis, process: Process, network: Network, label: string) {
    this.#world = world
    this.#redis = redis
    this.#process = process
    this.#network = network
    this.#label = `${process.name}${label}`
  }

  on(event: string, listener: Listener): void {
    this.#listeners.set(event, [...(this.#listeners.get(event) ?? []), listener])
  }

  off(event: string, listener: Listener): void {
    this.#listeners.set(
      event,
      (this.#listeners.get(event) ?? []).filter((one) => one !== listener)
    )
  }

  emit(event: string, ...args: unknown[]): void {
    for (const listener of this.#listeners.get(event) ?? [])
      (listener as (...all: unknown[]) => void)(...args)
  }

  /** The connection breaks. */
  break(): void {
    this.status = 'close'
    this.#session++
    this.tracker = undefined
    let received = Math.floor(this.#world.random() * (this.#waiting.size + 1))
    for (const command of this.#waiting) command.isLost = received-- <= 0
    this.#requests = Promise.resolve()
    this.#replies = Promise.resolve()
    for (const reject of this.#rejects) reject(new Error('connection lost'))
    this.#rejects.clear()
    this.emit('close')
  }

  restore(): void {
    this.status = 'ready'
    this.emit('ready')
  }

  disconnect(reconnect = false): void {
    this.break()
    if (reconnect) void this.#world.step(this.#process, `${this.#label} connects`).then(() => this.restore())
  }

  mgetBuffer(keys: readonly string[]): Promise<(Buffer | null)[]> {
    return this.#send(() => this.#redis.mget(keys))
  }

  async getBuffer(key: string): Promise<Buffer | null> {
    return (await this.mgetBuffer([key]))[0] ?? null
  }

  evalshaBuffer(...[sha, , key, ...args]: ScriptArgument[]): Promise<unknown> {
    const track = this.tracker
    return this.#send(async () => {
      const reply = await this.#redis.run(NAMES.get(String(sha))!, String(key), args)
      track?.(String(key))
      return reply
    })
  }

  unlink(...keys: string[]): Promise<number> {
    return this.#send(() => this.#redis.drop(keys))
  }

  /** `CLIENT ID` and `CLIENT TRACKING`: what tells waiters of changes. */
  call(command: string, ...args: (string | number)[]): Promise<unknown> {
    return this.#send(async () => {
      if (args[0] === 'TRACKING') this.emit('tracking')
      return `${command} ${args[0]}` === 'CLIENT ID' ? 1 : 'OK'
    })
  }

  async subscribe(): Promise<unknown> {
    return this.#send(async () => 'OK')
  }

  pipeline(): RedisPipeline {
    const replies: Promise<[Error | null, unknown]>[] = []
    const pipeline: RedisPipeline = {
      evalshaBuffer: (...args) => {
        replies.push(
          this.evalshaBuffer(...args).then(
            (reply): [null, unknown] => [null, reply],
            (error: unknown): [Error, undefined] => [error as Error, undefined]
          )
        )
        return pipeline
      },
      exec: () => Promise.all(replies)
    }
    return pipeline
  }

  /** Carries anything that was told before it. */
  ping(): Promise<unknown> {
    return this.#send(async () => 'PONG')
  }

  set(): Promise<unknown> {
    return this.#send(async () => 'OK')
  }

  getrangeBuffer = notModelled('GETRANGE')
  evalBuffer = notModelled('EVAL')
  time = notModelled('TIME')
  connect = notModelled('connect')
  quit = notModelled('QUIT')
  strlen = notModelled('STRLEN')
  scan = notModelled('SCAN')
  nodes = (): never[] => []

  #send<T>(run: () => Promise<T>): Promise<T> {
    if (this.status !== 'ready') return Promise.reject(new Error('not connected'))
    const fault = this.#network.faultOf(this.#redis.nextCommand())
    const session = this.#session
    const command = { isLost: false }
    this.#waiting.add(command)
    return new Promise((resolve, reject) => {
      this.#rejects.add(reject)
      this.#requests = this.#requests.then(async () => {
        await this.#delay()
        // Not a step of the process: what is in Redis' socket is run even when its sender is dead.
        await this.#world.step(undefined, `redis runs a command of ${this.#label}`)
        this.#waiting.delete(command)
        if (command.isLost) return
        const reply = fault === 'refused' ? undefined : await run()
        if (fault === 'reply-lost') return this.#world.note(`${this.#label}: that reply is lost`)
        this.#reply(() => {
          if (session !== this.#session) return
          this.#rejects.delete(reject)
          if (fault === 'refused') reject(new Error('LOADING Redis is loading the dataset in memory'))
          else resolve(reply as T)
        })
      })
    })
  }

  #reply(deliver: () => void): void {
    this.#replies = this.#replies.then(async () => {
      await this.#delay()
      await this.#world.step(this.#process, `${this.#label} reads a reply`)
      deliver()
    })
  }

  async #delay(): Promise<void> {
    if (this.#world.random() >= this.#network.slownessNow()) return
    await this.#world.sleep(undefined, SLOWEST_MS * this.#world.random())
  }
}

function notModelled(command: string): () => never {
  return () => {
    throw new Error(`The modelled Redis has no ${command}`)
  }
}
