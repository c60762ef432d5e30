import { createHash } from 'node:crypto'
import type { RedisClient, RedisPipeline } from '../../src/redis/client.js'
import { LUA } from '../../src/redis/lua.generated.js'
import type { Process, World } from './world.js'

export type ScriptArgument = string | number | Buffer

/** What stands behind the connections of the modelled fleet. */
export interface ModelServer {
  /** Numbers the commands of the whole fleet, for faults that strike one of them. */
  nextCommand(): number
  nowMs(): number
  mget(keys: readonly string[]): Promise<(Buffer | null)[]>
  drop(keys: readonly string[]): Promise<number>
  setPlain(key: string, value: string): 'OK'
  /** As the script of that name would; its arguments and its answer. */
  run(script: string, keys: readonly string[], args: readonly ScriptArgument[]): Promise<unknown>
  subscribe(channel: string, hear: (message: string) => void): void
  /** Calls once, at the next change of the key; with null when everything is gone. */
  onChange(key: string, tell: (changed: string | null) => void): void
}

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
  readonly #redis: ModelServer
  readonly #process: Process
  readonly #network: Network
  readonly #label: string
  readonly #listeners = new Map<string, Listener[]>()
  readonly #rejects = new Set<(error: Error) => void>()
  readonly #waiting = new Set<{ isLost: boolean }>()
  #requests: Promise<void> = Promise.resolve()
  #replies: Promise<void> = Promise.resolve()
  #session = 0
  /** Told of each key that is read over this connection, once tracking is on. */
  tracker: ((key: string) => void) | undefined
  /** Its end at Redis is gone, and this one has not noticed. */
  #isCutOff = false

  constructor(world: World, redis: ModelServer, process: Process, network: Network, label: string) {
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
    this.#isCutOff = false
    let received = Math.floor(this.#world.random() * (this.#waiting.size + 1))
    for (const command of this.#waiting) command.isLost = received-- <= 0
    this.#requests = Promise.resolve()
    this.#replies = Promise.resolve()
    for (const reject of this.#rejects) reject(new Error('connection lost'))
    this.#rejects.clear()
    this.emit('close')
  }

  /** From now on nothing passes either way, and nobody is told; Redis forgets what was tracked for it. */
  cutOff(): void {
    if (this.status !== 'ready') return
    this.#isCutOff = true
    this.tracker = undefined
    this.#world.note(`${this.#label}: cut off without a word`)
  }

  /** Which of its connections this is, as Redis counts them. */
  get session(): number {
    return this.#session
  }

  /** A message from Redis, behind what it has sent before over this connection. Lost with the connection. */
  tell(channel: string, message: unknown, session: number): void {
    if (session !== this.#session) return
    this.#reply(() => {
      if (session !== this.#session) return
      this.#world.note(`${this.#label} is told of ${String(message)}`)
      this.emit('messageBuffer', channel, message)
    })
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
    return this.#send(async () => {
      for (const key of keys) this.tracker?.(key)
      return this.#redis.mget(keys)
    })
  }

  async getBuffer(key: string): Promise<Buffer | null> {
    return (await this.mgetBuffer([key]))[0] ?? null
  }

  evalshaBuffer(...[sha, count, ...rest]: ScriptArgument[]): Promise<unknown> {
    const track = this.tracker
    const keys = rest.slice(0, Number(count)).map(String)
    const key = keys[0]
    return this.#send(async () => {
      const reply = await this.#redis.run(NAMES.get(String(sha))!, keys, rest.slice(keys.length))
      track?.(String(key))
      return reply
    })
  }

  unlink(...keys: string[]): Promise<number> {
    return this.#send(() => this.#redis.drop(keys))
  }

  /** `CLIENT ID` and `CLIENT TRACKING`: what tells of changes; and dead letters, which are not modelled. Of itself this server tells nothing, and keys live for ever. */
  call(command: string, ...args: (string | number)[]): Promise<unknown> {
    return this.#send(async () => {
      if (command === 'HKEYS') return []
      if (args[0] === 'TRACKING') this.emit('tracking')
      return `${command} ${args[0]}` === 'CLIENT ID' ? 1 : 'OK'
    })
  }

  subscribe(channel: string): Promise<unknown> {
    return this.#send(async () => {
      const session = this.#session
      this.#redis.subscribe(channel, (message) => this.tell(channel, Buffer.from(message), session))
      return 'OK'
    })
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

  set(key: string, value: string, ...options: (string | number)[]): Promise<unknown> {
    return this.#send(async () => {
      const [before] = options.includes('NX') ? await this.#redis.mget([key]) : [null]
      return before === null ? this.#redis.setPlain(key, value) : null
    })
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
        if (command.isLost || this.#isCutOff) return
        const reply = fault === 'refused' ? undefined : await run()
        if (fault === 'reply-lost') return this.#world.note(`${this.#label}: that reply is lost`)
        this.#reply(() => {
          if (session !== this.#session) return
          this.#rejects.delete(reject)
          if (fault === 'refused') reject(new Refusal('LOADING Redis is loading the dataset in memory'))
          else resolve(reply as T)
        })
      })
    })
  }

  #reply(deliver: () => void): void {
    this.#replies = this.#replies.then(async () => {
      await this.#delay()
      await this.#world.step(this.#process, `${this.#label} reads a reply`)
      if (!this.#isCutOff) deliver()
    })
  }

  async #delay(): Promise<void> {
    if (this.#world.random() >= this.#network.slownessNow()) return
    await this.#world.sleep(undefined, SLOWEST_MS * this.#world.random())
  }
}

/** As the driver gives what Redis answers with. */
class Refusal extends Error {
  override name = 'ReplyError'
}

function notModelled(command: string): () => never {
  return () => {
    throw new Error(`The modelled Redis has no ${command}`)
  }
}
