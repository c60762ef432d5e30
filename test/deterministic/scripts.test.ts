import { setTimeout as sleep } from 'node:timers/promises'
import fc from 'fast-check'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { systemClock } from '../../src/clock.js'
import { failedFrame } from '../../src/codec/failed-frame.js'
import { newToken } from '../../src/codec/frame-head.js'
import { valueFrame } from '../../src/codec/frame.js'
import type { Entry, Token } from '../../src/entry.js'
import { openClient } from '../../src/redis/client.js'
import { RedisLink } from '../../src/redis/link.js'
import type { EntryStore, LeaseAnswer } from '../../src/tiers/entry-store.js'
import { Scope } from '../../src/tiers/generation.js'
import { LocalStore } from '../../src/tiers/local-store.js'
import { RedisStore } from '../../src/tiers/redis-store.js'
import { startRedisServer, type RedisServer } from '../support/redis-server.js'

/**
 * The interleavings are played on the store that needs no Redis. That says something about Redis only if the scripts do
 * the same: here both take the same steps and must give the same answers.
 */

const SEQUENCES = 2_000
const AT_ONCE = 100
const LONG_MS = 60_000
/** Nothing that could be cleared: that is told by counters, which both stores have from the same code. */
const SCOPE = new Scope([], undefined, '')
const STAMP = SCOPE.print()!
/** Over before anything else is asked: whatever is given this life is followed by a pause. */
const SHORT_MS = 1
const PAUSE_MS = 25

/** A step, by one of a few that take part; `seen` is what the asker read last, or something else, or nothing. */
interface Step {
  readonly do:
    | 'takeLease'
    | 'renewLease'
    | 'fill'
    | 'fail'
    | 'release'
    | 'guard'
    | 'renewGuard'
    | 'publish'
    | 'set'
    | 'drop'
  readonly who: number
  readonly seen: 'current' | 'other' | 'none'
  readonly force: boolean
  readonly isShort: boolean
  readonly row: 'frame' | 'none' | 'unknown'
  readonly version: number | undefined
}

const LOADING = [
  'takeLease',
  'takeLease',
  'takeLease',
  'fill',
  'fill',
  'fail',
  'release',
  'renewLease',
  'set'
] as const
const WRITING = [
  'guard',
  'guard',
  'publish',
  'publish',
  'renewGuard',
  'takeLease',
  'fill',
  'set',
  'drop'
] as const

const stepOf = (...names: readonly Step['do'][]): fc.Arbitrary<Step> =>
  fc.record({
    do: fc.constantFrom(...names),
    who: fc.nat(2),
    seen: fc.constantFrom('current' as const, 'current' as const, 'other' as const, 'none' as const),
    force: fc.constantFrom(false, false, false, true),
    isShort: fc.constantFrom(false, false, false, false, true),
    row: fc.constantFrom(
      'frame' as const,
      'frame' as const,
      'frame' as const,
      'none' as const,
      'unknown' as const
    ),
    version: fc.option(fc.integer({ min: 1, max: 4 }), { nil: undefined })
  })

const steps = (step: fc.Arbitrary<Step>): fc.Arbitrary<Step[]> =>
  fc.array(step, { minLength: 3, maxLength: 14 })
/** Among loaders, among writers, and among both. */
const sequence = fc.oneof(
  steps(stepOf(...LOADING)),
  steps(stepOf(...WRITING)),
  steps(stepOf(...LOADING, ...WRITING))
)

let server: RedisServer
let stores: readonly [local: EntryStore, redis: EntryStore]

