import { setTimeout as sleep } from 'node:timers/promises'
import type { Clock } from '../clock.js'
import type { MemoryHealth, WakeUpHealth } from '../health.js'
import { ChangeChannel, type Announcement, type ChannelNames } from './change-channel.js'
import type { RedisClient } from './client.js'
import { KeyListeners, type Wake } from './key-listeners.js'
import type { RedisLink } from './link.js'
import { HEARTBEAT_MS, TrackedPair, type PairListener } from './tracked-pair.js'

/** What is kept in this process and has to be dropped when Redis changes. */
export interface KeptEntries {
  /** Something happened to `key`: whatever was read of it before is nothing to go by. */
  drop(key: string): void
  /** The same for every key. */
  dropAll(): void
  /** What is kept may be served until then, on this process's clock. */
  trustUntil(untilMs: number): void
}

export interface CoherenceParts {
  readonly link: RedisLink
  readonly clock: Clock
  readonly names: ChannelNames
  /** Undefined where nothing is kept in memory. */
  readonly kept: KeptEntries | undefined
  readonly reporter: CoherenceReporter
}

export type CoherenceMode = Extract<MemoryHealth['mode'], 'tracking' | 'channel' | 'paused'>

export interface CoherenceReporter {
  modeChanged(mode: CoherenceMode, reason: string | undefined): void
  failed(error: unknown): void
}

/** Who begins to listen believes what it hears only after longer than this. */
const LISTENERS_KNOWN_MS = 1.5 * HEARTBEAT_MS

const DECIDED_MOST_MS = 5 * HEARTBEAT_MS

/** What is kept is true as of the last proof; two heartbeats later it counts as unknown. */
const TRUST_MS = 2 * HEARTBEAT_MS

/**
 * How this process hears of changes that others make: waiters are woken, and entries kept in memory dropped.
 *
 *   paused ──tracking is on──▶ tracking ──lost──▶ paused
 *      └──tracking is not to be had, entries are kept──▶ channel ──lost──▶ paused
 *
 * Whenever a way is lost everything kept is dropped, and nothing is kept until there is one again. Beside that each
 * proof expires: a process that was stopped, or whose connection lies dead without a word, serves nothing from memory.
 */
export class Coherence {
  readonly #link: RedisLink
  readonly #clock: Clock
  readonly #kept: KeptEntries | undefined
  readonly #reporter: CoherenceReporter
  readonly #listeners = new KeyListeners()
  readonly #pair: TrackedPair
  readonly #channel: ChangeChannel
  readonly #listenersKey: string
  readonly #asking: NodeJS.Timeout
  readonly #decided: Promise<void>
  #decide!: () => void
  #mode: CoherenceMode = 'paused'
  #reason: string | undefined = 'it is not connected yet'
  /** Why tracking is not to be had. */
  #refusal: string | undefined
  /** Whether somebody depends on being told by us, and when we asked; what is not known counts as yes. */
  #isListenedTo = true
  #knownAtMs = Number.NEGATIVE_INFINITY
  /** What was asked before that is no answer any more. */
  #forgottenAtMs = Number.NEGATIVE_INFINITY

