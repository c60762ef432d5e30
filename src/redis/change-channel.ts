import { randomBytes } from 'node:crypto'
import type { Clock } from '../clock.js'
import { withDeadline } from '../policy/deadline.js'
import type { RedisClient } from './client.js'
import { Silence, troubleOf } from './error-class.js'
import { watchHandshake } from './handshake.js'
import type { RedisLink } from './link.js'
import { ScriptRunner } from './scripts.js'
import { HEARTBEAT_MS, type PairListener } from './tracked-pair.js'

/** Others learn within a heartbeat that somebody listens, and believe for 1.5 that nobody does. */
const SILENT_MS = 1.75 * HEARTBEAT_MS
const LISTENER_LIFE_MS = 60 * HEARTBEAT_MS
/** What a server refuses by configuration it will hardly grant a second later. */
const RETRY_REFUSED_MS = 30 * HEARTBEAT_MS

export interface ChannelNames {
  /** Of the counter of messages; with the driver's `keyPrefix` it is the channel's name too. */
  readonly counterKey: string
  /** Stands while somebody listens: then whoever changes something has to tell. It holds the name of this time of listening. */
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
 *   off ──subscribed, counter read──▶ waiting (two heartbeats or three) ──▶ armed ──gap, silence, connection lost──▶ off
 *
 * A subscriber is never asked anything. So it does not notice that its connection is dead, or that its server is none of
 * the Cluster any more, and its driver does not learn who came instead: when nothing is heard for a heartbeat of what was
 * told, another one takes its place.
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
  #stopHearing = (): void => {}
  #isSubscribed = false
  /** Not again before that. */
  #subscribeAtMs = Number.NEGATIVE_INFINITY
  #heart: NodeJS.Timeout | undefined
  /** Number of the last message; undefined until the counter was read. */
  #last: number | undefined
  /** The counter stood there when it was asked; proven once as many messages came. */
  #expected: { readonly number: number; readonly askedAtMs: number } | undefined
  /** What stood in the listeners' key: another name there means that it was lost, and that nobody may have told since. */
  #listening: string | undefined
  /** Since when it is known to stand, of this subscription. */
  #listeningSinceMs: number | undefined
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
    this.#connect()
    this.#heart = setInterval(() => void this.#beat(), HEARTBEAT_MS)
    this.#heart.unref()
  }

  close(): void {
    this.#closed = true
    clearInterval(this.#heart)
    this.#lose('the cache is closed')
    this.#stopHearing()
  }

  /** What `announce-changes` is called with; sent behind the change on the same connection, it arrives behind it. */
  announcement(keys: readonly string[]): Announcement {
    return { key: this.#names.counterKey, args: [this.#channel, keys.join('\n')] }
  }

  #connect(): void {
    const subscriber = this.#link.duplicateForChannel()
    this.#subscriber = subscriber
    this.#isSubscribed = false
    this.#subscribeAtMs = Number.NEGATIVE_INFINITY
    const hear = (channel: Buffer | string, message: Buffer | string): void => {
      if (this.#subscriber === subscriber) this.#onMessage(channel, message)
    }
    const subscribe = (): void => {
      if (this.#subscriber === subscriber) void this.#subscribe()
    }
    const lose = (): void => {
      if (this.#subscriber !== subscriber) return
      this.#isSubscribed = false
      this.#lose('a connection was lost')
    }
    subscriber.on('messageBuffer', hear)
    subscriber.on('error', this.#onFailure)
    subscriber.on('close', lose)
    subscriber.on('ready', subscribe)
    const stopWatching = subscriber.isCluster ? undefined : watchHandshake(subscriber, this.#link.timeoutMs)
    this.#stopHearing = () => {
      stopWatching?.()
      subscriber.disconnect()
    }
  }

  /** Another subscriber altogether: a Cluster's driver that is told to connect again waits for all that it was connected to. */
  #connectAnew(): void {
    this.#stopHearing()
    this.#connect()
  }

  async #subscribe(): Promise<void> {
    const epoch = ++this.#epoch
    this.#isSubscribed = false
    this.#subscribeAtMs = this.#clock.now() + 2 * HEARTBEAT_MS
    try {
      await withDeadline(this.#subscriber!.subscribe(this.#channel), HEARTBEAT_MS, late)
    } catch (error) {
      this.#onFailure(error)
      if (epoch === this.#epoch) this.#notSubscribed(error)
      return
    }
    if (epoch !== this.#epoch) return
    this.#isSubscribed = true
    this.#last = undefined
    this.#listeningSinceMs = undefined
    await this.#beat()
  }

  #notSubscribed(error: unknown): void {
    const trouble = troubleOf(error)
    this.#listener.lost(trouble.message, false)
    if (trouble.errorClass === 'misconfigured') this.#subscribeAtMs = this.#clock.now() + RETRY_REFUSED_MS
    else if (!this.#closed) this.#connectAnew()
  }

  async #beat(): Promise<void> {
    if (this.#closed) return
    // A Cluster's driver ends for good when its options say so, which need not end the one that it is a copy of.
    if (this.#subscriber?.status === 'end') return this.#connectAnew()
    if (this.#subscriber?.status !== 'ready' || this.#beating) return
    if (!this.#isSubscribed) {
      if (this.#clock.now() >= this.#subscribeAtMs) await this.#subscribe()
      return
    }
    const epoch = this.#epoch
    const askedAtMs = this.#clock.now()
    const heard = this.#last
    this.#beating = true
    try {
      const { counterKey, listenersKey } = this.#names
      const [counter, listening] = await Promise.all([
        this.#link.callFor(counterKey, 'ask for news', (client) => client.getBuffer(counterKey)),
        this.#link.callFor(listenersKey, 'listen for news', (client) => this.#listenOver(client))
      ])
      if (epoch !== this.#epoch) return
      const before = (this.#listening ??= listening)
      if (listening !== before) {
        this.#listening = listening
        this.#listeningSinceMs = this.#clock.now()
        return this.#lose('the sign that somebody listens was lost')
      }
      this.#listeningSinceMs ??= this.#clock.now()
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

  /** Keeps the sign that somebody listens; answers under which name it stands. */
  async #listenOver(client: RedisClient): Promise<string> {
    const { listenersKey } = this.#names
    const [, name] = await Promise.all([
      client.call('PEXPIRE', listenersKey, LISTENER_LIFE_MS),
      client.getBuffer(listenersKey)
    ])
    if (name !== null) return String(name)
    // Not each time: a server that is full refuses it, and goes on telling those who listen.
    await client.set(listenersKey, randomBytes(8).toString('hex'), 'PX', LISTENER_LIFE_MS, 'NX')
    return String(await client.getBuffer(listenersKey))
  }

  /** @param heard the last number that had been heard when the counter was asked */
  #compare(number: number, askedAtMs: number, heard: number | undefined): void {
    // It stands lower than what it has told: a failover lost its last steps, and numbers come twice. A message that is
    // missed among those would look as if it had been heard.
    if (heard !== undefined && number < heard) return this.#gap()
    const before = this.#expected
    this.#expected = { number, askedAtMs }
    if (this.#last === undefined) this.#last = number
    // A heartbeat ago the counter stood higher than what has been heard until now: a message takes no such time.
    else if (before !== undefined && before.number > this.#last) {
      this.#gap()
      return this.#connectAnew()
    }
    this.#prove()
  }

  /** Once as many messages came as there had been when the counter was read, all of before has been told. */
  #prove(): void {
    if (this.#expected === undefined || this.#last === undefined || this.#last < this.#expected.number) return
    const { askedAtMs } = this.#expected
    this.#expected = undefined
    const since = this.#listeningSinceMs
    if (since === undefined || this.#clock.now() - since < SILENT_MS) return
    if (!this.#armed) this.#listener.armed()
    this.#armed = true
    this.#listener.proven(askedAtMs)
  }

  async #makeCounter(): Promise<void> {
    const { key, args } = this.announcement([])
    await this.#link.callFor(key, 'announce changes', () => this.#runner.run('announce-changes', key, args))
  }

  #onMessage(channel: Buffer | string, message: Buffer | string): void {
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
