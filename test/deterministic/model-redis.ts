import { PayloadCodec } from '../../src/codec/codec.js'
import { parseFrame } from '../../src/codec/frame.js'
import type { Token } from '../../src/entry.js'
import type { LeaseAnswer, LeaseRequest, Publication } from '../../src/tiers/entry-store.js'
import type { FetchedEntry } from '../../src/tiers/fetched-entry.js'
import { LocalStore } from '../../src/tiers/local-store.js'
import type { Ledger, Row } from './ledger.js'
import type { World } from './world.js'

const ENOUGH_BYTES = 10_000_000

/** Nothing is compressed here, so every value is packed and opened without leaving the turn. */
export const plainCodec = new PayloadCodec({
  compressAboveBytes: Number.POSITIVE_INFINITY,
  maxValueBytes: 1_000_000
})

/**
 * The one Redis of the modelled fleet: the store that keeps the scripts' rules on the same bytes without a Redis
 * (`tiers/local-store.ts`, held to them by test/contracts and by the comparison in test/deterministic/scripts.test.ts), and every step
 * that it runs entered in the ledger.
 */
export class ModelRedis {
  readonly #world: World
  readonly #ledger: Ledger
  readonly #entries: LocalStore
  readonly #keys: readonly string[]
  #calls = 0

  constructor(world: World, ledger: Ledger, keys: readonly string[]) {
    this.#world = world
    this.#ledger = ledger
    this.#entries = new LocalStore(ENOUGH_BYTES, world.clock)
    this.#keys = keys
  }

  /** Numbers the calls of the whole fleet, for faults that strike one of them. */
  nextCall(): number {
    return this.#calls++
  }

  nowMs(): number {
    return this.#entries.nowMs()
  }

  readMany(keys: readonly string[]): Promise<FetchedEntry[]> {
    return this.#entries.readMany(keys)
  }

  /** @param onChange called once, at the next change of the key; undefined where Redis tells nobody */
  async takeLease(request: LeaseRequest, onChange: (() => void) | undefined): Promise<LeaseAnswer> {
    const { key, token, leaseMs, force } = request
    const answer = await this.#entries.takeLease(request)
    if (answer.kind === 'granted') {
      const isHold = (await this.#entries.read(key)).entry.state === 'hold'
      this.#ledger.granted(key, this.#world.nameOf(token), leaseMs, force, isHold)
    }
    this.#world.count(`lease ${answer.kind === 'held' ? `held by a ${answer.by}` : answer.kind}`)
    this.#world.note(`redis: lease on ${key} for ${this.#world.nameOf(token)}: ${answer.kind}`)
    if (onChange !== undefined) void this.#entries.listen(key).changed.then(onChange)
    return answer
  }

  async renewLease(key: string, token: Token, leaseMs: number): Promise<boolean> {
    const renewed = await this.#entries.renewLease(key, token, leaseMs)
    this.#world.count(`lease renewal ${renewed ? 'done' : 'refused'}`)
    if (renewed) this.#ledger.renewed(key, this.#world.nameOf(token), leaseMs)
    this.#world.note(`redis: lease on ${key} of ${this.#world.nameOf(token)} renewed: ${renewed}`)
    return renewed
  }

  async fill(key: string, token: Token, frame: Buffer, lifeMs: number): Promise<boolean> {
    const stored = await this.#entries.fill(key, token, frame, lifeMs)
    this.#world.count(`fill ${stored ? 'done' : 'refused'}`)
    if (stored) this.#ledger.filled(key, this.#world.nameOf(token), rowIn(key, frame)?.version)
    this.#world.note(
      `redis: fill of ${key} v${rowIn(key, frame)?.version} by ${this.#world.nameOf(token)}: ${stored}`
    )
    return stored
  }

  async fail(key: string, token: Token, frame: Buffer, lifeMs: number): Promise<boolean> {
    const marked = await this.#entries.fail(key, token, frame, lifeMs)
    this.#world.count(`failure ${marked ? 'marked' : 'refused'}`)
    if (marked) this.#ledger.failed(key, this.#world.nameOf(token), lifeMs)
    this.#world.note(`redis: ${key} marked failed by ${this.#world.nameOf(token)}: ${marked}`)
    return marked
  }

  async release(key: string, token: Token): Promise<boolean> {
    const released = await this.#entries.release(key, token)
    if (released) this.#ledger.released(key)
    this.#world.note(`redis: lease on ${key} given back by ${this.#world.nameOf(token)}: ${released}`)
    return released
  }

  async guard(key: string, token: Token, lifeMs: number, renewal: boolean): Promise<boolean> {
    const guarded = await this.#entries.guard(key, token, lifeMs, renewal)
    if (renewal) this.#world.count(`guard renewal ${guarded ? 'done' : 'refused'}`)
    if (guarded) this.#ledger.guarded(key, this.#world.nameOf(token), lifeMs)
    this.#world.note(
      `redis: guard on ${key} of ${this.#world.nameOf(token)}${renewal ? ' renewed' : ''}: ${guarded}`
    )
    return guarded
  }

  async publish(key: string, token: Token, written: Publication): Promise<boolean> {
    const stored = await this.#entries.publish(key, token, written)
    if (written.frame !== undefined) this.#world.count(`row ${stored ? 'published' : 'not published'}`)
    const row = written.frame && rowIn(key, written.frame)
    this.#ledger.published(
      key,
      this.#world.nameOf(token),
      row?.version,
      written.version !== undefined,
      stored
    )
    this.#world.note(`redis: ${key} v${row?.version} published by ${this.#world.nameOf(token)}: ${stored}`)
    return stored
  }

  async set(key: string, frame: Buffer, lifeMs: number): Promise<boolean> {
    return this.#entries.set(key, frame, lifeMs)
  }

  async drop(keys: readonly string[]): Promise<number> {
    for (const key of keys) this.#ledger.dropped(key)
    this.#world.note(`redis: ${keys.join(', ')} dropped`)
    return this.#entries.drop(keys)
  }

  /** What was there is gone, as after FLUSHALL, a restart without a disk, or an eviction. */
  async forget(keys: readonly string[] = this.#keys): Promise<void> {
    for (const key of keys) this.#ledger.dropped(key)
    this.#world.note(`redis: forgets ${keys.join(', ')}`)
    await this.#entries.drop(keys)
  }
}

function rowIn(key: string, frame: Buffer): Row | undefined {
  const entry = parseFrame(key, frame)
  if (entry.state !== 'value' || entry.notFound) return undefined
  return plainCodec.decode(entry.flags, entry.payload) as Row
}
