import type { Clock } from '../clock.js'
import { withDeadline } from '../policy/deadline.js'
import type { RedisClient } from './client.js'
import { Silence, troubleOf } from './error-class.js'
import { watchHandshake } from './handshake.js'
import type { RedisLink } from './link.js'
import { connectAnew, reviveWhenEnded } from './reconnect.js'

const INVALIDATIONS = '__redis__:invalidate'
const RETRY_MS = 1_000
/** What a server refuses by configuration it will hardly grant a second later. */
const RETRY_REFUSED_MS = 30_000

/** So many answers are waited for, one after the other, until tracking is on. */
const ANSWERS_TO_ARM = 4

/** Both connections are asked this often whether they still carry anything. A dead one is found within two of these. */
export const HEARTBEAT_MS = 1_000

export interface PairListener {
  /** From now on Redis tells of every change of what is read over `tracked`. */
  armed(): void
  /** All that changed before `asOfMs`, on this process's clock, has been told of. */
  proven(asOfMs: number): void
  /** Null when the whole database was flushed. */
  changed(keys: readonly string[] | null): void
  /** Changes may have been missed since the last proof. `isRefused`: by the server, and not by chance. */
  lost(reason: string, isRefused: boolean): void
  /** What the key that every heartbeat reads holds. */
  read(flag: Buffer | null, askedAtMs: number): void
}

/**
 * Two connections of our own: commands sent over `tracked` subscribe this process to the next change of every key
 * they read (CLIENT TRACKING, default mode), and Redis sends the news to the other, which is subscribed to
 * `__redis__:invalidate`. Never the user's connection: tracking would be a setting of theirs that we changed.
 * See docs/decisions/0002-coherence-connection.md.
 *
 *   off ──both ready──▶ arming ──tracking is on──▶ armed ──either lost, or silent for a heartbeat──▶ off
 *
 * Both lead to the server that the link leads to, or nobody tells of its changes: one address may be that of another
 * server a moment later, and the one before it may go on for a while. So when one of the three is lost the pair is made
 * anew, and where servers tell their names, the names are compared.
 *
 * Why both are asked: the server forgets what a client tracked when that client is gone, and says so to nobody; and a
 * subscriber that is gone at its end may look alive from ours. An answer over both proves that all changes of before
 * were told: the tracked one was still known to the server, and news travel ahead of the answer on the other.
 */
export class TrackedPair {
  readonly #link: RedisLink
  readonly #clock: Clock
  readonly #flagKey: string
  readonly #listener: PairListener
  readonly #prefix: string
  readonly #onFailure: (error: unknown) => void
  readonly #stopWatching: (() => void)[] = []
  #subscriber: RedisClient | undefined
  #tracked: RedisClient | undefined
  /** Redis' id of the subscriber's present connection, known once it listens. */
  #subscriberId: number | undefined
  #subscriberAt: string | undefined
  #armed = false
  #beating = false
  #epoch = 0
  /** The epoch that is being armed. */
  #arming = -1
  #closed = false
  #retryTimer: NodeJS.Timeout | undefined
  #heart: NodeJS.Timeout | undefined

