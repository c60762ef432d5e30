import { createHash } from 'node:crypto'
import { PayloadCodec } from '../codec/codec.js'
import { parseFrame, readHeader } from '../codec/frame.js'
import { isGuard, readGuard } from '../codec/guard-frame.js'
import type { Entry, Token } from '../entry.js'
import { partsOfKey, type KeyParts } from '../keys/key-parts.js'
import type { Operator } from '../redis/operator.js'
import type { Standing } from '../tiers/generation.js'
import { standingNow } from './standing.js'

/** Everything there is to tell of one key. Times in milliseconds. */
export interface KeyStory {
  /** As it stands in Redis. */
  readonly key: string
  readonly parts: KeyParts | undefined
  readonly node: string
  /**
   * `absent`; `foreign`: no string of Corral's; `unreadable`: damaged; `loading`: held by who loads; `writing`: guarded by writers;
   * `failed`: the last load failed; `fresh`, `stale`: a value within and past its ttl; `unflushed`: one that the source does
   * not have yet, which is served however old it is; `cleared`: a value that was declared wrong since, with its collection, its
   * tenant, or by a tag.
   */
  readonly state:
    | 'absent'
    | 'foreign'
    | 'unreadable'
    | 'loading'
    | 'writing'
    | 'failed'
    | 'fresh'
    | 'stale'
    | 'unflushed'
    | 'cleared'
  readonly detail: string
  /** Until Redis removes the key; undefined when it never does, or is not there. */
  readonly expiresInMs: number | undefined
  readonly bytes: number
  /** What it takes of Redis' memory, overhead included; undefined when the user may not ask. */
  readonly memoryBytes: number | undefined
  readonly value: ValueStory | undefined
  /** Who has a lease or a guard on it. */
  readonly holders: readonly Holder[]
}

export interface Holder {
  readonly purpose: 'load' | 'refresh' | 'write'
  /** The start of its random token: tells holders apart, and proves nothing. */
  readonly token: string
  /** Negative when it is over. */
  readonly endsInMs: number | undefined
}

export interface ValueStory {
  readonly ageMs: number
  /** Negative when it is stale. */
  readonly freshForMs: number
  readonly loadMs: number
  readonly notFound: boolean
  readonly backingOff: boolean
  /** As they stand in keys. */
  readonly tags: readonly string[]
  readonly payloadBytes: number
  /** Instead of the value: two entries with one digest hold the same. */
  readonly digest: string
  /** Only when it was asked for; else nothing of the value leaves this function. */
  readonly shown?: unknown
}

const MOST_SHOWN_BYTES = 64 * 1024 * 1024
const TOKEN_SHOWN = 8

export async function inspectKey(operator: Operator, key: string, showValue = false): Promise<KeyStory> {
  const node = await operator.nodeOf(key)
  const [type, ttlMs, memory, time] = await Promise.all([
    operator.callFor(key, (name) => ['TYPE', name]),
    operator.callFor(key, (name) => ['PTTL', name]),
    operator.callFor(key, (name) => ['MEMORY', 'USAGE', name]).catch(undefinedIfRefused),
    // Its own clock is what it has written ages by.
    node.call('TIME')
  ])
  const base = {
    key: operator.keyPrefix + key,
    parts: partsOfKey(key),
    node: node.name,
    expiresInMs: Number(ttlMs) < 0 ? undefined : Number(ttlMs),
    memoryBytes: memory == null ? undefined : Number(memory),
    value: undefined,
    holders: []
  }
  if (type === 'none') return { ...base, state: 'absent', detail: 'nothing is cached', bytes: 0 }
  if (type !== 'string') {
    return { ...base, state: 'foreign', detail: `a ${String(type)}, which Corral reads as a miss`, bytes: 0 }
  }
  const bytes = (await operator.callBufferFor(key, (name) => ['GET', name])) as Buffer | null
  if (bytes === null) return { ...base, state: 'absent', detail: 'it went just now', bytes: 0 }
  const [seconds, micros] = time as [string, string]
  const nowMs = Number(seconds) * 1_000 + Math.floor(Number(micros) / 1_000)
  const entry = parseFrame(key, bytes)
  // What the source does not have yet is served whatever was cleared.
  const standing =
    entry.state === 'value' && !entry.unflushed && base.parts
      ? await standingNow(operator, base.parts, entry)
      : undefined
  const story = await storyOf(entry, bytes, nowMs, base.expiresInMs, showValue)
  return { ...base, bytes: bytes.length, ...(standing === undefined ? story : withStanding(story, standing)) }
}

/** Some services know no MEMORY, and some users may not ask it. */
function undefinedIfRefused(error: unknown): undefined {
  if (!(error instanceof Error && error.name === 'ReplyError')) throw error
}

type Told = Pick<KeyStory, 'state' | 'detail' | 'value' | 'holders'>

