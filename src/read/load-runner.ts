import { AsyncLocalStorage } from 'node:async_hooks'
import { ClosedError, LoadTimeoutError } from '../errors.js'
import type { Clock } from '../clock.js'
import type { Events, LoadReason } from '../events.js'
import type { CacheId, LoadContext } from '../ports.js'
import { ConcurrencyLimit } from '../policy/concurrency-limit.js'
import type { ReadRequest } from '../tiers/request.js'

/** The loads that a piece of code runs inside of, innermost first. */
interface Nesting {
  readonly keys: ReadonlySet<string>
  readonly outer: Nesting | undefined
}

/** Runs the user's loaders: under the limit on concurrent loads, under a deadline, with a signal, with its facts reported. */
export class LoadRunner {
  readonly #limit: ConcurrencyLimit
  readonly #events: Events
  readonly #clock: Clock
  readonly #nesting = new AsyncLocalStorage<Nesting>()
  readonly #running = new Set<AbortController>()

  constructor(limit: ConcurrencyLimit, events: Events, clock: Clock) {
    this.#limit = limit
    this.#events = events
    this.#clock = clock
  }

  get running(): number {
    return this.#limit.running
  }

  get queued(): number {
    return this.#limit.queued
  }

  /** Whether the calling code is itself part of a load of `key`, so that waiting for that load would never end. */
  isInsideLoadOf(key: string): boolean {
    for (let nesting = this.#nesting.getStore(); nesting !== undefined; nesting = nesting.outer) {
      if (nesting.keys.has(key)) return true
    }
    return false
  }

  async load(request: ReadRequest, reason: LoadReason): Promise<unknown> {
    const { source, id } = request
    const [value] = await this.#run([request], reason, async (context) => [await source.load(id, context)])
    return value
  }

  /** One run of `loadMany` for requests of one source and tenant; values in their order. */
  loadMany(requests: readonly ReadRequest[], reason: LoadReason): Promise<readonly unknown[]> {
    const { loadMany } = requests[0]!.source
    return this.#run(requests, reason, (context) => loadMany!(requests.map(idOf), context))
  }

  /** Every loader's signal fires, and its callers get a `ClosedError`. */
  abortAll(): void {
    for (const controller of this.#running) controller.abort(new ClosedError())
  }

  async #run(
    requests: readonly ReadRequest[],
    reason: LoadReason,
    work: (context: LoadContext) => Promise<readonly unknown[]>
  ): Promise<readonly unknown[]> {
    const { source, tenant, key } = requests[0]!
    const controller = new AbortController()
    const { signal } = controller
    const { loadTimeoutMs } = source.policy
    // As for Redis calls: after a stall of this process the answer may be waiting to be read.
    const timer = setTimeout(
      () => setImmediate(() => controller.abort(new LoadTimeoutError(key, loadTimeoutMs))),
      loadTimeoutMs
    )
    this.#running.add(controller)
    for (const request of requests)
      this.#events.emit('load', { key: request.key, collection: source.name, reason })
    const startedAt = this.#clock.now()
    try {
      const values = await firstOf(
        this.#inTurn(requests, signal, () => work({ signal, tenant })),
        signal
      )
      this.#succeeded(requests, values, this.#clock.now() - startedAt)
      return values
    } catch (error) {
      this.#failed(requests, error, this.#clock.now() - startedAt)
      throw error
    } finally {
      clearTimeout(timer)
      this.#running.delete(controller)
    }
  }

  /**
   * A load that a loader asked for runs in its loader's place: were it to queue, loaders waiting for it could hold
   * every place there is.
   */
  #inTurn(
    requests: readonly ReadRequest[],
    signal: AbortSignal,
    work: () => Promise<readonly unknown[]>
  ): Promise<readonly unknown[]> {
    const outer = this.#nesting.getStore()
    const nesting: Nesting = { keys: new Set(requests.map((request) => request.key)), outer }
    const nested = (): Promise<readonly unknown[]> => this.#nesting.run(nesting, work)
    return outer === undefined ? this.#limit.run(nested, signal) : nested()
  }

  #succeeded(requests: readonly ReadRequest[], values: readonly unknown[], durationMs: number): void {
    const { stats, name } = requests[0]!.source
    stats.loads++
    stats.loadMs += durationMs
    for (let index = 0; index < requests.length; index++) {
      const found = values[index] !== undefined
      if (!found) stats.notFound++
      this.#events.emit('loaded', { key: requests[index]!.key, collection: name, durationMs, found })
    }
  }

  #failed(requests: readonly ReadRequest[], error: unknown, durationMs: number): void {
    const { stats, name } = requests[0]!.source
    stats.loads++
    stats.loadMs += durationMs
    stats.loadFailures++
    for (const { key } of requests)
      this.#events.emit('loadFailed', { key, collection: name, durationMs, error })
  }
}

/** `work`, unless the signal fires first; what a loader does after that is nobody's. */
function firstOf<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const giveUp = (): void => reject(signal.reason as Error)
    signal.addEventListener('abort', giveUp, { once: true })
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', giveUp))
  })
}

const idOf = (request: ReadRequest): CacheId => request.id
