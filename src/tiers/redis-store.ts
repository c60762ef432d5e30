import type { Token } from '../entry.js'
import type { RedisClient } from '../redis/client.js'
import type { Wake } from '../redis/key-listeners.js'
import type { RedisLink } from '../redis/link.js'
import { askForHeaders, ReadBatch, WholeEntries } from '../redis/read-batch.js'
import { ScriptRunner, type ScriptName } from '../redis/scripts.js'
import { WakeUps } from '../redis/wake-ups.js'
import type { EntryStore, LeaseAnswer, LeaseRequest, Publication } from './entry-store.js'
import { FetchedEntry, HEADER_BYTES } from './fetched-entry.js'
import { RecentValues } from './recent-values.js'

const NOTHING = Buffer.alloc(0)

const KEYS_PER_UNLINK = 500
const HEADERS_AT_ONCE = 1_000

const GRANTED = 1
const HELD = 2
const ENTRY = 3
const GUARDED = 5

/** Entries in Redis. */
export class RedisStore implements EntryStore {
  readonly source = 'redis'
  readonly #link: RedisLink
  readonly #whole: ReadBatch<Buffer | null, FetchedEntry>
  readonly #headers: ReadBatch<Buffer, FetchedEntry>
  readonly #recent: RecentValues
  readonly #wakeUps: WakeUps
  readonly #runners = new WeakMap<RedisClient, ScriptRunner>()

  /** @param maxRecentBytes what large values that were read lately may take; 0 keeps none */
  constructor(link: RedisLink, maxRecentBytes: number, onWakeUpFailure: (error: unknown) => void) {
    this.#link = link
    this.#recent = new RecentValues(maxRecentBytes)
    const whole = new WholeEntries(link)
    this.#whole = new ReadBatch({
      ask: (keys) => whole.ask(keys),
      read: (key, bytes) => this.#read(key, bytes),
      most: () => whole.most()
    })
    this.#headers = new ReadBatch({
      ask: (keys) => askForHeaders(link, keys, HEADER_BYTES),
      read: (key, header) => this.#revalidated(key, header),
      most: () => HEADERS_AT_ONCE
    })
    this.#wakeUps = new WakeUps(link, onWakeUpFailure)
  }

  nowMs(): number {
    return this.#link.serverClock.nowMs()
  }

  get pushes(): boolean {
    return this.#wakeUps.trackedClient !== undefined
  }

  read(key: string): Promise<FetchedEntry> {
    return this.#recent.get(key) === undefined ? this.#whole.read(key) : this.#headers.read(key)
  }

  async readMany(keys: readonly string[]): Promise<FetchedEntry[]> {
    if (this.#recent.isEmpty) return this.#whole.readMany(keys)
    const known = keys.filter((key) => this.#recent.get(key) !== undefined)
    if (known.length === 0) return this.#whole.readMany(keys)
    const knownKeys = new Set(known)
    const others = keys.filter((key) => !knownKeys.has(key))
    const found = (await Promise.all([this.#headers.readMany(known), this.#whole.readMany(others)])).flat()
    const byKey = new Map(found.map((fetched) => [fetched.key, fetched]))
    return keys.map((key) => byKey.get(key)!)
  }

  #read(key: string, bytes: Buffer | null): FetchedEntry {
    const fetched = new FetchedEntry(key, bytes)
    this.#recent.noteRead(fetched)
    return fetched
  }

  /** What stands under a key whose value was read whole before, by its first bytes. */
  #revalidated(key: string, header: Buffer): FetchedEntry | Promise<FetchedEntry> {
    const again = this.#recent.get(key)?.revalidated(header)
    if (again !== undefined) return again
    this.#recent.forget(key)
    // Nothing, or something as short as a lease: that was all of it.
    if (header.length < HEADER_BYTES) return new FetchedEntry(key, header.length === 0 ? null : header)
    return this.#whole.read(key)
  }

  async takeLease({ key, token, leaseMs, seen, force }: LeaseRequest): Promise<LeaseAnswer> {
    const args = [token, leaseMs, seen ?? NOTHING, force ? '1' : '']
    const reply = await this.#runTracked('take a lease', 'take-lease', key, args)
    const [kind, detail, stands] = reply as [kind: number, detail: unknown, stands: number]
    const [leftMs, seenStands] = [Math.max(0, Number(detail)), stands === 1]
    switch (kind) {
      case GRANTED:
        return { kind: 'granted', seenStands }
      case HELD:
        return { kind: 'held', leftMs, by: 'loader', seenStands }
      case GUARDED:
        return { kind: 'held', leftMs, by: 'writer', seenStands }
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

  async guard(key: string, token: Token, lifeMs: number, renewal: boolean): Promise<boolean> {
    return (await this.#run('guard an entry', 'guard-entry', key, [token, lifeMs, renewal ? '1' : ''])) === 1
  }

  async publish(
    key: string,
    token: Token,
    { frame, lifeMs, version, unknown }: Publication
  ): Promise<boolean> {
    const args = [token, frame ?? NOTHING, lifeMs, version ?? '', unknown ? '1' : '']
    return (await this.#run('publish a write', 'publish-entry', key, args)) === 1
  }

  async set(key: string, frame: Buffer, lifeMs: number): Promise<boolean> {
    return (await this.#run('store a value', 'set-entry', key, [frame, lifeMs])) === 1
  }

  drop(keys: readonly string[]): Promise<number> {
    return this.#link.call('drop entries', (client) => unlink(client, keys))
  }

  beforeUse(tell: (drop: (keys: readonly string[]) => Promise<unknown>) => Promise<void>): void {
    this.#link.beforeReady = (client) => tell((keys) => unlink(client, keys))
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
    const call = (): Promise<unknown> => this.#runnerOf(tracked).run(script, key, args)
    try {
      return await this.#link.call(action, call, () => this.#wakeUps.distrust())
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
    args: (string | number | Buffer)[]
  ): Promise<unknown> {
    return this.#link.call(action, (client) => this.#runnerOf(client).run(script, key, args))
  }

  #runnerOf(client: RedisClient): ScriptRunner {
    const known = this.#runners.get(client)
    if (known !== undefined) return known
    const runner = new ScriptRunner(client)
    this.#runners.set(client, runner)
    return runner
  }
}

/** Not DEL: a large value is freed in the background. Both pass when Redis is full, and both void every lease. */
async function unlink(client: RedisClient, keys: readonly string[]): Promise<number> {
  // One command with keys of several slots is refused by a Cluster; one with very many keys holds up everybody else.
  const size = client.isCluster ? 1 : KEYS_PER_UNLINK
  const pages: Promise<number>[] = []
  for (let at = 0; at < keys.length; at += size) pages.push(client.unlink(...keys.slice(at, at + size)))
  return (await Promise.all(pages)).reduce((sum, dropped) => sum + dropped, 0)
}