  /** @param flagKey a key that each heartbeat reads, so that its changes are heard of as well */
  constructor(
    link: RedisLink,
    clock: Clock,
    flagKey: string,
    listener: PairListener,
    onFailure: (error: unknown) => void
  ) {
    this.#link = link
    this.#clock = clock
    this.#flagKey = flagKey
    this.#listener = listener
    this.#onFailure = onFailure
    this.#prefix = link.client.options.keyPrefix ?? ''
    link.onReady(() => {
      this.#open()
      if (!this.#armed && this.#arming !== this.#epoch) void this.#arm()
    })
    link.onLost(() => this.#leave('Redis was lost'))
  }

  /** The connection to ask over, when asking there makes the server tell us of changes. */
  get tracked(): RedisClient | undefined {
    return this.#armed ? this.#tracked : undefined
  }

  /** No answer came over `tracked` in time: it may be dead without having said so. */
  distrust(): void {
    if (this.#armed) this.#leave('a call got no answer')
  }

  close(): void {
    this.#closed = true
    this.#disarm('the cache is closed')
    clearTimeout(this.#retryTimer)
    clearInterval(this.#heart)
    for (const stop of this.#stopWatching) stop()
    this.#subscriber?.disconnect()
    this.#tracked?.disconnect()
  }

  #open(): void {
    if (this.#closed || this.#subscriber !== undefined) return
    const [subscriber, tracked] = [this.#link.duplicate(), this.#link.duplicate()]
    if (subscriber === undefined || tracked === undefined) {
      return this.#listener.lost('each node of a Cluster tracks for itself', true)
    }
    this.#subscriber = subscriber
    this.#tracked = tracked
    for (const client of [subscriber, tracked]) {
      client.on('ready', this.#arm)
      client.on('close', this.#onClose)
      client.on('error', this.#onFailure)
      this.#stopWatching.push(watchHandshake(client, this.#link.timeoutMs), reviveWhenEnded(client))
    }
    subscriber.on('close', () => (this.#subscriberId = undefined))
    subscriber.on('messageBuffer', this.#onMessage)
    this.#heart = setInterval(() => void this.#beat(), HEARTBEAT_MS)
    this.#heart.unref()
  }

  readonly #arm = async (): Promise<void> => {
    if (this.#closed || this.#subscriber?.status !== 'ready' || this.#tracked?.status !== 'ready') return
    if (this.#link.state !== 'ready') return
    const epoch = ++this.#epoch
    this.#arming = epoch
    const startedAtMs = this.#clock.now()
    const [subscriber, tracked] = [this.#subscriber, this.#tracked]
    const withinMs = ANSWERS_TO_ARM * this.#link.timeoutMs
    try {
      const starting = this.#startTracking(subscriber, tracked)
      await withDeadline(starting, withinMs, () => new Silence(withinMs))
    } catch (error) {
      if (this.#arming === epoch) this.#arming = -1
      this.#onFailure(error)
      if (epoch === this.#epoch) this.#refused(error)
      return
    }
    // Either connection may have been lost, and armed anew, while the replies were under way.
    if (epoch !== this.#epoch) return
    clearTimeout(this.#retryTimer)
    this.#armed = true
    this.#listener.armed()
    // Nothing is kept yet, so there is nothing to have missed.
    this.#listener.proven(startedAtMs)
    void this.#beat()
  }

  async #startTracking(subscriber: RedisClient, tracked: RedisClient): Promise<void> {
    if (this.#subscriberId === undefined) {
      // Asked before SUBSCRIBE: after it a RESP2 connection takes hardly any other command.
      const [id, server] = await Promise.all([subscriber.call('CLIENT', 'ID'), serverOf(subscriber)])
      await subscriber.subscribe(INVALIDATIONS)
      this.#subscriberId = Number(id)
      this.#subscriberAt = server
    }
    const others = await Promise.all([tracked, this.#link.client].map(serverOf))
    const servers = [this.#subscriberAt, ...others].filter((server) => server !== undefined)
    if (new Set(servers).size > 1) throw new Error('the connections lead to different servers')
    await tracked.call('CLIENT', 'TRACKING', 'ON', 'REDIRECT', this.#subscriberId)
  }

  #refused(error: unknown): void {
    const isRefused = isRefusal(error)
    this.#listener.lost(troubleOf(error).message, isRefused)
    clearTimeout(this.#retryTimer)
    this.#retryTimer = isRefused
      ? setTimeout(this.#arm, RETRY_REFUSED_MS)
      : setTimeout(() => this.#connectAnew(), RETRY_MS)
    this.#retryTimer.unref()
  }

  async #beat(): Promise<void> {
    const [subscriber, tracked] = [this.#subscriber, this.tracked]
    if (subscriber === undefined || tracked === undefined || this.#beating) return
    const epoch = this.#epoch
    const sentAtMs = this.#clock.now()
    this.#beating = true
    try {
      const both = Promise.all([tracked.getBuffer(this.#flagKey), subscriber.ping()])
      const [flag] = await withDeadline(both, HEARTBEAT_MS, () => new Silence(HEARTBEAT_MS))
      if (epoch !== this.#epoch) return
      this.#listener.proven(sentAtMs)
      this.#listener.read(flag, sentAtMs)
    } catch (error) {
      if (epoch !== this.#epoch) return
      this.#onFailure(error)
      this.#leave(`a heartbeat failed: ${troubleOf(error).message}`)
    } finally {
      this.#beating = false
    }
  }

  /** Both are made anew: what one of them was told is worth nothing without the other. */
  #leave(reason: string): void {
    this.#disarm(reason)
    this.#connectAnew()
  }

  #connectAnew(): void {
    for (const client of [this.#tracked, this.#subscriber]) if (client !== undefined) connectAnew(client)
  }

  readonly #onClose = (): void => {
    if (this.#armed) this.#leave('a connection was lost')
    else this.#epoch++
  }

  #disarm(reason: string): void {
    this.#epoch++
    if (!this.#armed) return
    this.#armed = false
    this.#listener.lost(reason, false)
  }

  /** The message is a list of keys, or null when the whole database was flushed. */
  readonly #onMessage = (_channel: unknown, message: unknown): void => {
    if (!Array.isArray(message)) return this.#listener.changed(null)
    this.#listener.changed((message as (Buffer | string)[]).map((key) => this.#logicalKey(String(key))))
  }

  #logicalKey(key: string): string {
    return key.startsWith(this.#prefix) ? key.slice(this.#prefix.length) : key
  }
}

/**
 * Services have words of their own for what they do not let one do, so whatever is answered counts, but that the subscriber
 * is gone, which another one mends.
 */
function isRefusal(error: unknown): boolean {
  const { errorClass, isTotal, message } = troubleOf(error)
  if (errorClass === 'misconfigured') return !isTotal
  const isAnswer = error instanceof Error && error.name === 'ReplyError'
  return isAnswer && errorClass === 'refused' && !/client ID you want redirect/i.test(message)
}

/** The name that a server gives itself at its start; undefined where it does not tell. */
async function serverOf(client: RedisClient): Promise<string | undefined> {
  try {
    return /^run_id:(\w+)/m.exec(String(await client.call('INFO', 'server')))?.[1]
  } catch (error) {
    if (error instanceof Error && error.name === 'ReplyError') return undefined
    throw error
  }
}
