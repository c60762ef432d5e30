import { newToken } from '../codec/frame.js'
import { RedisUnavailableError } from '../errors.js'
import type { Token } from '../entry.js'
import type { WriteOutcome } from '../events.js'
import type { EntryStore, Publication } from '../tiers/entry-store.js'
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
  readonly guardMs: number
}

/** The guards of one change, on all its keys. */
export class Guards {
  readonly keys: readonly string[]
  readonly #token: Token = newToken()
  readonly #parts: GuardParts
  #timer: NodeJS.Timeout | undefined

  constructor(keys: readonly string[], parts: GuardParts) {
    this.keys = keys
    this.#parts = parts
  }

  /** Rejects when Redis did not confirm them all. */
  async take(): Promise<void> {
    const { store, guardMs } = this.#parts
    const taken = await Promise.allSettled(
      this.keys.map((key) => store.guard(key, this.#token, guardMs, false))
    )
    for (const one of taken) if (one.status === 'rejected') throw one.reason
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
    const stored = await Promise.all(
      this.keys.map(async (key) => {
        try {
          return await store.publish(key, this.#token, publicationOf(key))
        } catch (error) {
          if (!(error instanceof RedisUnavailableError)) throw error
          undelivered.push(key)
          return false
        }
      })
    )
    // A guard in Redis keeps readers off until it runs out; what was never guarded must be dropped as soon as Redis listens.
    if (undelivered.length > 0) {
      pending.add(undelivered, store)
      return 'pending'
    }
    const wanted = stored.filter((_, index) => publicationOf(this.keys[index]!).frame !== undefined)
    return wanted.length > 0 && wanted.every(Boolean) ? 'published' : 'dropped'
  }

  /** Of a change that was not made. What Redis does not hear of runs out by itself. */
  release(): void {
    const { store } = this.#parts
    for (const key of this.keys) store.publish(key, this.#token, NOTHING_WRITTEN).catch(reported)
  }

  async #renew(): Promise<void> {
    const { store, guardMs } = this.#parts
    // A guard that was lost stays lost: publishing will find it gone and delete. One that got no answer is tried again.
    await Promise.allSettled(this.keys.map((key) => store.guard(key, this.#token, guardMs, true)))
  }
}

/** The store has reported it. */
function reported(): void {}
