import { ClosedError, RedisUnavailableError } from '../errors.js'
import { LONGEST_TIMER_MS, type Clock } from '../clock.js'
import type { RedisHealth } from '../health.js'
import { Breaker } from '../policy/breaker.js'
import { Patience, withDeadline } from '../policy/deadline.js'
import { Waiters } from '../policy/waiters.js'
import { ChosenDatabase } from './chosen-database.js'
import type { OpenedClient, RedisClient } from './client.js'
import { ClusterNodes } from './cluster-nodes.js'
import { isSilence, Silence, troubleOf, type RedisTrouble } from './error-class.js'
import { watchHandshake } from './handshake.js'
import type { LinkOptions, LinkReporter, LinkState } from './link-reporter.js'
import { connectAnew, reviveWhenEnded } from './reconnect.js'
import { ServerClock } from './server-clock.js'
import { sentenceOf, TroubleLog } from './trouble-log.js'

export type { LinkState } from './link-reporter.js'

/** What name look-up, TLS, AUTH and a Cluster's slot table may take before the first command. */
const BOOT_MS = 1_000

/** After so many calls in a row without any answer the connection counts as dead. */
const SILENCES_MOST = 3
const PROBE_PAUSE_MS = 100
const PROBE_PAUSE_MOST_MS = 400

/**
 * The way to Redis for commands: whether it can be used now, and a deadline on every call.
 *
 *   starting ──first probe answered──▶ ready ◀──a probe succeeded──  away
 *       └──refused, or BOOT_MS over──▶ away     ready ──connection lost, or the breaker opened──▶ away
 *
 * While starting, a call waits for the connection, so that a fresh process does not greet its source with a herd.
 * Later a call without a connection fails at once: it has a source to go to. While it is away the link itself probes;
 * no caller pays for finding out.
 */