beforeAll(async () => {
  server = await startRedisServer()
  const ignore = (): undefined => undefined
  const link = new RedisLink(
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
  stores = [
    new LocalStore(50_000_000, systemClock),
    new RedisStore({
      link,
      clock: systemClock,
      maxRecentBytes: 0,
      names: { counterKey: 'shop:#changes', listenersKey: 'shop:#listeners' },
      memory: undefined,
      reporter: { modeChanged: ignore, failed: ignore }
    })
  ]
})
afterAll(async () => {
  for (const store of stores) await store.close()
  await server.stop()
})

it(`in ${SEQUENCES} sequences of steps, the scripts in Redis answer as the store does on which interleavings are played`, {
  timeout: 120_000
}, async () => {
  const seed = Number(process.env['SEED'] ?? 1)
  const sequences = fc.sample(sequence, { seed, numRuns: SEQUENCES })
  for (let at = 0; at < SEQUENCES; at += AT_ONCE) {
    const batch = sequences.slice(at, at + AT_ONCE)
    await Promise.all(batch.map((taken, index) => compare(`shop:rows:${at + index}`, taken)))
  }
})

async function compare(key: string, taken: readonly Step[]): Promise<void> {
  const tokens = Array.from({ length: 3 }, newToken)
  for (const [index, one] of taken.entries()) {
    const frame = frameOf(key, index)
    // One after the other: what was seen must be the same for both.
    const current = await tokenIn(stores[0], key)
    const answers = await Promise.all(stores.map((store) => take(store, key, one, tokens, frame, current)))
    const story = (): string =>
      `${key}, step ${index} of ${JSON.stringify(taken.slice(0, index + 1), null, 1)}`
    expect(answers[1], story()).toEqual(answers[0])
    if (one.isShort) await sleep(PAUSE_MS)
    const found = await Promise.all(
      stores.map(async (store) => facts((await store.read({ key, scope: SCOPE })).entry))
    )
    expect(found[1], `what stands after ${story()}`).toEqual(found[0])
  }
}

async function take(
  store: EntryStore,
  key: string,
  { do: what, who, seen: which, force, isShort, row, version }: Step,
  tokens: readonly Token[],
  frame: Buffer,
  current: Token | undefined
): Promise<unknown> {
  const token = tokens[who]!
  const lifeMs = isShort ? SHORT_MS : LONG_MS
  const seen = which === 'none' ? undefined : which === 'current' ? current : tokens[(who + 1) % 3]
  switch (what) {
    case 'takeLease':
      return answerFacts(await store.takeLease({ key, scope: SCOPE, token, leaseMs: lifeMs, seen, force }))
    case 'renewLease':
      return store.renewLease(key, token, lifeMs)
    case 'fill':
      return store.fill(key, token, frame, lifeMs)
    case 'fail':
      return store.fail(
        key,
        token,
        failedFrame(key, token, row === 'none' ? 'uncacheable' : 'load-failed', { name: 'E', message: 'm' }),
        lifeMs
      )
    case 'release':
      return store.release(key, token)
    case 'guard':
    case 'renewGuard':
      return store.guard(key, token, lifeMs, what === 'renewGuard')
    case 'publish':
      return store.publish(key, token, {
        frame: row === 'none' ? undefined : frame,
        lifeMs,
        version,
        unknown: row === 'unknown'
      })
    case 'set':
      return store.set(key, frame, lifeMs)
    case 'drop':
      return store.drop([key])
  }
}

function frameOf(key: string, index: number): Buffer {
  const payload = Buffer.from(`row ${index}`)
  return valueFrame(key, {
    stamp: STAMP,
    token: newToken(),
    freshMs: LONG_MS,
    loadMs: 1,
    flags: 0,
    notFound: false,
    payload
  })
}

async function tokenIn(store: EntryStore, key: string): Promise<Token | undefined> {
  const { entry } = await store.read({ key, scope: SCOPE })
  return entry.state === 'value' || entry.state === 'failed' ? entry.token : undefined
}

/** All but times, which two clocks tell differently. */
function facts(entry: Entry): unknown {
  if (entry.state !== 'value') return entry
  const { state, payload, backingOff, leaseUntilMs } = entry
  return { state, payload: payload.toString(), backingOff, isLeased: leaseUntilMs !== 0 }
}

function answerFacts(answer: LeaseAnswer): unknown {
  if (answer.kind === 'entry') return { kind: answer.kind, entry: facts(answer.fetched.entry) }
  if (answer.kind === 'held') return { ...answer, leftMs: answer.leftMs > LONG_MS / 2 }
  return answer
}
