import { AsyncLocalStorage } from 'node:async_hooks'
import { ClosedError, LoadTimeoutError } from '../errors.js'
import { LONGEST_TIMER_MS, type Clock } from '../clock.js'
import type { Events, LoadReason } from '../events.js'
import type { CacheId, LoadContext } from '../ports.js'
import type { ConcurrencyLimit } from '../policy/concurrency-limit.js'
import type { ReadRequest } from '../tiers/request.js'

/** The loads that a piece of code runs inside of, innermost first. */
interface Nesting {
  readonly keys: ReadonlySet<string>
  readonly outer: Nesting | undefined
  /** What the loader left behind, such as a timer or a pool, runs in it still, but inside of nothing any more. */
  over: boolean
}

/** What a loader returned, and what it cost, without the wait for its turn. */
export interface Loaded {
  readonly value: unknown
  readonly durationMs: number
}

/** Runs the user's loaders: under the limit on concurrent loads, under a deadline, with a signal, with its facts reported. */
export class LoadRunner {
  readonly #limit: ConcurrencyLimit
  readonly #events: Events
  readonly #clock: Clock
  readonly #nesting = new AsyncLocalStorage<Nesting>()
  readonly #running = new Set<AbortController>()
  #isOver = false

  constructor(limit: ConcurrencyLimit, events: Events, clock: Clock) {
    this.#limit = limit
    this.#events = events
    this.#clock = clock
  }

  get running(): number {
    return this.#limit.running
  }

  /** At whichever limit. */
  get queued(): number {
    return this.#limit.bound.waiting
  }

  /** Whether the calling code is itself part of a load of `key`, so that waiting for that load would never end. */
  isInsideLoadOf(key: string): boolean {
    for (let nesting = this.#nesting.getStore(); nesting !== undefined; nesting = nesting.outer) {
      if (!nesting.over && nesting.keys.has(key)) return true
    }
    return false
  }

  async load(request: ReadRequest, reason: LoadReason): Promise<Loaded> {
    const { source, id } = request
    const [loaded] = await this.#run([request], reason, async (context) => [await source.load(id, context)])
    return loaded!
  }

  /** One run of `loadMany` for requests of one source and tenant; in their order. */
  loadMany(requests: readonly ReadRequest[], reason: LoadReason): Promise<readonly Loaded[]> {
    const { loadMany } = requests[0]!.source
    return this.#run(requests, reason, (context) => loadMany!(requests.map(idOf), context))
  }

  /** Every loader's signal fires, and its callers get a `ClosedError`; so does who comes by now to the load it waited for. */
  abortAll(): void {
    this.#isOver = true
    for (const controller of this.#running) controller.abort(new ClosedError())
  }

  async #run(
    requests: readonly ReadRequest[],
    reason: LoadReason,
    work: (context: LoadContext) => Promise<readonly unknown[]>
  ): Promise<readonly Loaded[]> {
    if (this.#isOver) throw new ClosedError()
    const { source, tenant, key } = requests[0]!
    const controller = new AbortController()
    const { signal } = controller
    const timeoutMs = Math.min(source.policy.loadTimeoutMs, LONGEST_TIMER_MS)
    // As for Redis calls: after a stall of this process the answer may be waiting to be read.
    const queuedAt = this.#clock.now()
    let begunAt: number | undefined
    const late = (): LoadTimeoutError =>
      new LoadTimeoutError(key, timeoutMs, Math.floor((begunAt ?? this.#clock.now()) - queuedAt))
    const timer = setTimeout(() => setImmediate(() => controller.abort(late())), timeoutMs)
    this.#running.add(controller)
    try {
      return await this.#inTurn(source.loadLimit, signal, () => {
        begunAt = this.#clock.now()
        return this.#reported(requests, reason, () =>
          this.#nested(requests, signal, () => work({ signal, tenant }))
        )
      })
    } finally {
      clearTimeout(timer)
      this.#running.delete(controller)
      // While it is in use every promise of the process costs more (Node 20 and 22), cache hits above all.
      if (this.#running.size === 0) this.#nesting.disable()
    }
  }

  /**
   * A load that a loader asked for runs in its loader's place: were it to queue, loaders waiting for it could hold
   * every place there is. The collection's own limit comes first: who waits there takes no place from others.
   */
  #inTurn<T>(own: ConcurrencyLimit | undefined, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    let outer = this.#nesting.getStore()
    while (outer?.over === true) outer = outer.outer
    if (outer !== undefined) return work()
    const among = (): Promise<T> => this.#limit.run(work, signal)
    return own === undefined ? among() : own.run(among, signal)
  }

  /** A loader that goes on after its signal fired is left alone, and so is its place: the next may begin. */
  async #nested(
    requests: readonly ReadRequest[],
    signal: AbortSignal,
    work: () => Promise<readonly unknown[]>
  ): Promise<readonly unknown[]> {
    const keys = new Set(requests.map((request) => request.key))
    const nesting: Nesting = { keys, outer: this.#nesting.getStore(), over: false }
    try {
      return await firstOf(this.#nesting.run(nesting, work), signal)
    } finally {
      nesting.over = true
    }
  }

  async #reported(
    requests: readonly ReadRequest[],
    reason: LoadReason,
    work: () => Promise<readonly unknown[]>
  ): Promise<readonly Loaded[]> {
    const { stats, name } = requests[0]!.source
    for (const { key } of requests) this.#events.emit('load', { key, collection: name, reason })
    const startedAt = this.#clock.now()
    const end = (): number => {
      const durationMs = this.#clock.now() - startedAt
      stats.loads++
      stats.loadMs += durationMs
      return durationMs
    }
    try {
      const values = await work()
      const durationMs = end()
      return requests.map(({ key }, index) => {
        const value = values[index]
        if (value === undefined) stats.notFound++
        this.#events.emit('loaded', { key, collection: name, durationMs, found: value !== undefined })
        return { value, durationMs }
      })
    } catch (error) {
      const durationMs = end()
      stats.loadFailures++
      for (const { key } of requests)
        this.#events.emit('loadFailed', { key, collection: name, durationMs, error })
      throw error
    }
  }
}

/** `work`, unless the signal fires first; what a loader does after that is nobody's. */
function firstOf<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) reject(signal.reason as Error)
    const giveUp = (): void => reject(signal.reason as Error)
    signal.addEventListener('abort', giveUp, { once: true })
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', giveUp))
  })
}

const idOf = (request: ReadRequest): CacheId => request.id
