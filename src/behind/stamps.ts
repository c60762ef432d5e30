import type { Clock } from '../clock.js'
import type { Capture, Scope } from '../tiers/generation.js'
import { COPY_MS } from '../tiers/counter-copies.js'
import type { Generations } from '../tiers/generations.js'

interface Known {
  readonly askedAtMs: number
  readonly capture: Promise<Capture | undefined>
}

/**
 * The generations that thousands of writes of one moment stand under, asked for once. A write that comes may use an answer
 * that was asked for up to `COPY_MS` before, as a reader may: who clears waits for so long.
 */
export class Stamps {
  readonly #generations: Generations
  readonly #clock: Clock
  readonly #known = new WeakMap<Scope, Known>()

  constructor(generations: Generations, clock: Clock) {
    this.#generations = generations
    this.#clock = clock
  }

  capture(scope: Scope): Promise<Capture | undefined> {
    const nowMs = this.#clock.now()
    const known = this.#known.get(scope)
    if (known !== undefined && nowMs - known.askedAtMs < COPY_MS) return known.capture
    const capture = this.#generations.capture(scope)
    this.#known.set(scope, { askedAtMs: nowMs, capture })
    return capture
  }
}
