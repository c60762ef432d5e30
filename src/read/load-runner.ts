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

/** Why a load leaves the line in front of a limit. */
const NEEDED_INSIDE = Symbol('a loader waits for it')

/** Runs the user's loaders: under the limit on concurrent loads, under a deadline, with a signal, with its facts reported. */
export class LoadRunner {
  readonly #limit: ConcurrencyLimit
  readonly #events: Events
  readonly #clock: Clock
  readonly #nesting = new AsyncLocalStorage<Nesting | undefined>()
  readonly #running = new Set<AbortController>()
  /** The keys of loads that are to take their turn, and what takes each out of the line. */
  readonly #inLine = new Map<string, AbortController>()
  /** The keys of loads that loaders wait for, and how many do. */
  readonly #neededInside = new Map<string, number>()
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

  /**
   * Waits for the load of `key` as `landing` tells of it. Where a loader does, that load takes its turn no more than one
   * that the loader begins:
   *
   *   1. Loaders have every place, and a load that somebody else began waits for its turn.
   *   2. The loaders ask for the same key, and join that load.
   *   3. Its turn would come when one of them is done.
   */
  waitFor<T>(key: string, landing: Promise<T>): Promise<T> {
    return this.#innermost() === undefined ? landing : this.#waitInside(key, landing)
  }

  async #waitInside<T>(key: string, landing: Promise<T>): Promise<T> {
    this.#neededInside.set(key, (this.#neededInside.get(key) ?? 0) + 1)
    this.#inLine.get(key)?.abort(NEEDED_INSIDE)
    try {
      return await landing
    } finally {
      const others = this.#neededInside.get(key)! - 1
      if (others > 0) this.#neededInside.set(key, others)
      else this.#neededInside.delete(key)
    }
  }

  /** What `begin` begins is part of no load, whatever load the calling code is part of. */
  outside(begin: () => void): void {
    if (this.#nesting.getStore() === undefined) begin()
    else this.#nesting.run(undefined, begin)
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
      return await this.#inTurn(requests, signal, () => {
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
  async #inTurn<T>(
    requests: readonly ReadRequest[],
    signal: AbortSignal,
    work: () => Promise<T>
  ): Promise<T> {
    if (this.#innermost() !== undefined) return work()
    if (requests.some(({ key }) => this.#neededInside.has(key))) return work()
    const line = new AbortController()
    const leave = (): void => line.abort(signal.reason)
    signal.addEventListener('abort', leave, { once: true })
    for (const { key } of requests) this.#inLine.set(key, line)
    const { loadLimit } = requests[0]!.source
    const among = (): Promise<T> => this.#limit.run(work, line.signal)
    try {
      return await (loadLimit === undefined ? among() : loadLimit.run(among, line.signal))
    } catch (error) {
      if (error !== NEEDED_INSIDE) throw error
      return await work()
    } finally {
      signal.removeEventListener('abort', leave)
      for (const { key } of requests) if (this.#inLine.get(key) === line) this.#inLine.delete(key)
    }
  }

  /** The load that the calling code is part of. */
  #innermost(): Nesting | undefined {
    let nesting = this.#nesting.getStore()
    while (nesting?.over === true) nesting = nesting.outer
    return nesting
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
