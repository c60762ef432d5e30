import { setTimeout as sleep } from 'node:timers/promises'
import fc from 'fast-check'
import { Redis } from 'ioredis'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { encodeOperations, keyOf, type Outgoing } from '../../src/behind/record.js'
import { systemClock } from '../../src/clock.js'
import { newToken, parseFrame, valueFrame } from '../../src/codec/frame.js'
import type { ShardKeys } from '../../src/keys/key-schema.js'
import { openClient } from '../../src/redis/client.js'
import { RedisLink } from '../../src/redis/link.js'
import { LUA } from '../../src/redis/lua.generated.js'
import { shaOf, type ScriptName } from '../../src/redis/scripts.js'
import { ShardStreams, type StreamEntry } from '../../src/redis/shard-stream.js'
import { Scope } from '../../src/tiers/generation.js'
import { startRedisServer, type RedisServer } from '../support/redis-server.js'
import type { ScriptArgument } from './model-client.js'
import { ModelShards } from './model-shards.js'

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
const STAMP = new Scope([], undefined, '').print()!

type Step =
  | {
      readonly do: 'append'
      readonly producer: number
      /** Its next batch, the last one again, or one before that. */
      readonly batch: 'next' | 'again' | 'old'
      readonly kinds: readonly ('put' | 'delete' | 'append')[]
      readonly shards: number
      readonly most: number
    }
  | {
      readonly do: 'settle'
      /** Which of the stream's entries, or one that is not there, or is another producer's. */
      readonly which: number | 'none' | 'other'
      readonly fates: string
      readonly isLast: boolean
    }
  | { readonly do: 'read'; readonly most: number }
  | { readonly do: 'hold'; readonly worker: number; readonly isShort: boolean }
  | { readonly do: 'release'; readonly worker: number }
  | { readonly do: 'delete'; readonly key: number }

const KEYS = 2
const two = fc.nat(1)

const append: fc.Arbitrary<Step> = fc.record({
  do: fc.constant('append' as const),
  producer: two,
  batch: fc.constantFrom('next' as const, 'next' as const, 'next' as const, 'again' as const, 'old' as const),
  kinds: fc.array(fc.constantFrom('put' as const, 'put' as const, 'delete' as const, 'append' as const), {
    minLength: 1,
    maxLength: 3
  }),
  shards: fc.constantFrom(3, 3, 3, 3, 3, 4),
  most: fc.constantFrom(0, 0, 0, 4)
})

const step: fc.Arbitrary<Step> = fc.oneof(
  { arbitrary: append, weight: 6 },
  {
    arbitrary: fc.record({
      do: fc.constant('settle' as const),
      which: fc.constantFrom(0, 0, 1, 2, 'none' as const, 'other' as const),
      fates: fc.constantFrom('11', '11', '01', '10'),
      isLast: fc.constantFrom(true, true, false)
    }),
    weight: 4
  },
  { arbitrary: fc.record({ do: fc.constant('read' as const), most: fc.constantFrom(1, 3, 100) }), weight: 2 },
  {
    arbitrary: fc.record({
      do: fc.constant('hold' as const),
      worker: two,
      isShort: fc.constantFrom(false, false, true)
    }),
    weight: 2
  },
  { arbitrary: fc.record({ do: fc.constant('release' as const), worker: two }), weight: 1 },
  { arbitrary: fc.record({ do: fc.constant('delete' as const), key: two }), weight: 1 }
)

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
  const sequences = fc.sample(fc.array(step, { minLength: 3, maxLength: 14 }), { seed, numRuns: SEQUENCES })
  for (let at = 0; at < SEQUENCES; at += AT_ONCE) {
    const batch = sequences.slice(at, at + AT_ONCE)
    await Promise.all(batch.map((taken, index) => new Comparison(`shop:${at + index}`).run(taken)))
  }
})

interface Sent {
  readonly batch: number
  readonly operations: readonly Outgoing[]
}

