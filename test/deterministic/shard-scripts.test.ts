import { setTimeout as sleep } from 'node:timers/promises'
import fc from 'fast-check'
import { Redis } from 'ioredis'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { encodeOperations, keyOf, type Base, type Outgoing } from '../../src/behind/record.js'
import { systemClock } from '../../src/clock.js'
import { newToken } from '../../src/codec/frame-head.js'
import { counterChecksum, parseFrame, valueFrame } from '../../src/codec/frame.js'
import type { ShardKeys } from '../../src/keys/key-schema.js'
import { openClient } from '../../src/redis/client.js'
import { RedisLink } from '../../src/redis/link.js'
import { LUA } from '../../src/redis/lua.generated.js'
import { ScriptRunner, shaOf, type ScriptName } from '../../src/redis/scripts.js'
import { ShardStreams, type StreamEntry } from '../../src/redis/shard-stream.js'
import { Scope } from '../../src/tiers/generation.js'
import { startRedisServer, type RedisServer } from '../support/redis-server.js'
import type { ScriptArgument } from './model-client.js'
import { encoded, type Shown } from './model-entries.js'
import { plainCodec } from './model-redis.js'
import { ModelShards } from './model-shards.js'
import { KEYS, step, type Count, type Kind, type Step } from './shard-steps.js'

/**
 * Interleavings of writing behind are played on modelled scripts. That says something about Redis only if its scripts do
 * the same: here both take the same steps and must give the same answers, and leave the same.
 */

const SEQUENCES = 600
const AT_ONCE = 50
const LONG_MS = 60_000
/** Over before anything else is asked: a hold of this life is followed by a pause. */
const SHORT_MS = 1
const PAUSE_MS = 25
/** What entries stand under, before and after something was cleared. */
const STAMPS = [0, 1].map((soft) => ({ ...new Scope([], undefined, '').print()!, soft }))

let server: RedisServer
let admin: Redis
let link: RedisLink

beforeAll(async () => {
  server = await startRedisServer()
  admin = new Redis(server.url)
  const ignore = (): undefined => undefined
  link = new RedisLink(
    openClient(server.url, systemClock),
    { timeoutMs: 5_000, probeKey: 'shop:#probe', clock: systemClock },
    {
      stateChanged: ignore,
      breakerChanged: ignore,
      callFailed: ignore,
      connectionFailed: ignore,
      misconfigured: ignore
    }
  )
})
afterAll(async () => {
  await link.close()
  admin.disconnect()
  await server.stop()
})

it(`in ${SEQUENCES} sequences of steps, the scripts over shards answer as the model does on which interleavings are played`, {
  timeout: 300_000
}, async () => {
  const seed = Number(process.env['SEED'] ?? 1)
  const sequences = fc.sample(fc.array(step, { minLength: 5, maxLength: 16 }), { seed, numRuns: SEQUENCES })
  for (let at = 0; at < SEQUENCES; at += AT_ONCE) {
    const batch = sequences.slice(at, at + AT_ONCE)
    await Promise.all(batch.map((taken, index) => new Comparison(`shop:${at + index}`).run(taken)))
  }
})

/** To the model and to Redis: the tokens of what they made themselves are their own. */
type Both<T> = readonly [model: T, redis: T]

interface Sent {
  readonly batch: number
  readonly operations: Both<readonly Outgoing[]>
}

const NOTHING_SENT: Sent = { batch: 0, operations: [[], []] }
const MODEL = 0
const REDIS = 1
type Side = typeof MODEL | typeof REDIS

