import { Redis } from 'ioredis'

/** What Redis itself says of the work that it was given. */
export interface RedisWork {
  /** Commands that clients sent. */
  readonly commands: number
  /** Keys that were looked up for reading. */
  readonly keysRead: number
  readonly bytesSent: number
}

const OWN_COMMANDS = new Set(['config|resetstat', 'info', 'ping'])

/** Counts over a connection of its own; what that sends is left out. */
export class RedisMeter {
  readonly #redis: Redis

  constructor(url: string) {
    this.#redis = new Redis(url)
  }

  async version(): Promise<string> {
    return this.#field(await this.#redis.info('server'), 'redis_version')
  }

  async empty(): Promise<void> {
    await this.#redis.flushall()
  }

  async begin(): Promise<void> {
    await this.#redis.config('RESETSTAT')
  }

  async end(): Promise<RedisWork> {
    const stats = await this.#redis.info('stats')
    const commandStats = await this.#redis.info('commandstats')
    let commands = 0
    for (const [, name, calls] of commandStats.matchAll(/^cmdstat_(\S+?):calls=(\d+)/gm)) {
      if (!OWN_COMMANDS.has(name!)) commands += Number(calls)
    }
    const keysRead =
      Number(this.#field(stats, 'keyspace_hits')) + Number(this.#field(stats, 'keyspace_misses'))
    return { commands, keysRead, bytesSent: Number(this.#field(stats, 'total_net_output_bytes')) }
  }

  close(): void {
    this.#redis.disconnect()
  }

  #field(text: string, name: string): string {
    return new RegExp(`^${name}:(.*)$`, 'm').exec(text)?.[1]?.trim() ?? ''
  }
}

/** Who sent how many commands, as MONITOR shows them; what scripts do inside Redis is not sent by anybody. */
export class CommandWatch {
  readonly #admin: Redis
  readonly #monitor: Redis
  readonly #userOf = new Map<string, string>()
  #sentFrom: string[] = []

  private constructor(admin: Redis, monitor: Redis) {
    this.#admin = admin
    this.#monitor = monitor
    monitor.on('monitor', (_time: string, _args: string[], source: string) => this.#sentFrom.push(source))
  }

  /** To be called while nobody is connected: ioredis takes what it is shown before it knows that it watches for an error. */
  static async start(url: string): Promise<CommandWatch> {
    const admin = new Redis(url)
    return new CommandWatch(admin, await admin.monitor())
  }

  /** Each process logs in as a user of its own: an address alone would not tell whose it is. */
  async addUser(user: string): Promise<void> {
    await this.#admin.call('ACL', 'SETUSER', user, 'on', '>x', 'allkeys', 'allchannels', '+@all')
  }

  static urlOf(url: string, user: string): string {
    return url.replace('redis://', `redis://${user}:x@`)
  }

  async begin(): Promise<void> {
    const list = String(await this.#admin.call('CLIENT', 'LIST'))
    this.#userOf.clear()
    for (const [, address, user] of list.matchAll(/ addr=(\S+) .* user=(\S+)/g))
      this.#userOf.set(address!, user!)
    this.#sentFrom = []
  }

  /** For each of these in turn. */
  async end(users: readonly string[]): Promise<number[]> {
    // Redis shows our own command on the other connection, after all that came before it.
    const marker = `end ${Math.random()}`
    const seen = new Promise<void>((resolve) => {
      const onCommand = (_time: string, args: string[]): void => {
        if (args[1] !== marker) return
        this.#monitor.off('monitor', onCommand)
        resolve()
      }
      this.#monitor.on('monitor', onCommand)
    })
    await this.#admin.call('ECHO', marker)
    await seen
    const counts = new Map(users.map((user) => [user, 0]))
    for (const source of this.#sentFrom) {
      const user = this.#userOf.get(source)
      if (user !== undefined && counts.has(user)) counts.set(user, counts.get(user)! + 1)
    }
    return users.map((user) => counts.get(user)!)
  }

  close(): void {
    this.#monitor.disconnect()
    this.#admin.disconnect()
  }
}
