/** Whoever a piece of code runs for: a process of the modelled fleet. */
export interface Owner {
  readonly name: string
  readonly isDead: boolean
  readonly isStopped: boolean
}

interface Timer {
  dueMs: number
  readonly order: number
  readonly callback: () => void
  readonly everyMs: number | undefined
  readonly owner: Owner | undefined
}

type Handler = (...args: unknown[]) => void

const NAMES = ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'setImmediate'] as const

/** What the event loop itself does between two turns, whatever `install` has put in its place. */
const realSetImmediate = setImmediate

/** Resolves once every promise that could settle without new input has done so. */
export function microtasksDone(): Promise<void> {
  return new Promise((resolve) => realSetImmediate(resolve))
}

/**
 * Timers that fire when they are told to: while installed, `setTimeout` and its kin are these. Each timer belongs to the
 * process whose turn it was when it was set, so that it dies or stands still with it.
 */
export class VirtualTime {
  readonly #timers = new Set<Timer>()
  readonly #ownerNow: () => Owner | undefined
  readonly #nextTurn: (owner: Owner | undefined, callback: () => void) => void
  #nowMs = 1_000_000
  #order = 0

  /** @param nextTurn what becomes of `setImmediate` */
  constructor(
    ownerNow: () => Owner | undefined,
    nextTurn: (owner: Owner | undefined, callback: () => void) => void
  ) {
    this.#ownerNow = ownerNow
    this.#nextTurn = nextTurn
  }

  get nowMs(): number {
    return this.#nowMs
  }

  /** Whether any timer of a process that lives and is not stopped is set. */
  get hasTimers(): boolean {
    return this.#next() !== undefined
  }

  /** Something took its time. */
  pass(ms: number): void {
    this.#nowMs += ms
  }

  /** Time passes until the next timer is due, and that one fires. */
  fireNext(fire: (owner: Owner | undefined, callback: () => void) => void): void {
    const timer = this.#next()
    if (timer === undefined) return
    this.#nowMs = Math.max(this.#nowMs, timer.dueMs)
    if (timer.everyMs === undefined) this.#timers.delete(timer)
    else timer.dueMs = this.#nowMs + timer.everyMs
    fire(timer.owner, timer.callback)
  }

  /** Puts these timers in the place of Node's. Returns how to put those back. */
  install(): () => void {
    const globals = globalThis as unknown as Record<string, unknown>
    const real = NAMES.map((name) => [name, globals[name]] as const)
    const set = (handler: Handler, ms: number | undefined, args: unknown[], repeats: boolean): Timer => {
      const delayMs = Math.max(1, ms ?? 0)
      const timer: Timer = {
        dueMs: this.#nowMs + delayMs,
        order: this.#order++,
        callback: () => handler(...args),
        everyMs: repeats ? delayMs : undefined,
        owner: this.#ownerNow()
      }
      this.#timers.add(timer)
      return Object.assign(timer, { unref: () => timer, ref: () => timer, hasRef: () => true })
    }
    const clear = (timer: Timer | undefined): void => void this.#timers.delete(timer!)
    globals['setTimeout'] = (handler: Handler, ms?: number, ...args: unknown[]) =>
      set(handler, ms, args, false)
    globals['setInterval'] = (handler: Handler, ms?: number, ...args: unknown[]) =>
      set(handler, ms, args, true)
    globals['clearTimeout'] = clear
    globals['clearInterval'] = clear
    globals['setImmediate'] = (handler: Handler, ...args: unknown[]) =>
      this.#nextTurn(this.#ownerNow(), () => handler(...args))
    return () => {
      for (const [name, value] of real) globals[name] = value
    }
  }

  #next(): Timer | undefined {
    let next: Timer | undefined
    for (const timer of this.#timers) {
      if (timer.owner?.isDead === true) this.#timers.delete(timer)
      // It fires late, when its process goes on.
      else if (timer.owner?.isStopped === true) continue
      else if (next === undefined || timer.dueMs < next.dueMs) next = timer
      else if (timer.dueMs === next.dueMs && timer.order < next.order) next = timer
    }
    return next
  }
}
