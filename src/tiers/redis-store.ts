import type { Token } from '../entry.js'
import type { RedisClient } from '../redis/client.js'
import type { Wake } from '../redis/key-listeners.js'
import type { RedisLink } from '../redis/link.js'
import { ReadBatch } from '../redis/read-batch.js'
import { ScriptRunner, type ScriptName } from '../redis/scripts.js'
import { WakeUps } from '../redis/wake-ups.js'
import type { EntryStore, LeaseAnswer, LeaseRequest } from './entry-store.js'
import { FetchedEntry } from './fetched-entry.js'

const NOTHING_SEEN = Buffer.alloc(0)

const GRANTED = 1
const HELD = 2
const ENTRY = 3

/** Entries in Redis. */
export class RedisStore implements EntryStore {
  readonly source = 'redis'
  readonly #link: RedisLink
  readonly #reads: ReadBatch<FetchedEntry>
  readonly #wakeUps: WakeUps
  readonly #runners = new WeakMap<RedisClient, ScriptRunner>()

  constructor(link: RedisLink, onWakeUpFailure: (error: unknown) => void) {
    this.#link = link
    this.#reads = new ReadBatch(link, (key, bytes) => new FetchedEntry(key, bytes))
    this.#wakeUps = new WakeUps(link, onWakeUpFailure)
  }

  nowMs(): number {
    return this.#link.serverClock.nowMs()
  }

  get pushes(): boolean {
    return this.#wakeUps.trackedClient !== undefined
  }

  read(key: string): Promise<FetchedEntry> {
    return this.#reads.read(key)
  }

  readMany(keys: readonly string[]): Promise<FetchedEntry[]> {
    return this.#reads.readMany(keys)
  }

  async takeLease({ key, token, leaseMs, seen, force }: LeaseRequest): Promise<LeaseAnswer> {
    const args = [token, leaseMs, seen ?? NOTHING_SEEN, force ? '1' : '']
    const [kind, detail] = (await this.#runTracked('take a lease', 'take-lease', key, args)) as [
      number,
      unknown
    ]
    switch (kind) {
      case GRANTED:
        return { kind: 'granted' }
      case HELD:
        return { kind: 'held', leftMs: Math.max(0, Number(detail)) }
      case ENTRY:
        return { kind: 'entry', fetched: new FetchedEntry(key, detail as Buffer) }
      default:
        return { kind: 'foreign' }
    }
  }

  async renewLease(key: string, token: Token, leaseMs: number): Promise<boolean> {
    return (await this.#run('renew a lease', 'renew-lease', key, [token, leaseMs])) === 1
  }

  async fill(key: string, token: Token, frame: Buffer, lifeMs: number): Promise<boolean> {
    return (await this.#run('store a value', 'fill-entry', key, [token, frame, lifeMs])) === 1
  }

  async fail(key: string, token: Token, frame: Buffer, lifeMs: number): Promise<boolean> {
    return (await this.#run('note a failed load', 'fail-load', key, [token, frame, lifeMs])) === 1
  }

  async release(key: string, token: Token): Promise<boolean> {
    return (await this.#run('release a lease', 'release-lease', key, [token])) === 1
  }

  async drop(keys: readonly string[]): Promise<number> {
    const dropped = await this.#link.call('drop entries', async (client) =>
      // UNLINK of several keys is refused by a Cluster when they are in several slots.
      client.isCluster
        ? (await Promise.all(keys.map((key) => client.unlink(key)))).reduce((sum, one) => sum + one, 0)
        : client.unlink(...keys)
    )
    return dropped
  }

  listen(key: string): Wake {
    return this.#wakeUps.listen(key)
  }

  async close(): Promise<void> {
    this.#wakeUps.close()
    await this.#link.close()
  }

  /** Over the tracked connection when there is one, so that "held" also means "you will be told". */
  async #runTracked(
    action: string,
    script: ScriptName,
    key: string,
    args: (string | number | Buffer)[]
  ): Promise<unknown> {
    const tracked = this.#wakeUps.trackedClient
    if (tracked === undefined) return this.#run(action, script, key, args)
    try {
      return await this.#run(action, script, key, args, tracked)
    } catch (error) {
      // The pair was lost with the call on it; the other connection may be well, and asking again is harmless.
      if (this.#wakeUps.trackedClient === tracked || this.#link.state !== 'ready') throw error
      return this.#run(action, script, key, args)
    }
  }

  #run(
    action: string,
    script: ScriptName,
    key: string,
    args: (string | number | Buffer)[],
    client = this.#link.client
  ): Promise<unknown> {
    return this.#link.call(action, () => this.#runnerOf(client).run(script, key, args))
  }

  #runnerOf(client: RedisClient): ScriptRunner {
    const known = this.#runners.get(client)
    if (known !== undefined) return known
    const runner = new ScriptRunner(client)
    this.#runners.set(client, runner)
    return runner
  }
}
