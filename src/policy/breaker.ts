export type BreakerState =
  /** Calls go through; so many in a row got no answer. */
  | { readonly kind: 'closed'; readonly silences: number }
  /** Calls are refused until a probe has succeeded. */
  | { readonly kind: 'open'; readonly probes: number; readonly probeAtMs: number }
  /** One probe is under way; calls are refused meanwhile. */
  | { readonly kind: 'half-open'; readonly probes: number }

export interface BreakerOptions {
  /** So many calls in a row without an answer open it. */
  readonly silencesMost: number
  /** Until the first probe; each later pause is half as long again, up to `pauseMostMs`. */
  readonly pauseMs: number
  readonly pauseMostMs: number
}

const CLOSED: BreakerState = { kind: 'closed', silences: 0 }
const GROWTH = 1.5

/**
 * Whether calls are worth their deadline. No I/O and no timers: time is passed in, and so is chance.
 *
 *   closed ──silencesMost in a row, or one answer that says "down"──▶ open ◀──the probe failed──┐
 *     ▲                                                               └──a probe is due──▶ half-open
 *     └────────────────────────the probe succeeded──────────────────────────────────────────────┘
 *
 * Probes are sent by whoever owns the breaker, not by letting one caller through: no caller pays for finding out.
 */
export class Breaker {
  readonly #options: BreakerOptions
  #state: BreakerState = CLOSED

  constructor(options: BreakerOptions) {
    this.#options = options
  }

  get state(): BreakerState {
    return this.#state
  }

  get isClosed(): boolean {
    return this.#state.kind === 'closed'
  }

  /** A call got its answer. A late one, from before the breaker opened, proves nothing about now. */
  answered(): void {
    if (this.#state.kind === 'closed' && this.#state.silences > 0) this.#state = CLOSED
  }

  /** A call got none in time. True when that opened the breaker. */
  silent(nowMs: number, draw: number): boolean {
    if (this.#state.kind !== 'closed') return false
    const silences = this.#state.silences + 1
    if (silences >= this.#options.silencesMost) return this.trip(nowMs, draw)
    this.#state = { kind: 'closed', silences }
    return false
  }

  /** The other side said itself that it cannot serve. True when that opened the breaker. */
  trip(nowMs: number, draw: number): boolean {
    if (this.#state.kind !== 'closed') return false
    this.#open(0, nowMs, draw)
    return true
  }

  /** Milliseconds until the next probe is due; undefined when none is to be sent. */
  probeInMs(nowMs: number): number | undefined {
    return this.#state.kind === 'open' ? Math.max(0, this.#state.probeAtMs - nowMs) : undefined
  }

  probing(): void {
    const probes = this.#state.kind === 'closed' ? 0 : this.#state.probes
    this.#state = { kind: 'half-open', probes }
  }

  probeSucceeded(): void {
    this.#state = CLOSED
  }

  probeFailed(nowMs: number, draw: number): void {
    this.#open(this.#state.kind === 'closed' ? 0 : this.#state.probes + 1, nowMs, draw)
  }

  /** @param draw uniform in [0, 1): half of each pause is left to chance, so that a fleet does not probe in step */
  #open(probes: number, nowMs: number, draw: number): void {
    const { pauseMs, pauseMostMs } = this.#options
    const ceiling = Math.min(pauseMostMs, pauseMs * GROWTH ** Math.min(probes, 32))
    this.#state = { kind: 'open', probes, probeAtMs: nowMs + ceiling / 2 + (ceiling / 2) * draw }
  }
}
