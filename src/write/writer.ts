import type { PayloadCodec } from '../codec/codec.js'
import { ClosedError, RedisUnavailableError, UncacheableValueError, WriteTimeoutError } from '../errors.js'
import { LONGEST_TIMER_MS, type Clock } from '../clock.js'
import type { Events, WriteOutcome } from '../events.js'
import type { EntryStore, Publication } from '../tiers/entry-store.js'
import type { FillGate } from '../tiers/fill-gate.js'
import type { Capture, Scope } from '../tiers/generation.js'
import { pack, stamper, type Packed } from '../tiers/pack.js'
import type { ReadRequest } from '../tiers/request.js'
import { Guards, NOTHING_WRITTEN, OUTCOME_UNKNOWN, type TagTarget } from './guards.js'
import type { PendingInvalidations } from './pending-invalidations.js'

/** What the source has for a key after a change: a row, or nothing any more. */
export interface NewRow {
  /** Undefined: the source has no such thing now. */
  readonly value: unknown
  /** Of the row, where the collection gives one. */
  readonly version: number | undefined
}

export interface Change<Result> {
  /** The entries that the change makes wrong. */
  readonly requests: readonly ReadRequest[]
  readonly tags?: readonly TagTarget[] | undefined
  /** Changes the source, and resolves once that is committed. */
  readonly work: (signal: AbortSignal) => Promise<Committed<Result>>
  readonly timeoutMs: number
  /** Whether the change is made while Redis cannot be told of it. */
  readonly whenRedisAway: 'refuse' | 'remember'
}

export interface Committed<Result> {
  readonly result: Result
  /** What to publish, by key; a key that is left out is dropped. */
  readonly rows: ReadonlyMap<string, NewRow>
}

export interface Changed<Result> {
  readonly result: Result
  readonly outcome: WriteOutcome
  /** Copies of the published rows, as a hit would give them. */
  readonly copies: ReadonlyMap<string, unknown>
}

export interface WriterParts {
  readonly store: EntryStore
  readonly codec: PayloadCodec
  readonly events: Events
  readonly clock: Clock
  readonly pending: PendingInvalidations
  readonly gate: FillGate
  readonly guardMs: number
  /** Readers of this process that come from now on do not join what is under way for these keys. */
  readonly forget: (keys: readonly string[]) => void
}

const GUARD_AFTER_TIMEOUT_MS = 10 * 60_000

/** Of each scope; nothing is published under one that is missing. */
type Captures = ReadonlyMap<Scope, Capture | undefined>

const NOT_GUARDED: Captures = new Map()

/**
 * Guard, commit, publish.
 *
 *   1. A guard on every entry: what was cached is gone, loads in progress are void, nothing is filled from now on.
 *   2. The user's change of the source, with the guards renewed while it runs.
 *   3. What was saved takes the guard's place, if it is known to be the latest; else the entry is deleted.
 *
 * If the process dies in between, the guards run out and the next reader loads. If the change throws, nobody knows
 * whether it happened, and the entries are deleted.
 */
export class Writer {
  readonly #parts: WriterParts
  readonly #running = new Set<Promise<unknown>>()
  readonly #controllers = new Set<AbortController>()
  /** Of changes that are over their deadline and have not settled. */
  readonly #leftBehind = new Set<Guards>()
  #closed = false
  #aborted = false

  constructor(parts: WriterParts) {
    this.#parts = parts
  }

  change<Result>(change: Change<Result>): Promise<Changed<Result>> {
    return this.#untilDone(this.#change(change))
  }

  /**
   * Declares entries wrong without changing anything. After it resolves as `confirmed` nobody gets a value whose load
   * began before. Rejects when Redis did not confirm it, unless it is to be remembered.
   */
  invalidate(
    requests: readonly ReadRequest[],
    whenRedisAway: Change<unknown>['whenRedisAway'],
    soft = false
  ): Promise<'confirmed' | 'pending'> {
    return this.#untilDone(this.#invalidate(requests, whenRedisAway, soft))
  }