export class RedisLink {
  readonly client: RedisClient
  readonly serverClock: ServerClock
  readonly timeoutMs: number
  /** Of a Cluster: which of its nodes answer. */
  readonly nodes: ClusterNodes | undefined
  readonly #opened: OpenedClient
  readonly #database: ChosenDatabase
  readonly #clock: Clock
  readonly #probeKey: string
  readonly #reporter: LinkReporter
  readonly #breaker = new Breaker({
    silencesMost: SILENCES_MOST,
    pauseMs: PROBE_PAUSE_MS,
    pauseMostMs: PROBE_PAUSE_MOST_MS
  })
  readonly #troubles = new TroubleLog()
  /** Of the calls under way over this link's own connection. */
  readonly #patience = new Patience()
  /** Calls that wait for the first probe. */
  readonly #waiting = new Waiters()
  /** Who waits for it to be usable, however long that takes. */
  readonly #hopeful = new Waiters()
  readonly #readyListeners: (() => void)[] = []
  readonly #lostListeners: (() => void)[] = []
  readonly #stopWatching: (() => void)[] = []
  #beforeReady: ((client: RedisClient) => Promise<void>) | undefined
  #bootTimer: NodeJS.Timeout | undefined
  #probeTimer: NodeJS.Timeout | undefined
  #state: LinkState = 'starting'
  #reported: 'open' | 'closed' = 'closed'
  #since = new Date()
  #reason: string | undefined
  /** It answers, and refuses what nothing works without: waiting does not mend that. */
  #refusal: unknown
  /** Of the connection: a probe's answer counts for the one it was asked on. */
  #session = 0

  constructor(opened: OpenedClient, options: LinkOptions, reporter: LinkReporter) {
    this.#opened = opened
    this.#database = new ChosenDatabase(opened)
    this.client = opened.client
    this.timeoutMs = options.timeoutMs
    this.#clock = options.clock
    this.#probeKey = options.probeKey
    this.serverClock = new ServerClock(options.clock)
    this.nodes = this.client.isCluster
      ? new ClusterNodes(this.client, options.clock, options.timeoutMs)
      : undefined
    this.#reporter = reporter
    this.client.on('ready', this.#onReady)
    this.client.on('close', this.#onClose)
    this.client.on('end', this.#onClose)
    this.client.on('select', this.#onSelect)
    // A driver of the user's keeps its own error handling; ours would otherwise print to the console.
    if (opened.owned) this.client.on('error', this.#onError)
    if (opened.owned)
      this.#stopWatching.push(watchHandshake(this.client, this.timeoutMs), reviveWhenEnded(this.client))
    this.#bootTimer = setTimeout(
      () => this.#enter('away', 'it was not reached in time'),
      Math.min(LONGEST_TIMER_MS, Math.max(this.timeoutMs, BOOT_MS))
    )
    this.#bootTimer.unref()
    if (this.client.status === 'ready') this.#onReady()
    else if (this.client.status === 'wait') this.client.connect().catch(this.#onError)
  }

  get state(): LinkState {
    return this.#state
  }

  health(): RedisHealth {
    const breaker = this.#breaker.state.kind
    return {
      state: this.#state,
      since: this.#since,
      breaker,
      reason: this.#reason,
      errors: this.#troubles.errors
    }
  }

  /** What somebody has to mend, a sentence each. */
  problems(): string[] {
    return [...this.#troubles.problems(this.#clock.now()), ...(this.nodes?.problems() ?? [])]
  }

  /**
   * Runs `send` under the deadline. Whatever goes wrong comes out as `RedisUnavailableError` with the reason in `cause`.
   *
   * @param onSilence called when nothing came back in time, for a call over another connection than this link's, or to one
   * node of a Cluster; answers whether that says something of this link as well
   */
  async call<T>(
    action: string,
    send: (client: RedisClient) => Promise<T>,
    onSilence?: () => boolean
  ): Promise<T> {
    try {
      if (this.#state !== 'ready') await this.#usable()
      const late = (): Error => new Silence(this.timeoutMs)
      const patience = onSilence === undefined ? this.#patience : undefined
      const answer = await withDeadline(send(this.client), this.timeoutMs, late, patience)
      if (onSilence === undefined || this.nodes !== undefined) this.#breaker.answered()
      return answer
    } catch (error) {
      const isOurs = !isSilence(error) || onSilence === undefined || onSilence()
      if (isOurs) this.#failed(error)
      this.#reporter.callFailed(action, error)
      throw new RedisUnavailableError(action, { cause: error })
    }
  }

  /** The same for what concerns one key: on a Cluster its node alone is to blame for silence. */
  callFor<T>(key: string, action: string, send: (client: RedisClient) => Promise<T>): Promise<T> {
    if (this.nodes === undefined) return this.call(action, send)
    const watched = this.nodes.watching(this.nodes.nodeOf(key), key, send)
    return this.call(action, watched.send, watched.onSilence)
  }

  /** A call over another connection to the same place came to nothing. */
  report(action: string, error: unknown): void {
    this.#noted(error)
    this.#reporter.callFailed(action, error)
  }

  /** Calls `listener` whenever the connection becomes usable, also when it is already. */
  onReady(listener: () => void): void {
    this.#readyListeners.push(listener)
    if (this.#state === 'ready') listener()
  }

  /** Resolves when the connection can be used; rejects when it is closed first, or the server says that it may not be. */
  whenReady(): Promise<void> {
    if (this.#state === 'ready') return Promise.resolve()
    if (this.#state === 'closed') return Promise.reject(new ClosedError())
    if (this.#refusal !== undefined) return Promise.reject(this.#refused())
    return this.#hopeful.wait()
  }

  /** Calls `listener` whenever it may be another server, or a demoted one, that the next call meets. */
  onLost(listener: () => void): void {
    this.#lostListeners.push(listener)
  }

  /** Throws when the driver has been sent to another database than that of the entries: whatever is sent next is about that one. */
  assertDatabase(): void {
    this.#database.assert()
  }

  /** What Redis must be told before it may be asked anything, at every connect. */
  set beforeReady(tell: (client: RedisClient) => Promise<void>) {
    this.#beforeReady = tell
  }

  duplicate(): RedisClient | undefined {
    return this.#opened.duplicate()
  }

  duplicateForChannel(): RedisClient {
    return this.#opened.duplicateForChannel()
  }

  async close(): Promise<void> {
    if (this.#state === 'closed') return
    const wasReady = this.#state === 'ready'
    this.#enter('closed', undefined)
    clearTimeout(this.#probeTimer)
    this.nodes?.close()
    for (const stop of this.#stopWatching) stop()
    this.client.off('ready', this.#onReady)
    this.client.off('close', this.#onClose)
    this.client.off('end', this.#onClose)
    this.client.off('select', this.#onSelect)
    if (!this.#opened.owned) return
    if (wasReady)
      await withDeadline(this.client.quit(), this.timeoutMs, () => new Silence(this.timeoutMs)).catch(
        this.#onError
      )
    this.client.disconnect()
  }

  #usable(): Promise<void> {
    if (this.#state === 'ready') return Promise.resolve()
    if (this.#state !== 'starting') return Promise.reject(new Error(`the connection is ${this.#state}`))
    return this.#waiting.wait()
  }

  /** What the failure of a call says about the next one. */
  #failed(error: unknown): void {
    // It failed because the link is away: that is known.
    if (this.#state !== 'ready') return
    const trouble = this.#noted(error)
    const nowMs = this.#clock.now()
    const draw = this.#clock.random()
    if (isSilence(error)) {
      // A connection can die without a word, and then nothing but a new one helps.
      if (!this.#breaker.silent(nowMs, draw)) return
      this.#opensAway(trouble, true)
      // In the words of the driver, which says so too, but a user's never and ours when the other side has let go.
      this.#patience.end(() => new Error('Connection is closed.'))
      return
    }
    // One node of a Cluster speaks for itself alone.
    const opens =
      trouble.isTotal &&
      (this.client.isCluster ? this.#breaker.silent(nowMs, draw) : this.#breaker.trip(nowMs, draw))
    if (opens) this.#opensAway(trouble, trouble.errorClass !== 'down')
  }

  #opensAway(trouble: RedisTrouble, isElsewhere: boolean): void {
    this.#reportBreaker('open')
    this.#enter('away', sentenceOf(trouble))
    for (const listener of this.#lostListeners) listener()
    // A driver of the user's is not ours to disconnect: what it does about it is in its own options.
    if (isElsewhere && this.#opened.owned) {
      this.#session++
      connectAnew(this.client)
    } else this.#probeLater()
  }

  readonly #onReady = (): void => {
    this.#session++
    this.serverClock.forget()
    void this.#probe()
  }

  readonly #onClose = (): void => {
    this.#session++
    clearTimeout(this.#probeTimer)
    if (this.#state === 'closed') return
    const wasReady = this.#state === 'ready'
    this.#enter('away', this.#reason ?? 'the connection was lost')
    if (wasReady) for (const listener of this.#lostListeners) listener()
  }

  /** What was declared wrong in one database would be read from the other, by whoever comes when the driver is back in that. */
  readonly #onSelect = (database: number): void => {
    const elsewhere = this.#database.elsewhere(database)
    if (elsewhere === undefined || this.#state !== 'ready') return
    this.#breaker.trip(this.#clock.now(), this.#clock.random())
    this.#opensAway(this.#noted(elsewhere), false)
  }

  /** Asks what a server must do to be used: tell its time, take a write, hear what was undelivered. */
  async #probe(): Promise<void> {
    const session = this.#session
    const late = (): Error => new Silence(this.timeoutMs)
    // What waits to be told is many commands; of a Cluster, a silent node's part of it is left for later.
    const tellMs = this.nodes === undefined ? 10 * this.timeoutMs : this.timeoutMs
    this.#breaker.probing()
    try {
      await withDeadline(this.serverClock.sync(this.client), this.timeoutMs, late)
      await withDeadline(this.#database.select(this.client), this.timeoutMs, late)
      this.#database.assert()
      if (this.nodes === undefined)
        await withDeadline(this.client.unlink(this.#probeKey), this.timeoutMs, late).catch(this.#unlessTotal)
      const telling = Promise.resolve(this.#beforeReady?.(this.client))
      await withDeadline(telling, tellMs, late).catch(this.#unlessOneNode)
      // While it was asked nobody heeded where the driver was sent.
      this.#database.assert()
    } catch (error) {
      if (session === this.#session && this.#state !== 'closed') this.#probeFailed(error)
      return
    }
    if (session !== this.#session || this.#state === 'closed') return
    this.#refusal = undefined
    this.#breaker.probeSucceeded()
    this.#reportBreaker('closed')
    this.#enter('ready', undefined)
    void this.nodes?.findRights((error) => this.#noted(error))
  }

  // Connected, yet it does not serve: it loads its data, is frozen, or was demoted. Nothing else tells when that is over.
  #probeFailed(error: unknown): void {
    this.#reporter.connectionFailed(error)
    const trouble = this.#noted(error)
    this.#breaker.probeFailed(this.#clock.now(), this.#clock.random())
    this.#reportBreaker('open')
    this.#enter('away', sentenceOf(trouble))
    this.#refuseIf(trouble, error)
    // A name may lead to the one before for minutes: asking again takes a pause as every probe does, or a fleet would
    // do nothing but connect to it.
    if (trouble.errorClass === 'elsewhere' && this.#opened.owned) this.#later(() => connectAnew(this.client))
    else this.#probeLater()
  }

  #refused(): Error {
    const cause = new Error(this.#reason, { cause: this.#refusal })
    return new RedisUnavailableError('become usable', { cause })
  }

  #probeLater(): void {
    this.#later(() => void this.#probe())
  }

  /** When the breaker says so, if the connection is the same by then. */
  #later(goOn: () => void): void {
    clearTimeout(this.#probeTimer)
    const session = this.#session
    this.#probeTimer = setTimeout(() => {
      if (session === this.#session && this.#state !== 'closed') goOn()
    }, this.#breaker.probeInMs(this.#clock.now()) ?? PROBE_PAUSE_MS)
    this.#probeTimer.unref()
  }

  /** Writes that are refused for want of memory, disk or rights leave reads worth having. */
  readonly #unlessTotal = (error: unknown): void => {
    const trouble = troubleOf(error)
    if (trouble.isTotal || trouble.errorClass === 'down') throw error
    this.#noted(error)
  }

  /** Of a Cluster one node may be lost and the others worth having. What it was not told is tried again by whoever keeps it. */
  readonly #unlessOneNode = (error: unknown): void => {
    if (this.nodes === undefined || troubleOf(error).errorClass !== 'down') throw error
    this.#noted(error)
  }

  #reportBreaker(state: 'open' | 'closed'): void {
    if (this.#reported === state) return
    this.#reported = state
    this.#reporter.breakerChanged(state)
  }

  #noted(error: unknown): RedisTrouble {
    const trouble = troubleOf(error)
    if (this.#troubles.note(trouble, this.#clock.now()))
      this.#reporter.misconfigured(trouble.code, trouble.message, trouble.advice)
    return trouble
  }

  readonly #onError = (error: unknown): void => {
    // What the server refuses a connection for is told here alone: a password that was changed, too many clients.
    const trouble = this.#noted(error)
    this.#reason = sentenceOf(trouble)
    this.#reporter.connectionFailed(error)
    if (this.#state !== 'ready' && (trouble.isTotal || trouble.errorClass === 'down'))
      this.#refuseIf(trouble, error)
  }

  /** Nothing gets better by waiting for it. */
  #refuseIf({ errorClass }: RedisTrouble, error: unknown): void {
    this.#refusal = errorClass === 'misconfigured' ? error : undefined
    if (this.#refusal !== undefined) this.#hopeful.turnAway(() => this.#refused())
  }

  #enter(state: Exclude<LinkState, 'starting'>, reason: string | undefined): void {
    if (this.#state === 'closed') return
    this.#reason = reason
    if (this.#state === state) return
    this.#state = state
    this.#since = new Date()
    clearTimeout(this.#bootTimer)
    if (state === 'ready') this.#waiting.letOn()
    else this.#waiting.turnAway(() => new Error(`the connection is ${state}`))
    this.#reporter.stateChanged(state, reason)
    if (state === 'ready') {
      for (const listener of this.#readyListeners) listener()
      this.#hopeful.letOn()
    }
    if (state === 'closed') this.#hopeful.turnAway(() => new ClosedError())
  }
}