/** One shard in Redis and one in the model. */
class Comparison {
  readonly #keys: ShardKeys
  readonly #entryKeys: readonly string[]
  readonly #model = new ModelShards(() => systemClock.now(), {
    accepted: () => undefined,
    cameAgain: () => undefined,
    settled: () => undefined
  })
  readonly #links: Both<RedisLink>
  readonly #streams: Both<ShardStreams>
  /** Of each producer, by number. */
  readonly #batches: Both<readonly Outgoing[]>[][] = [[], []]
  readonly #loaders = [newToken(), newToken()]
  #number = 0

  constructor(prefix: string) {
    const of = (what: string): string => `${prefix}:${what}`
    this.#keys = {
      name: prefix,
      stream: of('stream'),
      state: of('state'),
      producers: of('producers'),
      unflushed: of('unflushed'),
      owner: of('owner'),
      letters: of('letters')
    }
    this.#entryKeys = Array.from({ length: KEYS }, (_, index) => `${prefix}/${index}`)
    this.#links = [linkTo(this.#model), link]
    this.#streams = [new ShardStreams(this.#links[MODEL]), new ShardStreams(this.#links[REDIS])]
  }

  async run(taken: readonly Step[]): Promise<void> {
    for (const [index, one] of taken.entries()) {
      const story = (): string => JSON.stringify(taken.slice(0, index + 1), null, 1)
      const sent = one.do === 'append' ? await this.#sent(one) : NOTHING_SENT
      const sides = [MODEL, REDIS] as const
      const [model, redis] = await Promise.all(sides.map((side) => this.#take(side, one, sent)))
      expect(redis, story()).toEqual(model)
      if (isSoonOver(one)) await sleep(PAUSE_MS)
      expect(await this.#left(), `what is left after ${story()}`).toEqual(this.#leftInModel())
    }
  }

  async #take(side: Side, one: Step, { batch, operations: both }: Sent): Promise<unknown> {
    const streams = this.#streams[side]
    switch (one.do) {
      case 'append': {
        const operations = both[side]
        const answer = await streams.append({
          keys: this.#keys,
          producer: `p${one.producer}`,
          batch,
          shards: one.shards,
          limits: { operations: one.most, bytes: 0, ageMs: 0 },
          count: operations.length,
          entryKeys: operations.map(keyOf).filter((key) => key !== undefined),
          operations: encodeOperations(operations)
        })
        if (answer.kind === 'accepted')
          return {
            kind: answer.kind,
            statuses: answer.statuses,
            numbers: numbersIn(answer.numbers),
            left: answer.backlog?.operations
          }
        return answer.kind === 'full' ? { kind: answer.kind, left: answer.backlog.operations } : answer
      }
      case 'settle':
        return this.#settle(streams, one)
      case 'read':
        return factsOf(await streams.read(this.#keys, one.most, Number.MAX_SAFE_INTEGER))
      case 'hold': {
        const { isMine, operations: left } = await streams.hold(
          this.#keys,
          `w${one.worker}`,
          one.isShort ? SHORT_MS : LONG_MS
        )
        return { isMine, left }
      }
      case 'release':
        return streams.release(this.#keys, `w${one.worker}`)
      case 'delete': {
        const key = this.#entryKeys[one.key]!
        if (side === MODEL) this.#model.evict(key)
        else await admin.unlink(key)
        return undefined
      }
      case 'lease': {
        const args = [this.#loaders[one.loader]!, LONG_MS, Buffer.alloc(0), '']
        const reply = await this.#run(
          side,
          'take-lease',
          [this.#entryKeys[one.key]!, this.#keys.unflushed],
          args
        )
        return (reply as [number])[0]
      }
      case 'fill': {
        const key = this.#entryKeys[one.key]!
        const frame = this.#frame(key, 1_000 + one.loader, 0)
        return this.#run(side, 'fill-entry', [key], [this.#loaders[one.loader]!, frame, LONG_MS])
      }
    }
  }

  #run(
    side: Side,
    script: ScriptName,
    keys: readonly string[],
    args: readonly ScriptArgument[]
  ): Promise<unknown> {
    const link = this.#links[side]
    return link.callFor(keys[0]!, script, (client) => new ScriptRunner(client).runOn(script, keys, args))
  }

  async #settle(
    streams: ShardStreams,
    { which, fates, isLast }: Extract<Step, { do: 'settle' }>
  ): Promise<boolean> {
    const all = await streams.read(this.#keys, 1_000, Number.MAX_SAFE_INTEGER)
    const there = all[typeof which === 'number' ? which : 0] ?? {
      id: '1-1',
      producer: 'p0',
      batch: 1,
      records: Buffer.alloc(0)
    }
    const last: StreamEntry =
      which === 'none'
        ? { ...there, id: '1-1' }
        : which === 'other'
          ? { ...there, producer: 'another' }
          : there
    return streams.settle(this.#keys, last, this.#entryKeys, fates, LONG_MS, isLast)
  }

  /** What is sent again is the same again. */
  async #sent({ producer, batch, kinds }: Extract<Step, { do: 'append' }>): Promise<Sent> {
    const known = this.#batches[producer]!
    if (batch === 'next' || known.length === 0) known.push(await this.#operations(kinds))
    const number = batch === 'old' ? Math.max(1, known.length - 1) : known.length
    return { batch: number, operations: known[number - 1]! }
  }

  /** The same for both, but for tokens: what one of them refuses, the other must too. */
  async #operations(kinds: readonly Kind[]): Promise<Both<readonly Outgoing[]>> {
    const both: [Outgoing[], Outgoing[]] = [[], []]
    for (const [index, kind] of kinds.entries()) {
      const number = ++this.#number
      const tenant = number as never
      const key = this.#entryKeys[index]
      if (typeof kind === 'object' && key !== undefined) {
        for (const side of [MODEL, REDIS] as const)
          both[side].push(this.#increment(key, number, kind, await this.#bytes(side, key)))
        continue
      }
      const { flags, bytes: payload } = encoded(number)
      // In one batch each key comes once.
      const operation: Outgoing =
        typeof kind === 'object' || kind === 'append' || key === undefined
          ? { kind: 'append', id: undefined, tenant, flags, payload }
          : { kind, key, id: index, tenant, frame: this.#frame(key, kind === 'put' ? number : 'nothing', 0) }
      for (const operations of both) operations.push(operation)
    }
    return both
  }

  #increment(key: string, number: number, count: Count, found: Buffer | null): Outgoing {
    const entry = parseFrame(key, found)
    const token = count.base === 'right' && entry.state === 'value' ? entry.token : newToken()
    const base: Base = { number: 100 * number, token: Buffer.from(token), isNew: count.isNew }
    return {
      kind: 'increment',
      key,
      id: number,
      tenant: number as never,
      by: number,
      checksum: counterChecksum(key),
      freshMs: count.isShort ? SHORT_MS : LONG_MS,
      stamp: STAMPS[count.stamp]!,
      base: count.base === 'none' ? undefined : base
    }
  }

  #frame(key: string, shows: Shown, stamp: number): Buffer {
    const { flags, bytes } = encoded(shows)
    return valueFrame(key, {
      stamp: STAMPS[stamp]!,
      token: newToken(),
      freshMs: LONG_MS,
      loadMs: 0,
      flags,
      notFound: shows === 'nothing',
      payload: bytes
    })
  }

  async #bytes(side: Side, key: string): Promise<Buffer | null> {
    return side === MODEL ? this.#model.bytes(key) : admin.getBuffer(key)
  }

  /** As a reader finds them; of counters also that a script finds one. */
  async #left(): Promise<unknown> {
    const entries = await Promise.all(
      this.#entryKeys.map(async (key) => {
        const bytes = await admin.getBuffer(key)
        return {
          ...factsIn(key, bytes),
          isCounter: bytes !== null && bytes[2] === 3 && (bytes[3]! & 2) !== 0
        }
      })
    )
    const marked = await admin.hkeys(this.#keys.unflushed)
    return { entries, marked: marked.sort(), batches: await admin.xlen(this.#keys.stream) }
  }

  #leftInModel(): unknown {
    const entries = this.#entryKeys.map((key) => {
      const entry = this.#model.entry(key)
      return { ...factsIn(key, this.#model.bytes(key)), isCounter: entry?.is === 'value' && entry.isCounter }
    })
    const marked = this.#entryKeys.filter((key) => this.#model.isMarked(key))
    return { entries, marked, batches: this.#model.waiting }
  }
}

/** Tokens are each server's own, and so are times. */
function factsIn(key: string, bytes: Buffer | null): object {
  const entry = parseFrame(key, bytes)
  if (entry.state !== 'value') return { is: entry.state }
  const { notFound, unflushed, freshMs, soft, flags, payload } = entry
  return { is: notFound ? 'nothing' : plainCodec.decode(flags, payload), unflushed, freshMs, soft }
}

function numbersIn(bytes: Buffer): number[] {
  return Array.from({ length: bytes.length / 8 }, (_, index) => bytes.readDoubleBE(8 * index))
}

function isSoonOver(one: Step): boolean {
  if (one.do === 'append') return one.kinds.some((kind) => typeof kind === 'object' && kind.isShort)
  return one.do === 'hold' && one.isShort
}

/** Ids are each server's own. */
function factsOf(entries: readonly StreamEntry[]): unknown {
  return entries.map(({ producer, batch, records }) => ({
    producer,
    batch,
    records: records.toString('hex')
  }))
}

/** What `ShardStreams` asks of a link, over the model. */
function linkTo(model: ModelShards): RedisLink {
  const names = new Map((Object.keys(LUA) as ScriptName[]).map((name) => [shaOf(name), name]))
  const run = (sha: string, count: number, rest: readonly ScriptArgument[]): unknown =>
    model.run(names.get(sha)!, rest.slice(0, count).map(String), rest.slice(count))
  const client = {
    isCluster: false,
    evalshaBuffer: async (sha: string, count: number, ...rest: ScriptArgument[]) => run(sha, count, rest)
  }
  const callFor = (_key: string, _action: string, send: (one: unknown) => unknown): unknown => send(client)
  const call = (_action: string, send: (one: unknown) => unknown): unknown => send(client)
  return { client, call, callFor } as unknown as RedisLink
}