  async #invalidate(
    requests: readonly ReadRequest[],
    whenRedisAway: Change<unknown>['whenRedisAway'],
    soft: boolean
  ): Promise<'confirmed' | 'pending'> {
    if (this.#closed) throw new ClosedError()
    const { store, events, pending, forget } = this.#parts
    const keys = requests.map(({ key }) => key)
    for (const { source } of requests) source.stats.invalidations++
    forget(keys)
    try {
      const drop = (): Promise<number> => (soft ? store.soften(keys) : store.drop(keys))
      const dropped = keys.length === 0 ? 0 : await drop()
      events.emit('invalidated', { keys, dropped, soft })
      return 'confirmed'
    } catch (error) {
      if (whenRedisAway === 'refuse' || !(error instanceof RedisUnavailableError)) throw error
      if (!pending.reserve(keys.length)) throw error
      pending.unreserve(keys.length)
      pending.add(keys, [], store)
      return 'pending'
    } finally {
      // Again: a flight that began meanwhile may have read what was dropped only after.
      forget(keys)
    }
  }

  /**
   * Stores what the caller brings, and changes no source. False while a write of the entry is under way. Rejects for
   * a value that cannot be cached, and when Redis did not confirm.
   */
  set(request: ReadRequest, value: unknown): Promise<boolean> {
    return this.#untilDone(this.#set(request, value))
  }

  async #set(request: ReadRequest, value: unknown): Promise<boolean> {
    if (this.#closed) throw new ClosedError()
    const { store, codec, clock, forget, pending, gate } = this.#parts
    const { key, scope, source } = request
    const stampOf = stamper(store.generations, request, () => store.generations.capture(scope))
    const packParts = { codec, draw: clock.random(), mostBytes: store.mostBytes(key) }
    const packed = await pack(key, value, 0, source.policy, packParts, stampOf)
    if (packed.tooLarge !== undefined) throw packed.tooLarge
    if (packed.frame === undefined || pending.has(key)) return false
    if (!gate.reserve(request, packed.frame.length)) return false
    forget([key])
    let stored = false
    try {
      stored = await store.set(key, packed.frame, packed.lifeMs)
    } finally {
      if (stored) gate.stored(request, packed.frame.length, packed.lifeMs)
      else gate.giveBack(request, packed.frame.length)
      forget([key])
    }
    return stored
  }

  /** What closing waits for. */
  #untilDone<T>(work: Promise<T>): Promise<T> {
    this.#running.add(work)
    const done = (): void => void this.#running.delete(work)
    work.then(done, done)
    return work
  }

  /** Refuses new writes. */
  close(): void {
    this.#closed = true
  }

  async drain(): Promise<void> {
    while (this.#running.size > 0) await Promise.allSettled(this.#running)
  }

  abort(): void {
    this.#aborted = true
    for (const controller of this.#controllers) controller.abort(new ClosedError())
    for (const guards of this.#leftBehind) guards.abandon()
    this.#leftBehind.clear()
  }

  async #change<Result>(change: Change<Result>): Promise<Changed<Result>> {
    if (this.#closed) throw new ClosedError()
    const { clock } = this.#parts
    const guards = new Guards(keysOf(change), change.tags ?? [], this.#parts)
    const startedAt = clock.now()
    this.#parts.forget(guards.keys)
    const reserved = this.#reserve(change)
    try {
      const captures = await this.#guardOrRefuse(guards, change)
      const { result, rows } = await this.#work(guards, change)
      const { outcome, copies } = await this.#publish(guards, change, captures, rows)
      this.#parts.forget(guards.keys)
      this.#reportWritten(change, outcome, clock.now() - startedAt)
      return { result, outcome, copies }
    } catch (error) {
      this.#parts.forget(guards.keys)
      this.#reportFailed(change, error, clock.now() - startedAt)
      throw error
    } finally {
      this.#parts.pending.unreserve(reserved)
    }
  }

  /** A place for each key among the undelivered invalidations, before there is anything to deliver. */
  #reserve({ requests, tags = [], whenRedisAway }: Change<unknown>): number {
    const { pending } = this.#parts
    const count = requests.length + 2 * tags.length
    if (pending.reserve(count)) return count
    if (whenRedisAway === 'refuse') return 0
    throw new RedisUnavailableError(`take invalidations, and ${pending.size} wait for it already`)
  }

  /**
   * With the guards, the generations that the change begins under. None when the guards are not known to stand: one that
   * was not confirmed may be set late, over a newer row, and look then as if its writer had been alone, so nothing is
   * published under it.
   */
  async #guardOrRefuse(guards: Guards, change: Change<unknown>): Promise<Captures> {
    const { generations } = this.#parts.store
    try {
      const scopes = [...new Set(change.requests.map(({ scope }) => scope))]
      const [captures] = await Promise.all([
        Promise.all(scopes.map(async (scope) => [scope, await generations.capture(scope)] as const)),
        guards.take()
      ])
      return new Map(captures)
    } catch (error) {
      if (change.whenRedisAway === 'remember' && error instanceof RedisUnavailableError) return NOT_GUARDED
      guards.release()
      throw error
    }
  }

  async #work<Result>(guards: Guards, { work, timeoutMs }: Change<Result>): Promise<Committed<Result>> {
    // Closed while the guards were taken: nobody would be told of the change any more, nor remember it.
    if (this.#aborted) throw new ClosedError()
    const controller = new AbortController()
    this.#controllers.add(controller)
    guards.startRenewing()
    const working = work(controller.signal)
    let timer: NodeJS.Timeout | undefined
    try {
      return await new Promise<Committed<Result>>((resolve, reject) => {
        timer = setTimeout(
          () => setImmediate(() => controller.abort(new WriteTimeoutError(timeoutMs))),
          Math.min(timeoutMs, LONGEST_TIMER_MS)
        )
        controller.signal.addEventListener('abort', () => reject(controller.signal.reason as Error), {
          once: true
        })
        working.then(resolve, reject)
      })
    } catch (error) {
      if (controller.signal.aborted) this.#keepGuarded(guards, working)
      else await guards.settle(() => OUTCOME_UNKNOWN)
      throw error
    } finally {
      clearTimeout(timer)
      this.#controllers.delete(controller)
    }
  }

  /**
   * A change over its deadline goes on behind our back and may commit after all, so its guards stay: for as long as it
   * runs, within reason, and while this cache is open. A reader meanwhile asks the source.
   */
  #keepGuarded(guards: Guards, working: Promise<unknown>): void {
    if (this.#aborted) return guards.abandon()
    const giveUp = setTimeout(() => guards.abandon(), GUARD_AFTER_TIMEOUT_MS)
    giveUp.unref()
    this.#leftBehind.add(guards)
    const settle = (): void => {
      clearTimeout(giveUp)
      if (this.#leftBehind.delete(guards)) void guards.settle(() => OUTCOME_UNKNOWN)
    }
    working.then(settle, settle)
  }

  async #publish(
    guards: Guards,
    { requests }: Change<unknown>,
    captures: Captures,
    rows: ReadonlyMap<string, NewRow>
  ): Promise<{ outcome: WriteOutcome; copies: ReadonlyMap<string, unknown> }> {
    const { gate } = this.#parts
    const copies = new Map<string, unknown>()
    const publications = new Map<string, Publication>()
    try {
      for (const request of requests) {
        const row = rows.get(request.key)
        if (row === undefined) continue
        const packed = await this.#pack(request, row.value, captures.get(request.scope))
        copies.set(request.key, packed === undefined ? row.value : await packed.copy())
        if (packed?.frame === undefined || !gate.reserve(request, packed.frame.length)) continue
        const { frame, lifeMs } = packed
        // Whether it was is known for all of a change only, and a count puts it right.
        gate.stored(request, frame.length, lifeMs)
        publications.set(request.key, { frame, lifeMs, version: row.version, unknown: false })
      }
    } catch (error) {
      // The user's own `tags`, or budget, threw. The change is made, and guards that nobody takes away would be renewed for ever.
      await guards.settle(() => NOTHING_WRITTEN)
      throw error
    }
    const outcome = await guards.settle((key) => publications.get(key) ?? NOTHING_WRITTEN)
    return { outcome, copies }
  }

  /** Undefined for a row that cannot be cached: it is written all the same, and its readers will be told. */
  async #pack(
    request: ReadRequest,
    value: unknown,
    capture: Capture | undefined
  ): Promise<Packed | undefined> {
    const { codec, clock, store } = this.#parts
    const { key, source } = request
    const stampOf = stamper(store.generations, request, capture)
    const packParts = { codec, draw: clock.random(), mostBytes: store.mostBytes(key) }
    try {
      return await pack(key, value, 0, source.policy, packParts, stampOf)
    } catch (error) {
      if (error instanceof UncacheableValueError) return undefined
      throw error
    }
  }

  #reportWritten({ requests }: Change<unknown>, outcome: WriteOutcome, durationMs: number): void {
    for (const { key, source } of requests) {
      source.stats.writes++
      this.#parts.events.emit('written', { key, collection: source.name, durationMs, outcome })
    }
  }

  #reportFailed({ requests }: Change<unknown>, error: unknown, durationMs: number): void {
    for (const { key, source } of requests) {
      source.stats.writes++
      source.stats.writeFailures++
      this.#parts.events.emit('writeFailed', { key, collection: source.name, durationMs, error })
    }
  }
}

function keysOf({ requests }: Change<unknown>): string[] {
  return [...new Set(requests.map(({ key }) => key))]
}
