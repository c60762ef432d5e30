import type { Clock } from '../clock.js'
import { Breaker } from '../policy/breaker.js'
import { withDeadline } from '../policy/deadline.js'
import type { RedisClient } from './client.js'
import { Silence, troubleOf } from './error-class.js'
import { keySlot } from './key-slot.js'

/** Fewer than those after which all of Redis counts as away: one node must not take the others with it. */
const SILENCES_MOST = 2
const PROBE_PAUSE_MS = 100
const PROBE_PAUSE_MOST_MS = 400

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
 */
export class ClusterNodes {
  readonly #client: RedisClient
  readonly #clock: Clock
  readonly #timeoutMs: number
  readonly #prefix: string
  /** Those alone that were silent lately. */
  readonly #watched = new Map<string, Watched>()
  readonly #stopListening: (() => void)[] = []
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

  /** Calls `listener` whenever a node is connected to that was not: another server, or one that was started anew. */
  onConnect(listener: () => void): void {
    this.#client.on('+node', listener)
    this.#stopListening.push(() => this.#client.off('+node', listener))
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

  problems(): string[] {
    return [...this.#watched.keys()]
      .filter((node) => this.isAway(node))
      .map((node) => `The Cluster's node ${node} does not answer: what lies there is read from the source`)
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
        if (!this.#closed) this.#probeLater(node, watched)
        return
      }
    }
    this.#watched.delete(node)
  }
}

/**
 * The connection of `client` to the primary `node`, which has `key` in the eyes of another client.
 *
 * A driver hears of a failover by what its commands are answered. One that is used for its connections alone would never
 * be, and never know the new primary: so it is made to look for the key where it does not.
 */
export async function connectionTo(client: RedisClient, node: string, key: string): Promise<RedisClient> {
  const known = primaryAt(client, node)
  if (known !== undefined) return known
  await lookFor(client, key)
  const found = primaryAt(client, node)
  if (found === undefined) throw new Error(`the connection is away: ${node || 'no node'} is not known`)
  return found
}

/** Makes the driver find out who has `key`. It follows a slot to its next owner for a command, but not for a pipeline. */
export async function lookFor(client: RedisClient, key: string): Promise<void> {
  try {
    await client.strlen(key)
  } catch (error) {
    // Whatever the answer is, a server gave it.
    if (!(error instanceof Error && error.name === 'ReplyError')) throw error
  }
}

function primaryAt(client: RedisClient, node: string): RedisClient | undefined {
  return client.nodes?.('master').find(({ options: { host, port } }) => `${host}:${port}` === node)
}