  constructor({ link, clock, names, kept, reporter }: CoherenceParts) {
    this.#link = link
    this.#clock = clock
    this.#kept = kept
    this.#reporter = reporter
    this.#listenersKey = names.listenersKey
    this.#decided = new Promise((resolve) => {
      this.#decide = resolve
    })
    const onFailure = (error: unknown): void => reporter.failed(error)
    this.#channel = new ChangeChannel(link, clock, names, this.#listenerFor('channel'), onFailure)
    this.#pair = new TrackedPair(link, clock, names.listenersKey, this.#listenerFor('tracking'), onFailure)
    // It was asked of that server; on the one that answers next somebody may listen.
    link.onLost(() => this.#forgetListeners())
    this.#asking = setInterval(() => void this.#askForListeners(), HEARTBEAT_MS)
    this.#asking.unref()
  }

  get mode(): CoherenceMode {
    return this.#mode
  }

  /**
   * Resolves when it is known whether tracking is to be had, and after some heartbeats at the latest: a server that takes no
   * more connections, or addresses that lead to several, refuse nothing, and may stay so.
   */
  async whenDecided(): Promise<void> {
    await Promise.race([this.#decided, sleep(DECIDED_MOST_MS, undefined, { ref: false })])
  }

  /** The connection to ask over, when asking there makes the server tell us of changes. */
  get trackedClient(): RedisClient | undefined {
    return this.#pair.tracked
  }

  /** Listen first, then ask over `trackedClient`: a change in between is heard as well. */
  listen(key: string): Wake {
    return this.#listeners.listen(key)
  }

  /**
   * Runs one command over the tracked connection where there is one.
   *
   * @param onNodeSilence of a Cluster, where there is none; see `RedisLink.call`
   */
  async callTracked<T>(
    action: string,
    send: (client: RedisClient, isTracked: boolean) => Promise<T>,
    onNodeSilence?: () => boolean
  ): Promise<T> {
    const tracked = this.trackedClient
    if (tracked === undefined) return this.#link.call(action, (client) => send(client, false), onNodeSilence)
    let isSilent = false
    const onSilence = (): boolean => {
      isSilent = true
      this.#pair.distrust()
      return false
    }
    try {
      return await this.#link.call(action, () => send(tracked, true), onSilence)
    } catch (error) {
      // The pair was lost with the call on it; the other connection may be well, and asking again is harmless. But a
      // call that has had its deadline is over.
      if (isSilent || this.trackedClient === tracked || this.#link.state !== 'ready') throw error
      return this.#link.call(action, (client) => send(client, false))
    }
  }

  /** No answer came over `trackedClient` in time: it may be dead without having said so. */
  distrust(): void {
    this.#pair.distrust()
  }

  /** What has to be told of a change; undefined when Redis tells everybody itself. */
  announcementOf(keys: readonly string[]): Announcement | undefined {
    const isKnown = this.#clock.now() - this.#knownAtMs < LISTENERS_KNOWN_MS
    return isKnown && !this.#isListenedTo ? undefined : this.#channel.announcement(keys)
  }

  wakeUpHealth(): WakeUpHealth {
    return this.trackedClient === undefined
      ? { mode: 'timer', reason: this.#reason }
      : { mode: 'push', reason: undefined }
  }

  memoryState(): Pick<MemoryHealth, 'mode' | 'reason'> {
    return { mode: this.#mode, reason: this.#reason }
  }

  close(): void {
    clearInterval(this.#asking)
    this.#decide()
    this.#pair.close()
    this.#channel.close()
    this.#listeners.wakeAll()
  }

  #listenerFor(mode: 'tracking' | 'channel'): PairListener {
    return {
      armed: () => {
        // It listens for the day on which Redis does not tell any more; until then Redis knows better.
        if (mode === 'channel' && this.#pair.tracked !== undefined) return
        const why = mode === 'channel' ? this.#refusal : undefined
        this.#kept?.dropAll()
        this.#decide()
        this.#enter(mode, why)
      },
      proven: (asOfMs) => {
        if (this.#mode === mode) this.#kept?.trustUntil(asOfMs + TRUST_MS)
      },
      changed: (keys) => this.#changed(keys),
      lost: (reason, isRefused) => {
        if (mode === 'tracking') {
          this.#listeners.wakeAll()
          if (isRefused) {
            this.#refusal = reason
            this.#decide()
          }
          if (isRefused && this.#kept !== undefined) this.#channel.open()
        }
        if (this.#mode !== mode && this.#mode !== 'paused') return
        this.#kept?.dropAll()
        // It may have listened all the time, and then nothing says so again.
        this.#enter(isRefused && this.#channel.isArmed ? 'channel' : 'paused', reason)
      },
      read: (flag, askedAtMs) => this.#heardOfListeners(flag, askedAtMs)
    }
  }

  #changed(keys: readonly string[] | null): void {
    if (keys === null) {
      this.#forgetListeners()
      this.#kept?.dropAll()
      return this.#listeners.wakeAll()
    }
    for (const key of keys) {
      // Somebody began to listen, or stopped: the next heartbeat tells.
      if (key === this.#listenersKey) this.#forgetListeners()
      this.#kept?.drop(key)
      this.#listeners.wake(key)
    }
  }

  /** The heartbeat asks; where there is none this does. */
  async #askForListeners(): Promise<void> {
    if (this.trackedClient !== undefined || this.#link.state !== 'ready') return
    const askedAtMs = this.#clock.now()
    try {
      const flag = await this.#link.callFor(this.#listenersKey, 'ask who listens', (client) =>
        client.getBuffer(this.#listenersKey)
      )
      this.#heardOfListeners(flag, askedAtMs)
    } catch {
      // The link has reported it, and what is not known counts as "somebody does".
    }
  }

  /** What is not known counts as "somebody does". */
  #forgetListeners(): void {
    this.#knownAtMs = Number.NEGATIVE_INFINITY
    this.#forgottenAtMs = this.#clock.now()
  }

  #heardOfListeners(flag: Buffer | null, askedAtMs: number): void {
    if (askedAtMs < Math.max(this.#knownAtMs, this.#forgottenAtMs)) return
    this.#isListenedTo = flag !== null
    this.#knownAtMs = askedAtMs
  }

  #enter(mode: CoherenceMode, reason: string | undefined): void {
    const isNews = mode !== this.#mode
    this.#mode = mode
    this.#reason = reason
    if (isNews) this.#reporter.modeChanged(mode, reason)
  }
}
