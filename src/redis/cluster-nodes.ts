import type { Clock } from '../clock.js'
import { Breaker } from '../policy/breaker.js'
import { withDeadline } from '../policy/deadline.js'
import type { RedisClient } from './client.js'
import { addressOf, lookFor } from './cluster-connections.js'
import { isSilence, Silence, troubleOf } from './error-class.js'
import { keySlot } from './key-slot.js'

/** Fewer than those after which all of Redis counts as away: one node must not take the others with it. */
const SILENCES_MOST = 2
const PROBE_PAUSE_MS = 100
const PROBE_PAUSE_MOST_MS = 400
const OWNERS_AGAIN_MS = 1_000

const ACCOUNT_DENIED =
  'CLUSTER NODES is denied: invalidateWhere searches the Cluster twice, and misses what is moved to a node without slots' +
  ' meanwhile (let this user run it: ACL SETUSER <user> +cluster|nodes)'

interface Watched {
  readonly breaker: Breaker
  /** One of its keys, to ask for. */
  key: string
  timer: NodeJS.Timeout | undefined
}

/**
 * Which nodes of a Cluster answer. A reader of a key whose node is known to be silent is told so at once, and what lies
 * on the other nodes is read as ever.
 *
 *   answers ──2 silences in a row──▶ away ──a question of our own was answered──▶ answers
 *
 * The driver hides a lost node for as long as it looks for its successor, so silence is how it shows. When the slots have
 * a new owner that is another node, of which nothing bad is known.
 *
 * A driver looks for a successor when a connection ends, or a node says that it is the wrong one. A machine that is gone
 * with its network does neither: so while a node is away the driver is made to look.
 */
export class ClusterNodes {
  readonly #client: RedisClient
  readonly #clock: Clock
  readonly #timeoutMs: number
  readonly #prefix: string
  /** Those alone that were silent lately. */
  readonly #watched = new Map<string, Watched>()
  readonly #stopListening: (() => void)[] = []
  #lookedAtMs = Number.NEGATIVE_INFINITY
  #isAccountDenied = false
  #closed = false

  constructor(client: RedisClient, clock: Clock, timeoutMs: number) {
    this.#client = client
    this.#clock = clock
    this.#timeoutMs = timeoutMs
    this.#prefix = client.options.keyPrefix ?? ''
  }

  /** Address of the primary that has `key`, as far as the driver knows; empty where it does not. */
  nodeOf(key: string): string {
    return this.#client.slots?.[keySlot(this.#prefix + key)]?.[0] ?? ''
  }

