import { newToken } from '../codec/frame-head.js'
import type { Clock } from '../clock.js'
import { RedisUnavailableError } from '../errors.js'
import type { Token } from '../entry.js'
import type { WriteOutcome } from '../events.js'
import { tagKey } from '../keys/key-schema.js'
import type { EntryStore, Publication } from '../tiers/entry-store.js'
import type { Cell } from '../tiers/generation.js'
import type { PendingInvalidations } from './pending-invalidations.js'

export const NOTHING_WRITTEN: Publication = {
  frame: undefined,
  lifeMs: 0,
  version: undefined,
  unknown: false
}
export const OUTCOME_UNKNOWN: Publication = { ...NOTHING_WRITTEN, unknown: true }

export interface GuardParts {
  readonly store: EntryStore
  readonly pending: PendingInvalidations
  readonly clock: Clock
  readonly guardMs: number
}

/** A tag whose entries a change makes wrong. */
export interface TagTarget {
  /** First part of the key of its counter, and that of the epoch it is moved in. */
  readonly prefix: string
  readonly part: string
}

/** The guards of one change, on all its keys and tags. */
export class Guards {
  readonly keys: readonly string[]
  readonly #tags: readonly TagTarget[]
  readonly #token: Token = newToken()
  readonly #parts: GuardParts
  #timer: NodeJS.Timeout | undefined
  /** When they were all in place; undefined when they are not known to have stood ever since. */
  #standSinceMs: number | undefined

  constructor(keys: readonly string[], tags: readonly TagTarget[], parts: GuardParts) {
    this.keys = keys
    this.#tags = tags
    this.#parts = parts
  }

  /** Rejects when Redis did not confirm them all. */
  async take(): Promise<void> {
    const { store, guardMs } = this.#parts
    const taken = await Promise.allSettled([
      this.#moveTags(guardMs),
      ...this.keys.map((key) => store.guard(key, this.#token, guardMs, false))
    ])
    for (const one of taken) if (one.status === 'rejected') throw one.reason
    this.#standSinceMs = this.#parts.clock.now()
  }

  startRenewing(): void {
    const { guardMs } = this.#parts
    this.#timer = setInterval(() => void this.#renew(), guardMs / 3)
    this.#timer.unref()
  }

  /** The guards run out by themselves. */
  abandon(): void {
    clearInterval(this.#timer)
  }

  /** Takes the guards away, and puts in their place what `publicationOf` says. */
  async settle(publicationOf: (key: string) => Publication): Promise<WriteOutcome> {
    clearInterval(this.#timer)
    const { store, pending } = this.#parts
    const undelivered: string[] = []
    const [moved, ...stored] = await Promise.all([
      this.#isTold(this.#moveTags(0)),
      ...this.keys.map(async (key) => {
        try {
          return await store.publish(key, this.#token, publicationOf(key))
        } catch (error) {
          if (!(error instanceof RedisUnavailableError)) throw error
          undelivered.push(key)
          return false
        }
      })
    ])
    // A guard in Redis keeps readers off until it runs out; what was never guarded must be dropped as soon as Redis listens.
    if (undelivered.length > 0 || !moved) {
      pending.add(undelivered, moved ? [] : this.#cells(), store)
      return 'pending'
    }
    // What the tags were on is outdated since the guards, if they stood all the time, or else since now; nobody may go by
    // an older copy of that any more.
    if (this.#tags.length > 0) {
      await store.generations.untilCopiesAreOver(this.#standSinceMs ?? this.#parts.clock.now())
    }
    const wanted = stored.filter((_, index) => publicationOf(this.keys[index]!).frame !== undefined)
    return wanted.length > 0 && wanted.every(Boolean) ? 'published' : 'dropped'
  }

  /** Of a change that was not made. What Redis does not hear of runs out by itself. */
  release(): void {
    const { store } = this.#parts
    for (const key of this.keys) store.publish(key, this.#token, NOTHING_WRITTEN).catch(reported)
    this.#moveTags(0).catch(reported)
  }

  /** Each tag after its epoch: what is loaded from now on is told from what was loaded before by that alone. */
  async #moveTags(guardMs: number): Promise<void> {
    const { generations } = this.#parts.store
    const prefixes = [...new Set(this.#tags.map(({ prefix }) => prefix))]
    const epochs = new Map(
      await Promise.all(
        prefixes.map(async (prefix) => [prefix, await generations.moveEpoch(prefix)] as const)
      )
    )
    await Promise.all(
      this.#tags.map(({ prefix, part }) =>
        generations.guardTag(tagKey(prefix, part), epochs.get(prefix), this.#hexToken, guardMs)
      )
    )
  }

  /** The counters that were to be moved, in their order. */
  #cells(): Cell[] {
    const { generations } = this.#parts.store
    const cells = [
      ...this.#tags.map(({ prefix }) => generations.cell(prefix)),
      ...this.#tags.map(({ prefix, part }) => generations.tagCell(prefix, part))
    ]
    return [...new Set(cells)]
  }

  get #hexToken(): string {
    return this.#token.toString('hex')
  }

  async #isTold(telling: Promise<void>): Promise<boolean> {
    try {
      await telling
      return true
    } catch (error) {
      if (error instanceof RedisUnavailableError) return false
      throw error
    }
  }

  async #renew(): Promise<void> {
    const { store, guardMs } = this.#parts
    // A guard that was lost stays lost: publishing will find it gone and delete. One that got no answer is tried again.
    const renewed = await Promise.allSettled([
      ...this.keys.map((key) => store.guard(key, this.#token, guardMs, true)),
      ...this.#tags.map(({ prefix, part }) =>
        store.generations.guardTag(tagKey(prefix, part), undefined, this.#hexToken, guardMs)
      )
    ])
    const stands = renewed.every((one) => one.status === 'fulfilled' && one.value)
    if (!stands) this.#standSinceMs = undefined
  }
}

/** The store has reported it. */
function reported(): void {}
