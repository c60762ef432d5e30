import { RedisUnavailableError } from '../errors.js'
import type { Clock } from '../clock.js'
import { withDeadline } from '../policy/deadline.js'
import type { OpenedClient, RedisClient } from './client.js'
import { ServerClock } from './server-clock.js'

export type LinkState = 'starting' | 'ready' | 'away' | 'closed'

export interface LinkReporter {
  stateChanged(state: Exclude<LinkState, 'starting'>): void
  /** A call that Redis did not answer in time or refused. The caller goes on without it. */
  callFailed(action: string, error: unknown): void
  /** The driver's own report of a broken or refused connection. */
  connectionFailed(error: unknown): void
}

/** What name look-up, TLS, AUTH and a Cluster's slot table may take before the first command. */
const BOOT_MS = 1_000

/** After so many calls in a row without any answer the connection counts as dead. */
const SILENCES_MOST = 3

class Silence extends Error {
  constructor(timeoutMs: number) {
    super(`no answer within ${timeoutMs} ms`)
  }
}

/**
 * The way to Redis for commands: whether it can be used now, and a deadline on every call.
 *
 *   starting ──first answer──▶ ready ◀──reconnected, clock read──  away
 *       └──refused, or BOOT_MS over──▶ away          ready ──connection lost──▶ away
 *
 * While starting, a call waits for the connection, so that a fresh process does not greet its source with a herd.
 * Later a call without a connection fails at once: it has a source to go to.
 */
export class RedisLink {
  readonly client: RedisClient
  readonly serverClock: ServerClock
  readonly timeoutMs: number
  readonly #opened: OpenedClient
  readonly #reporter: LinkReporter
  readonly #waiting: { resolve: () => void; reject: (error: Error) => void }[] = []
  readonly #readyListeners: (() => void)[] = []
  #beforeReady: ((client: RedisClient) => Promise<void>) | undefined
  #bootTimer: NodeJS.Timeout | undefined
  #state: LinkState = 'starting'
  #session = 0
  /** Calls in a row that got no answer in time. */
  #silences = 0

  constructor(opened: OpenedClient, timeoutMs: number, clock: Clock, reporter: LinkReporter) {
    this.#opened = opened
    this.client = opened.client
    this.timeoutMs = timeoutMs
    this.serverClock = new ServerClock(clock)
    this.#reporter = reporter
    this.client.on('ready', this.#onReady)
    this.client.on('close', this.#onClose)
    this.client.on('end', this.#onClose)
    // A driver of the user's keeps its own error handling; ours would otherwise print to the console.
    if (opened.owned) this.client.on('error', this.#onError)
    this.#bootTimer = setTimeout(() => this.#enter('away'), Math.max(timeoutMs, BOOT_MS))
    this.#bootTimer.unref()
    if (this.client.status === 'ready') void this.#onReady()
    else if (this.client.status === 'wait') this.client.connect().catch(this.#onError)
  }

  get state(): LinkState {
    return this.#state
  }

  /**
   * Runs `send` under the deadline. Whatever goes wrong comes out as `RedisUnavailableError` with the reason in `cause`.
   *
   * @param onSilence called when nothing came back in time; for a call over another connection than this link's
   */
  async call<T>(
    action: string,
    send: (client: RedisClient) => Promise<T>,
    onSilence = this.#onSilence
  ): Promise<T> {
    try {
      if (this.#state !== 'ready') await this.#usable()
      const answer = await withDeadline(send(this.client), this.timeoutMs, () => new Silence(this.timeoutMs))
      if (onSilence === this.#onSilence) this.#silences = 0
      return answer
    } catch (error) {
      if (error instanceof Silence) onSilence()
      this.#reporter.callFailed(action, error)
      throw new RedisUnavailableError(action, { cause: error })
    }
  }

  /** Calls `listener` whenever the connection becomes usable, also when it is already. */
  onReady(listener: () => void): void {
    this.#readyListeners.push(listener)
    if (this.#state === 'ready') listener()
  }

  /** What Redis must be told before it may be asked anything, at every connect. */
  set beforeReady(tell: (client: RedisClient) => Promise<void>) {
    this.#beforeReady = tell
  }

  duplicate(): RedisClient | undefined {
    return this.#opened.duplicate()
  }

  async close(): Promise<void> {
    if (this.#state === 'closed') return
    const wasReady = this.#state === 'ready'
    this.#enter('closed')
    this.client.off('ready', this.#onReady)
    this.client.off('close', this.#onClose)
    this.client.off('end', this.#onClose)
    if (!this.#opened.owned) return
    if (wasReady) await withDeadline(this.client.quit(), this.timeoutMs, noAnswer).catch(this.#onError)
    this.client.disconnect()
  }

  #usable(): Promise<void> {
    if (this.#state === 'ready') return Promise.resolve()
    if (this.#state !== 'starting') return Promise.reject(new Error(`the connection is ${this.#state}`))
    return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }))
  }

  readonly #onReady = async (): Promise<void> => {
    const session = ++this.#session
    this.serverClock.forget()
    try {
      await withDeadline(this.serverClock.sync(this.client), this.timeoutMs, noAnswer)
      await withDeadline(Promise.resolve(this.#beforeReady?.(this.client)), 10 * this.timeoutMs, noAnswer)
    } catch (error) {
      this.#reporter.connectionFailed(error)
      if (session === this.#session && this.#state !== 'closed') this.#retryReady(session)
      return
    }
    this.#silences = 0
    if (session === this.#session) this.#enter('ready')
  }

  // Connected, yet it did not answer: a server that loads its data or is frozen. Nothing else would tell us when it is back.
  #retryReady(session: number): void {
    const timer = setTimeout(() => {
      if (session === this.#session && this.#state !== 'closed') void this.#onReady()
    }, this.timeoutMs)
    timer.unref()
  }

  readonly #onClose = (): void => {
    this.#session++
    if (this.#state !== 'closed') this.#enter('away')
  }

  // A connection can die without a word. Then nothing but a new one helps, and waiting for it costs every call its
  // deadline. Not so for a driver of the user's, which is not ours to disconnect.
  readonly #onSilence = (): void => {
    this.#silences++
    if (this.#silences < SILENCES_MOST || this.#state !== 'ready' || !this.#opened.owned) return
    this.#session++
    this.#enter('away')
    this.client.disconnect(true)
  }

  readonly #onError = (error: unknown): void => {
    this.#reporter.connectionFailed(error)
  }

  #enter(state: Exclude<LinkState, 'starting'>): void {
    if (this.#state === state || this.#state === 'closed') return
    this.#state = state
    clearTimeout(this.#bootTimer)
    const waiting = this.#waiting.splice(0)
    if (state === 'ready') for (const { resolve } of waiting) resolve()
    else for (const { reject } of waiting) reject(new Error(`the connection is ${state}`))
    this.#reporter.stateChanged(state)
    if (state === 'ready') for (const listener of this.#readyListeners) listener()
  }
}

const noAnswer = (): Error => new Error('Redis is connected but does not answer')