const NOTHING_SENT: Sent = { batch: 0, operations: [] }

/** One shard in Redis and one in the model. */
class Comparison {
  readonly #keys: ShardKeys
  readonly #entryKeys: readonly string[]
  readonly #model = new ModelShards(() => systemClock.now(), {
    accepted: () => undefined,
    settled: () => undefined
  })
  readonly #streams: readonly [model: ShardStreams, redis: ShardStreams]
  /** Of each producer, by number. */
  readonly #batches: (readonly Outgoing[])[][] = [[], []]
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
    this.#streams = [new ShardStreams(linkTo(this.#model)), new ShardStreams(link)]
  }

  async run(taken: readonly Step[]): Promise<void> {
    for (const [index, one] of taken.entries()) {
      const story = (): string => JSON.stringify(taken.slice(0, index + 1), null, 1)
      const sent = one.do === 'append' ? this.#sent(one) : NOTHING_SENT
      const [model, redis] = await Promise.all(this.#streams.map((streams) => this.#take(streams, one, sent)))
      expect(redis, story()).toEqual(model)
      if (one.do === 'hold' && one.isShort) await sleep(PAUSE_MS)
      expect(await this.#left(), `what is left after ${story()}`).toEqual(this.#leftInModel())
    }
  }

  async #take(streams: ShardStreams, one: Step, { batch, operations }: Sent): Promise<unknown> {
    switch (one.do) {
      case 'append': {
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
          return { kind: answer.kind, statuses: answer.statuses, left: answer.backlog?.operations }
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
      case 'delete':
        if (streams === this.#streams[0]) this.#model.evict(this.#entryKeys[one.key]!)
        else await admin.unlink(this.#entryKeys[one.key]!)
    }
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
  #sent({ producer, batch, kinds }: Extract<Step, { do: 'append' }>): Sent {
    const known = this.#batches[producer]!
    if (batch === 'next' || known.length === 0) known.push(this.#operations(kinds))
    const number = batch === 'old' ? Math.max(1, known.length - 1) : known.length
    return { batch: number, operations: known[number - 1]! }
  }

  /** The same for both: what one of them refuses, the other must too. */
  #operations(kinds: readonly ('put' | 'delete' | 'append')[]): Outgoing[] {
    return kinds.map((kind, index) => {
      const tenant = ++this.#number as never
      const payload = Buffer.from(`row ${this.#number}`)
      if (kind === 'append') return { kind, id: undefined, tenant, flags: 0, payload }
      // In one batch each key comes once.
      const key = this.#entryKeys[index % KEYS]!
      const frame = valueFrame(key, {
        stamp: STAMP,
        token: newToken(),
        freshMs: LONG_MS,
        loadMs: 0,
        flags: 0,
        notFound: kind === 'delete',
        payload: kind === 'delete' ? Buffer.alloc(0) : payload
      })
      return { kind, key, id: index, tenant, frame }
    })
  }

  async #left(): Promise<unknown> {
    const entries = await Promise.all(
      this.#entryKeys.map(async (key) => {
        const entry = parseFrame(key, await admin.getBuffer(key))
        if (entry.state !== 'value') return entry.state
        return { is: entry.notFound ? 'nothing' : String(entry.payload), unflushed: entry.unflushed }
      })
    )
    const marked = await admin.hkeys(this.#keys.unflushed)
    return { entries, marked: marked.sort(), batches: await admin.xlen(this.#keys.stream) }
  }

  #leftInModel(): unknown {
    const entries = this.#entryKeys.map((key) => {
      const entry = this.#model.entry(key)
      if (entry === undefined) return 'absent'
      const { kind, number } = entry.shows
      return { is: kind === 'delete' ? 'nothing' : `row ${number}`, unflushed: entry.unflushed !== undefined }
    })
    const marked = this.#entryKeys.filter((key) => this.#model.isMarked(key))
    return { entries, marked, batches: this.#model.waiting }
  }
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
