import { BehindEntries } from '../../src/behind/entries.js'
import { Queue } from '../../src/behind/queue.js'
import type { Readiness } from '../../src/behind/readiness.js'
import type { Outgoing } from '../../src/behind/record.js'
import { BehindWorker } from '../../src/behind/worker.js'
import { resolveBehind } from '../../src/behind-options.js'
import { newToken } from '../../src/codec/frame-head.js'
import { valueFrame } from '../../src/codec/frame.js'
import { RedisUnavailableError } from '../../src/errors.js'
import { Events } from '../../src/events.js'
import { behindKey, shardOfKey } from '../../src/keys/key-schema.js'
import { shaOf, type ScriptName } from '../../src/redis/scripts.js'
import { ShardStreams } from '../../src/redis/shard-stream.js'
import { newBehindStats } from '../../src/stats.js'
import type { EntryStore } from '../../src/tiers/entry-store.js'
import { FetchedEntry } from '../../src/tiers/fetched-entry.js'
import { Scope } from '../../src/tiers/generation.js'
import type { ReadRequest } from '../../src/tiers/request.js'
import { COUNTER } from './behind-ledger.js'
import type { ModelServer, ScriptArgument } from './model-client.js'
import type { ModelDatabase } from './model-database.js'
import { encoded, type Shown } from './model-entries.js'
import { ModelLink, type Wire } from './model-link.js'
import { plainCodec } from './model-redis.js'
import { Process, type World } from './world.js'

const WRITE_TIMEOUT_MS = 1_500
const HOLD_MS = 600
const FLUSH_EVERY_MS = 240
const FRESH_MS = 3_600_000
const LOAD_LEASE_MS = 1_000
const LOAD_WAIT_MS = 1_500
const LOOK_AGAIN_MS = 50

/** Nothing is cleared here. */
const SCOPE = new Scope([], undefined, '')
const STAMP = SCOPE.print()!
const NOTHING_SEEN = Buffer.alloc(0)
/** Of take-lease. */
const GRANTED = 1
const ENTRY = 3

/** The key of a row, or of the counter, in Redis. */
export function behindEntryKey(key: string, shards: number): string {
  return key === COUNTER ? behindKey('shop:rows:', 'rows', key, shards) : `shop:rows:${key}`
}

export interface BehindProcessParts {
  readonly world: World
  readonly server: ModelServer
  readonly database: ModelDatabase
  readonly wire: Wire
  readonly shards: number
  readonly works: boolean
}

/** One process: a queue as `cache.ingest` and `writeBehind` open it, its entries, and with `works` a worker. */
export class BehindProcess extends Process {
  readonly link: ModelLink
  readonly queue: Queue
  readonly onDeath: (() => void)[] = []
  readonly #world: World
  readonly #database: ModelDatabase
  readonly #entries: BehindEntries
  readonly #counterKey: string

  constructor(name: string, parts: BehindProcessParts) {
    super(name)
    const { world, server, database, wire, shards, works } = parts
    const { clock } = world
    this.#world = world
    this.#database = database
    this.#counterKey = behindEntryKey(COUNTER, shards)
    this.link = new ModelLink(world, server, this, wire)
    const streams = new ShardStreams(this.link.asLink)
    const store = this.#store()
    const events = new Events()
    const policy = resolveBehind(
      { sink: database.sinkOf(this), flushEvery: FLUSH_EVERY_MS, maxBatch: 4, shards },
      WRITE_TIMEOUT_MS
    )
    this.queue = new Queue('rows', policy, newBehindStats(shards), FRESH_MS, {
      namespace: 'shop',
      streams,
      store,
      readiness: { of: async () => undefined } as unknown as Readiness,
      codec: plainCodec,
      events,
      clock
    })
    this.#entries = new BehindEntries(this.queue, {
      store,
      codec: plainCodec,
      clock,
      forget: () => undefined,
      readThrough: ({ key }) => this.#load(key),
      writeThrough: () => Promise.reject(new Error('nobody writes through here'))
    })
    if (!works) return
    const queues = (): Queue[] => [this.queue]
    const shared = { queues, streams, store, codec: plainCodec, events, clock }
    world.as(
      this,
      () => new BehindWorker({ lease: HOLD_MS, name }, { ...shared, onStopped: () => undefined })
    )
  }

  /** Adds to the counter as `collection.increment` does; `number` goes with it. */
  increment(number: number, by: number): Promise<number> {
    return this.#entries.increment(this.#request(number), by)
  }

  #request(number: number): ReadRequest {
    const policy = { ttlMs: FRESH_MS, jitter: 0 }
    const request = { key: this.#counterKey, id: COUNTER, tenant: number, scope: SCOPE, source: { policy } }
    return request as unknown as ReadRequest
  }

  /** Of a store a queue and its entries need little: nothing is kept in memory here, and nothing cleared. */
  #store(): EntryStore {
    const store: Partial<EntryStore> = {
      generations: { capture: async () => ({ print: STAMP, epoch: undefined }) } as never,
      changing: (_keys, change) => change(),
      nowMs: () => this.link.serverClock.nowMs(),
      read: async ({ key }) =>
        new FetchedEntry(key, await this.link.callFor(key, 'read', (client) => client.getBuffer(key)))
    }
    return store as EntryStore
  }

  /**
   * What a read does where there is no entry: takes the lease, asks the table, and stores what it got if the lease is still
   * there. Who cannot ask Redis has the row, and leaves nothing.
   */
  async #load(key: string): Promise<void> {
    const { clock } = this.#world
    const token = newToken()
    const endsAt = clock.now() + LOAD_WAIT_MS
    try {
      for (;;) {
        const answer = await this.#askForLease(key, token)
        if (answer === GRANTED) break
        if (answer === ENTRY || clock.now() > endsAt) return
        await this.#world.sleep(this, LOOK_AGAIN_MS)
      }
      const row = await this.#database.load(this, COUNTER)
      await this.#run('fill-entry', [key], [token, frameOf(key, row), 2 * FRESH_MS])
    } catch (error) {
      if (!(error instanceof RedisUnavailableError)) throw error
    }
  }

  async #askForLease(key: string, token: Buffer): Promise<number> {
    const { unflushed } = shardOfKey(key)!
    const args = [token, LOAD_LEASE_MS, NOTHING_SEEN, '']
    const [answer] = (await this.#run('take-lease', [key, unflushed], args)) as [number]
    return answer
  }

  #run(script: ScriptName, keys: readonly string[], args: readonly ScriptArgument[]): Promise<unknown> {
    return this.link.callFor(keys[0]!, script, (client) =>
      client.evalshaBuffer(shaOf(script), keys.length, ...keys, ...args)
    )
  }
}

function frameOf(key: string, shows: Shown): Buffer {
  const { flags, bytes } = encoded(shows)
  return valueFrame(key, {
    stamp: STAMP,
    token: newToken(),
    freshMs: FRESH_MS,
    loadMs: 0,
    flags,
    notFound: shows === 'nothing',
    payload: bytes
  })
}

/** A put, a deletion or an event as it goes into the queue. */
export function outgoing(
  kind: 'put' | 'delete' | 'append',
  key: string,
  number: number,
  value: number
): Outgoing {
  const tenant = number as never
  if (kind === 'append') {
    const { flags, bytes } = encoded(value)
    return { kind, id: undefined, tenant, flags, payload: bytes }
  }
  const id = key.slice(key.lastIndexOf(':') + 1)
  return { kind, key, id, tenant, frame: frameOf(key, kind === 'delete' ? 'nothing' : value) }
}
