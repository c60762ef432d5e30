import { withDeadline } from '../policy/deadline.js'
import type { WakeUpHealth } from '../health.js'
import type { RedisClient } from './client.js'
import { troubleOf } from './error-class.js'
import { KeyListeners, type Wake } from './key-listeners.js'
import type { RedisLink } from './link.js'

const INVALIDATIONS = '__redis__:invalidate'
const RETRY_MS = 1_000

/**
 * Tells waiters at once when the entry they wait for is filled, dropped or expires.
 *
 * A pair of connections of our own: commands sent over `tracked` subscribe this process to the next change of every
 * key they read (CLIENT TRACKING, default mode), and Redis sends the news to the other, which is subscribed to
 * `__redis__:invalidate`. Never the user's connection: tracking would be a setting of theirs that we changed.
 * See docs/decisions/0002-coherence-connection.md.
 *
 *   off ──both ready──▶ arming ──tracking is on──▶ armed ──either connection lost──▶ off, and everyone looks again
 *
 * While it is off waiters fall back to looking by timer, so nothing is lost but time.
 */
export class WakeUps {
  readonly #link: RedisLink
  readonly #listeners = new KeyListeners()
  readonly #onFailure: (error: unknown) => void
  readonly #prefix: string
  #subscriber: RedisClient | undefined
  #tracked: RedisClient | undefined
  /** Redis' id of the subscriber's present connection, known once it listens. */
  #subscriberId: number | undefined
  #armed = false
  #reason: string | undefined = 'not connected yet'
  #epoch = 0
  #closed = false
  #retryTimer: NodeJS.Timeout | undefined

  constructor(link: RedisLink, onFailure: (error: unknown) => void) {
    this.#link = link
    this.#onFailure = onFailure
    this.#prefix = link.client.options.keyPrefix ?? ''
    link.onReady(() => this.#open())
    link.onLost(() => this.#leave())
  }

  /** The connection to ask over, when asking there makes the server tell us of changes. */
  get trackedClient(): RedisClient | undefined {
    return this.#armed ? this.#tracked : undefined
  }

  /** Listen first, then ask over `trackedClient`: a change in between is heard as well. */
  listen(key: string): Wake {
    return this.#listeners.listen(key)
  }

  /** No answer came over `trackedClient` in time: it may be dead without having said so. */
  distrust(): void {
    if (!this.#armed) return
    this.#disarm()
    this.#tracked?.disconnect(true)
  }

  health(): WakeUpHealth {
    return this.#armed ? { mode: 'push', reason: undefined } : { mode: 'timer', reason: this.#reason }
  }

  close(): void {
    this.#closed = true
    this.#disarm()
    clearTimeout(this.#retryTimer)
    this.#subscriber?.disconnect()
    this.#tracked?.disconnect()
  }

  /** The server is not the one to ask any more, so it is not the one to listen to either. */
  #leave(): void {
    this.#disarm()
    this.#tracked?.disconnect(true)
    this.#subscriber?.disconnect(true)
  }

  #open(): void {
    if (this.#closed || this.#subscriber !== undefined) return
    this.#subscriber = this.#link.duplicate()
    if (this.#subscriber === undefined) this.#reason = 'each node of a Cluster tracks for itself'
    this.#tracked = this.#link.duplicate()
    for (const client of [this.#subscriber, this.#tracked]) {
      client?.on('ready', this.#arm)
      client?.on('close', this.#disarm)
      client?.on('error', this.#onFailure)
    }
    this.#subscriber?.on('close', () => (this.#subscriberId = undefined))
    this.#subscriber?.on('messageBuffer', this.#onMessage)
  }

  readonly #arm = async (): Promise<void> => {
    if (this.#closed || this.#subscriber?.status !== 'ready' || this.#tracked?.status !== 'ready') return
    const epoch = ++this.#epoch
    const [subscriber, tracked] = [this.#subscriber, this.#tracked]
    try {
      await withDeadline(this.#startTracking(subscriber, tracked), this.#link.timeoutMs, noAnswer)
      // Either connection may have been lost, and armed anew, while the replies were under way.
      if (epoch === this.#epoch) this.#armed = true
    } catch (error) {
      this.#reason = troubleOf(error).message
      this.#onFailure(error)
      if (epoch === this.#epoch) this.#retryLater()
    }
  }

  async #startTracking(subscriber: RedisClient, tracked: RedisClient): Promise<void> {
    if (this.#subscriberId === undefined) {
      // Asked before SUBSCRIBE: after it a RESP2 connection takes no other command.
      const id = Number(await subscriber.call('CLIENT', 'ID'))
      await subscriber.subscribe(INVALIDATIONS)
      this.#subscriberId = id
    }
    await tracked.call('CLIENT', 'TRACKING', 'ON', 'REDIRECT', this.#subscriberId)
  }

  readonly #disarm = (): void => {
    if (this.#armed) this.#reason = 'a connection was lost'
    this.#epoch++
    this.#armed = false
    this.#listeners.wakeAll()
  }

  #retryLater(): void {
    clearTimeout(this.#retryTimer)
    this.#retryTimer = setTimeout(this.#arm, RETRY_MS)
    this.#retryTimer.unref()
  }

  /** The message is a list of keys, or null when the whole database was flushed. */
  readonly #onMessage = (_channel: unknown, message: unknown): void => {
    if (!Array.isArray(message)) return this.#listeners.wakeAll()
    for (const key of message as (Buffer | string)[]) this.#listeners.wake(this.#logicalKey(String(key)))
  }

  #logicalKey(key: string): string {
    return key.startsWith(this.#prefix) ? key.slice(this.#prefix.length) : key
  }
}

const noAnswer = (): Error => new Error('Redis did not answer while tracking was being set up')
