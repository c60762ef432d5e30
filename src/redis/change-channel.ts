import type { Clock } from '../clock.js'
import { withDeadline } from '../policy/deadline.js'
import type { RedisClient } from './client.js'
import { Silence, troubleOf } from './error-class.js'
import type { RedisLink } from './link.js'
import { ScriptRunner } from './scripts.js'
import { HEARTBEAT_MS, type PairListener } from './tracked-pair.js'

/** Others learn within a heartbeat that somebody listens; until the second one they may not be telling yet. */
const SILENT_BEATS = 2
const LISTENER_LIFE_MS = 60 * HEARTBEAT_MS

export interface ChannelNames {
  /** Of the counter of messages; with the driver's `keyPrefix` it is the channel's name too. */
  readonly counterKey: string
  /** Stands while somebody listens: then whoever changes something has to tell. */
  readonly listenersKey: string
}

export interface Announcement {
  readonly key: string
  readonly args: (string | number | Buffer)[]
}

/**
 * News of changes where Redis does not send them itself: on a Cluster, and where client tracking is refused. Who
 * changes an entry publishes its key with the number after the last one. Who listens compares: a number left out, or
 * the counter ahead of what was heard for a heartbeat, or behind it, means that a message was lost or may be, and everything
 * kept is dropped.
 *
 *   off ──subscribed, counter read──▶ waiting (two heartbeats) ──▶ armed ──gap, silence, connection lost──▶ off
 *
 * Compared with tracking: a change by other hands (DEL in redis-cli, eviction) is not announced, and a process that
 * dies between its change and its message leaves the others with the old value. Both end with the tier's `ttl`.
 */
export class ChangeChannel {
  readonly #link: RedisLink
  readonly #clock: Clock
  readonly #names: ChannelNames
  readonly #channel: string
  readonly #runner: ScriptRunner
  readonly #listener: PairListener
  readonly #onFailure: (error: unknown) => void
  #subscriber: RedisClient | undefined
  #heart: NodeJS.Timeout | undefined
  /** Number of the last message; undefined until the counter was read. */
  #last: number | undefined
  /** The counter stood there when it was asked; proven once as many messages came. */
  #expected: { readonly number: number; readonly askedAtMs: number } | undefined
  #beats = 0
  #beating = false
  #armed = false
  #epoch = 0
  #closed = false

  constructor(
    link: RedisLink,
    clock: Clock,
    names: ChannelNames,
    listener: PairListener,
    onFailure: (error: unknown) => void
  ) {
    this.#link = link
    this.#clock = clock
    this.#names = names
    this.#channel = `${link.client.options.keyPrefix ?? ''}${names.counterKey}`
    this.#runner = new ScriptRunner(link.client)
    this.#listener = listener
    this.#onFailure = onFailure
    link.onLost(() => this.#lose('Redis was lost'))
  }

  get isArmed(): boolean {
    return this.#armed
  }

  /** Listens from now on; safe to call again. */
  open(): void {
    if (this.#closed || this.#subscriber !== undefined) return
    this.#subscriber = this.#link.duplicateForChannel()
    this.#subscriber.on('messageBuffer', this.#onMessage)
    this.#subscriber.on('error', this.#onFailure)
    this.#subscriber.on('close', () => this.#lose('a connection was lost'))
    this.#subscriber.on('ready', () => void this.#subscribe())
    this.#heart = setInterval(() => void this.#beat(), HEARTBEAT_MS)
    this.#heart.unref()
  }

  close(): void {
    this.#closed = true
    clearInterval(this.#heart)
    this.#lose('the cache is closed')
    this.#subscriber?.disconnect()
  }

  /** What `announce-changes` is called with; sent behind the change on the same connection, it arrives behind it. */
  announcement(keys: readonly string[]): Announcement {
    return { key: this.#names.counterKey, args: [this.#channel, keys.join('\n')] }
  }

  async #subscribe(): Promise<void> {
    const epoch = ++this.#epoch
    try {
      await withDeadline(this.#subscriber!.subscribe(this.#channel), HEARTBEAT_MS, late)
    } catch (error) {
      this.#onFailure(error)
      if (epoch === this.#epoch) this.#listener.lost(troubleOf(error).message, false)
      return
    }
    if (epoch !== this.#epoch) return
    this.#last = undefined
    this.#beats = 0
    await this.#beat()
  }

  async #beat(): Promise<void> {
    if (this.#subscriber?.status !== 'ready' || this.#beating || this.#closed) return
    const epoch = this.#epoch
    const askedAtMs = this.#clock.now()
    const heard = this.#last
    this.#beating = true
    try {
      const { counterKey, listenersKey } = this.#names
      const [counter] = await Promise.all([
        this.#link.callFor(counterKey, 'ask for news', (client) => client.getBuffer(counterKey)),
        this.#link.callFor(listenersKey, 'listen for news', (client) =>
          client.set(listenersKey, '1', 'PX', LISTENER_LIFE_MS)
        )
      ])
      if (epoch !== this.#epoch) return
      // Lost, or never made: announcing nothing makes it.
      if (counter === null) await this.#makeCounter()
      else this.#compare(Number(counter), askedAtMs, heard)
    } catch (error) {
      // The link has reported it. Nothing is proven by this beat; without a proof what is kept is not served for long.
      if (epoch === this.#epoch) this.#lose(troubleOf(error).message)
    } finally {
      this.#beating = false
    }
  }

  /** @param heard the last number that had been heard when the counter was asked */
  #compare(number: number, askedAtMs: number, heard: number | undefined): void {
    // It stands lower than what it has told: a failover lost its last steps, and numbers come twice. A message that is
    // missed among those would look as if it had been heard.
    if (heard !== undefined && number < heard) return this.#gap()
    const before = this.#expected
    this.#expected = { number, askedAtMs }
    if (this.#last === undefined) this.#last = number
    // A heartbeat ago the counter stood higher than what has been heard until now.
    else if (before !== undefined && before.number > this.#last) return this.#gap()
    this.#beats++
    this.#prove()
  }

  /** Once as many messages came as there had been when the counter was read, all of before has been told. */

  #prove(): void {
    if (this.#expected === undefined || this.#last === undefined || this.#last < this.#expected.number) return
    const { askedAtMs } = this.#expected
    this.#expected = undefined
    if (this.#beats <= SILENT_BEATS) return
    if (!this.#armed) this.#listener.armed()
    this.#armed = true
    this.#listener.proven(askedAtMs)
  }

  async #makeCounter(): Promise<void> {
    const { key, args } = this.announcement([])
    await this.#link.callFor(key, 'announce changes', () => this.#runner.run('announce-changes', key, args))
  }

  readonly #onMessage = (channel: Buffer | string, message: Buffer | string): void => {
    if (String(channel) !== this.#channel) return
    const [number, ...keys] = String(message).split('\n')
    const sequence = Number(number)
    // Before the counter was read there is nothing to compare with; what is kept is nothing either.
    if (sequence !== 0 && this.#last !== undefined) {
      if (sequence !== this.#last + 1) this.#gap()
      this.#last = sequence
    }
    if (keys[0] !== '') this.#listener.changed(keys)
    this.#prove()
  }

  /** A message was lost, or the counter was: everything kept is dropped, and listening goes on. */
  #gap(): void {
    this.#expected = undefined
    this.#last = undefined
    this.#lose('a message was missed')
  }

  #lose(reason: string): void {
    this.#epoch++
    this.#last = undefined
    this.#expected = undefined
    if (!this.#armed) return
    this.#armed = false
    this.#listener.lost(reason, false)
  }
}

const late = (): Error => new Silence(HEARTBEAT_MS)