  /** Calls `listener` with an address whenever the next answer from there may be another server's, or of one started anew. */
  onOther(listener: (node: string) => void): void {
    const watched = new Map<RedisClient, () => void>()
    // A driver may be told to connect again to what it has lost, and then it is the same node to it.
    const watch = (connection: RedisClient): void => {
      const closed = (): void => listener(addressOf(connection))
      connection.on('close', closed)
      watched.set(connection, () => connection.off('close', closed))
    }
    const added = (connection: RedisClient): void => {
      listener(addressOf(connection))
      watch(connection)
    }
    const removed = (connection: RedisClient): void => {
      watched.get(connection)?.()
      watched.delete(connection)
    }
    for (const connection of this.#client.nodes?.('all') ?? []) watch(connection)
    this.#client.on('+node', added)
    this.#client.on('-node', removed)
    this.#stopListening.push(() => {
      this.#client.off('+node', added)
      this.#client.off('-node', removed)
      for (const stop of watched.values()) stop()
    })
  }

  /** Makes this driver, and another one, find out who has `key`. */
  async lookFor(client: RedisClient, key: string): Promise<void> {
    await Promise.all([...new Set([this.#client, client])].map((driver) => lookFor(driver, key)))
  }

  /** The keys by their node: where in `keys` each of them stands. */
  groups(keys: readonly string[]): Map<string, number[]> {
    const groups = new Map<string, number[]>()
    for (const [index, key] of keys.entries()) {
      const node = this.nodeOf(key)
      const group = groups.get(node)
      if (group === undefined) groups.set(node, [index])
      else group.push(index)
    }
    return groups
  }

  isAway(node: string): boolean {
    const watched = this.#watched.get(node)
    return watched !== undefined && !watched.breaker.isClosed
  }

  /**
   * `send` for what concerns `key`, and what its silence means: refused at once while the node is known to be away, and
   * what becomes of it is noted.
   */
  watching<T>(
    node: string,
    key: string,
    send: (client: RedisClient) => Promise<T>
  ): { readonly send: (client: RedisClient) => Promise<T>; readonly onSilence: () => boolean } {
    const watched = async (client: RedisClient): Promise<T> => {
      if (this.isAway(node)) throw new Error(`the connection is away: ${node} does not answer`)
      try {
        const answer = await send(client)
        this.#answered(node)
        return answer
      } catch (error) {
        // Silence is noted by `onSilence`.
        if (isSilence(error)) throw error
        if (troubleOf(error).errorClass === 'down') this.#silent(node, key)
        else this.#answered(node)
        throw error
      }
    }
    return { send: watched, onSilence: () => this.#silent(node, key) }
  }

  /** An answer from before a node was found to be away proves nothing about now. */
  #answered(node: string): void {
    if (this.#watched.size > 0 && !this.isAway(node)) this.#watched.delete(node)
  }

  /** A question about `key` got no answer in time. False when that node was known to be away. */
  #silent(node: string, key: string): boolean {
    if (this.#closed) return false
    const watched = this.#watched.get(node) ?? this.#watch(node, key)
    if (!watched.breaker.isClosed) return false
    watched.key = key
    if (watched.breaker.silent(this.#clock.now(), this.#clock.random())) this.#probeLater(node, watched)
    return true
  }

  /**
   * Asks whether this user may ask the nodes for their slots. Resolves whatever comes of it.
   *
   * @param onRefused told of an answer that is a refusal
   */
  async findRights(onRefused: (error: unknown) => void): Promise<void> {
    try {
      await withDeadline(
        this.#client.call('CLUSTER', 'NODES'),
        this.#timeoutMs,
        () => new Silence(this.#timeoutMs)
      )
      this.mayAskForAccount(true)
    } catch (error) {
      if (troubleOf(error).errorClass !== 'misconfigured') return
      this.mayAskForAccount(false)
      onRefused(error)
    }
  }

  /** What came of such a question. */
  mayAskForAccount(isGranted: boolean): void {
    this.#isAccountDenied = !isGranted
  }

  problems(): string[] {
    const silent = [...this.#watched.keys()]
      .filter((node) => this.isAway(node))
      .map((node) => `The Cluster's node ${node} does not answer: what lies there is read from the source`)
    return this.#isAccountDenied ? [...silent, ACCOUNT_DENIED] : silent
  }

  close(): void {
    this.#closed = true
    for (const stop of this.#stopListening) stop()
    for (const { timer } of this.#watched.values()) clearTimeout(timer)
    this.#watched.clear()
  }

  #watch(node: string, key: string): Watched {
    const options = {
      silencesMost: SILENCES_MOST,
      pauseMs: PROBE_PAUSE_MS,
      pauseMostMs: PROBE_PAUSE_MOST_MS
    }
    const watched: Watched = { breaker: new Breaker(options), key, timer: undefined }
    this.#watched.set(node, watched)
    return watched
  }

  #probeLater(node: string, watched: Watched): void {
    const pauseMs = watched.breaker.probeInMs(this.#clock.now()) ?? PROBE_PAUSE_MS
    watched.timer = setTimeout(() => void this.#probe(node, watched), pauseMs)
    watched.timer.unref()
  }

  /** Asks for a key that was its own; if the slot has another owner by now, that one answers for it. */
  async #probe(node: string, watched: Watched): Promise<void> {
    const late = (): Error => new Silence(this.#timeoutMs)
    watched.breaker.probing()
    try {
      await withDeadline(this.#client.getBuffer(watched.key), this.#timeoutMs, late)
    } catch (error) {
      // Any reply but that it cannot serve is an answer.
      if (troubleOf(error).errorClass === 'down') {
        watched.breaker.probeFailed(this.#clock.now(), this.#clock.random())
        if (!this.#closed) {
          this.#lookForSuccessor()
          this.#probeLater(node, watched)
        }
        return
      }
    }
    this.#watched.delete(node)
  }

  /** If nobody tells, the next look will. */
  #lookForSuccessor(): void {
    const nowMs = this.#clock.now()
    if (nowMs - this.#lookedAtMs < OWNERS_AGAIN_MS) return
    this.#lookedAtMs = nowMs
    this.#client.refreshSlotsCache?.()
  }
}
