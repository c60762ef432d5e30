import type { CacheId, TenantId } from '../ports.js'
import type { Lookup } from './request.js'

/** Grows whenever that under which entries are kept has changed, or may have. */
export interface Versioned {
  readonly version: number
}

export interface KeptFacts {
  readonly key: string
  readonly id: CacheId
  readonly tenant: TenantId | undefined
  /** Frozen, and the same for everybody; undefined where `copy` makes one for each. */
  readonly value: unknown
  readonly copy: (() => unknown) | undefined
  /** On this process's clock, as are the two below. Whole milliseconds are kept: V8 gives each fraction a box of 16 bytes. */
  readonly storedAtMs: number
  readonly freshUntilMs: number
  /** When memory lets go of it: the tier's own limit, or a little before it should be refreshed. */
  readonly untilMs: number
  readonly under: readonly Versioned[]
  readonly shelf: { remove(entry: MemoryEntry): void }
}

/** One value in memory. */
export class MemoryEntry {
  readonly key: string
  readonly id: CacheId
  readonly tenant: TenantId | undefined
  readonly storedAtMs: number
  readonly freshUntilMs: number
  readonly untilMs: number
  readonly shelf: KeptFacts['shelf']
  /** Of its last use that the LRU map was told of. */
  usedAtMs: number
  readonly #value: unknown
  readonly #copy: (() => unknown) | undefined
  readonly #under: readonly Versioned[]
  readonly #versions: number
  #promise: Promise<unknown> | undefined

  constructor(facts: KeptFacts, nowMs: number) {
    this.key = facts.key
    this.id = facts.id
    this.tenant = facts.tenant
    this.storedAtMs = Math.floor(facts.storedAtMs)
    this.freshUntilMs = Math.floor(facts.freshUntilMs)
    this.untilMs = Math.floor(facts.untilMs)
    this.shelf = facts.shelf
    this.usedAtMs = Math.floor(nowMs)
    this.#value = facts.value
    this.#copy = facts.copy
    this.#under = facts.under
    this.#versions = versionsOf(facts.under)
  }

  get value(): unknown {
    return this.#copy === undefined ? this.#value : this.#copy()
  }

  lookup(nowMs: number): Lookup {
    return {
      value: this.value,
      source: 'memory',
      ageMs: Math.max(0, nowMs - this.storedAtMs),
      ttlMs: Math.max(0, this.freshUntilMs - nowMs)
    }
  }

  /** Of one value there is one promise, whoever asks: making another for each is most of what a hit would cost. */
  get promise(): Promise<unknown> {
    if (this.#promise !== undefined) return this.#promise
    if (this.#copy !== undefined) return Promise.resolve(this.#copy())
    this.#promise = Promise.resolve(this.#value)
    return this.#promise
  }

  /** Whether everything that it is kept under is as it was. Versions only ever grow, so their sum tells. */
  get stands(): boolean {
    return versionsOf(this.#under) === this.#versions
  }
}

function versionsOf(all: readonly Versioned[]): number {
  let sum = 0
  for (let index = 0; index < all.length; index++) sum += all[index]!.version
  return sum
}