/** What a clear has done to a value does not show in its bytes. */
function withStanding(story: Told, standing: Standing): Told {
  const add = (detail: string): string => [story.detail, detail].filter((text) => text !== '').join('; ')
  switch (standing.is) {
    case 'current':
      return story
    case 'outdated':
      return { ...story, state: 'cleared', detail: add('cleared since it was loaded: the next reader loads') }
    case 'stale':
      return { ...story, state: 'stale', detail: add('made stale since it was loaded') }
  }
}

async function storyOf(
  entry: Entry,
  bytes: Buffer,
  nowMs: number,
  expiresInMs: number | undefined,
  showValue: boolean
): Promise<Told> {
  const nothing = { value: undefined, holders: [] }
  switch (entry.state) {
    case 'value':
      return valueStory(entry, bytes, nowMs, showValue)
    case 'failed': {
      const { name, message, code } = entry.report
      if (entry.kind === 'uncacheable')
        return {
          ...nothing,
          state: 'failed',
          detail: `what is loaded is not stored, so readers load for themselves until this expires. ${message}`
        }
      const reason = `${name}${code === undefined ? '' : ` (${code})`}: ${message}`
      return {
        ...nothing,
        state: 'failed',
        detail: `the last load failed, nobody tries before it expires. ${reason}`
      }
    }
    case 'hold':
      return isGuard(bytes) ? guardStory(bytes, nowMs) : loadStory(bytes, expiresInMs)
    case 'unreadable':
      return {
        ...nothing,
        state: entry.foreign ? 'foreign' : 'unreadable',
        detail: `${entry.foreign ? 'of another version of Corral' : 'read as a miss, and replaced'}: ${entry.reason}`
      }
    case 'absent':
    case 'outdated': // A reader's word for a value; the bytes alone never say so.
      return { ...nothing, state: 'absent', detail: 'nothing is cached' }
  }
}

async function valueStory(
  entry: Extract<Entry, { state: 'value' }>,
  bytes: Buffer,
  nowMs: number,
  showValue: boolean
): Promise<Told> {
  const ageMs = Math.max(0, nowMs - entry.storedAtMs)
  const freshForMs = entry.freshMs - ageMs
  const header = readHeader(bytes)
  const isLeased = entry.leaseUntilMs !== 0 && !entry.backingOff && typeof header === 'object'
  const value: ValueStory = {
    ageMs,
    freshForMs,
    loadMs: entry.loadMs,
    notFound: entry.notFound,
    backingOff: entry.backingOff,
    tags: entry.tags.map(({ tag }) => tag),
    payloadBytes: entry.payload.length,
    digest: createHash('sha256').update(entry.payload).digest('hex').slice(0, 16),
    ...(showValue && !entry.notFound ? { shown: await decoded(entry.flags, entry.payload) } : {})
  }
  const details = [
    ...(entry.unflushed ? ['written behind: it stays until the source has it'] : []),
    ...(entry.notFound ? ['the source has no such thing'] : []),
    ...(isLeased ? ['being refreshed'] : []),
    ...(entry.backingOff ? ['its refresh failed a moment ago'] : [])
  ]
  return {
    state: entry.unflushed ? 'unflushed' : freshForMs > 0 ? 'fresh' : 'stale',
    detail: details.join('; '),
    value,
    holders: isLeased
      ? [{ purpose: 'refresh', token: shown(header.leaseToken), endsInMs: entry.leaseUntilMs - nowMs }]
      : []
  }
}

async function decoded(flags: number, payload: Buffer): Promise<unknown> {
  const codec = new PayloadCodec({
    compressAboveBytes: Number.POSITIVE_INFINITY,
    maxValueBytes: MOST_SHOWN_BYTES
  })
  return codec.decode(flags, payload)
}

function loadStory(bytes: Buffer, expiresInMs: number | undefined): Told {
  const header = readHeader(bytes)
  const token = typeof header === 'object' ? shown(header.token) : ''
  return {
    state: 'loading',
    detail: 'nothing to serve yet: one process loads it, the others wait',
    value: undefined,
    holders: [{ purpose: 'load', token, endsInMs: expiresInMs }]
  }
}

function guardStory(bytes: Buffer, nowMs: number): Told {
  const { writers, overlapped, unknown } = readGuard(bytes, nowMs)
  const details = [
    'writers are at work; readers ask the source',
    ...(overlapped ? ['several overlapped'] : []),
    ...(unknown ? ['the outcome of one is not known'] : [])
  ]
  return {
    state: 'writing',
    detail: details.join('; '),
    value: undefined,
    holders: writers.map(({ token, untilMs }) => ({
      purpose: 'write',
      token: shown(token),
      endsInMs: untilMs - nowMs
    }))
  }
}

function shown(token: Token): string {
  return token.toString('hex').slice(0, TOKEN_SHOWN)
}
