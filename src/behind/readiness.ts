import { DurabilityUnmetError, RedisUnavailableError, ShardsDifferError } from '../errors.js'
import { UnconfirmedError } from '../redis/confirmed-calls.js'
import type { RedisLink } from '../redis/link.js'
import { readServerFacts } from '../redis/server-facts.js'
import type { ScriptCall, ShardStreams } from '../redis/shard-stream.js'
import { judgeDurability, type Confirmation } from './durability.js'
import type { Queue } from './queue.js'

/** A server that was found wanting is looked at again after so long; and so is one whose replicas are waited for. */
const LOOK_AGAIN_MS = 2_000

/** Of the only server there is. */
const THE_SERVER = ''

/**
 * Whether the server keeps what a queue promises: looked at before the first operation, and again at every connect,
 * because it may be another server then. Until it does, nothing is accepted.
 *
 * On a Cluster the server of a shard is the one that has its slot: each is looked at for itself, and an answer counts only
 * from one that was. The driver follows a slot to its next owner by itself, in the middle of a call.
 */
export class Readiness {
  readonly #link: RedisLink
  readonly #streams: ShardStreams
  readonly #confirmed: (confirmation: Confirmation) => ScriptCall | undefined
  readonly #agreed = new Map<Queue, Promise<void>>()
  readonly #judged = new Map<Queue, Map<string, Promise<ScriptCall | undefined>>>()
  /** Of a Cluster: how often what answers at an address may have become another server. */
  readonly #changes = new Map<string, number>()

  constructor(
    link: RedisLink,
    streams: ShardStreams,
    confirmed: (confirmation: Confirmation) => ScriptCall | undefined
  ) {
    this.#link = link
    this.#streams = streams
    this.#confirmed = confirmed
    const forget = (): void => {
      this.#agreed.clear()
      this.#judged.clear()
    }
    link.onReady(forget)
    link.nodes?.onOther((node) => {
      this.#changes.set(node, this.#changesOf(node) + 1)
      for (const ofQueue of this.#judged.values()) ofQueue.delete(node)
    })
  }

  /** How appends to a shard are to be sent; undefined: as everything else. Rejects while its server does not do. */
  async of(queue: Queue, shard: number): Promise<ScriptCall | undefined> {
    const { stream } = queue.shards[shard]!
    const node = this.#link.nodes?.nodeOf(stream) ?? THE_SERVER
    const ofQueue = this.#judged.get(queue) ?? new Map<string, Promise<ScriptCall | undefined>>()
    this.#judged.set(queue, ofQueue)
    const [send] = await Promise.all([
      remembered(ofQueue, node, () => this.#judge(queue, node, stream)),
      this.assertShards(queue)
    ])
    return send
  }

  /** Rejects while the queue is in use with another number of shards. */
  assertShards(queue: Queue): Promise<void> {
    return remembered(this.#agreed, queue, () => this.#agree(queue))
  }

  /** @param key one that the node has */
  async #judge(queue: Queue, node: string, key: string): Promise<ScriptCall | undefined> {
    const { durability } = queue.policy
    const verdict = judgeDurability(durability, await readServerFacts(this.#link, key))
    if (!verdict.kept) {
      const found = this.#link.nodes === undefined ? verdict.found : `of ${node}, ${verdict.found}`
      throw new DurabilityUnmetError(queue.name, durability, found, verdict.change)
    }
    const confirmed = this.#confirmed(verdict.confirmation)
    const send = confirmed && this.#confirmedBy(queue, node, confirmed)
    // A replica that has come since may be the one that takes over.
    if (verdict.confirmation.by === 'replicas')
      setTimeout(() => this.#judged.get(queue)?.delete(node), LOOK_AGAIN_MS).unref()
    return this.#link.nodes === undefined ? send : this.#answeredBy(node, send ?? this.#streams.send)
  }

  /** The same; and when a replica is missing, the server is asked anew how many it has. */
  #confirmedBy(queue: Queue, node: string, send: ScriptCall): ScriptCall {
    return async (script, keys, args) => {
      try {
        return await send(script, keys, args)
      } catch (error) {
        if (error instanceof Error && error.cause instanceof UnconfirmedError)
          this.#judged.get(queue)?.delete(node)
        throw error
      }
    }
  }

  /**
   * The same, but that the answer of another node than this one does not count; nor does its own when the connection was
   * lost meanwhile, because then it may have been started anew since it was looked at.
   */
  #answeredBy(node: string, send: ScriptCall): ScriptCall {
    return async (script, keys, args) => {
      const changes = this.#changesOf(node)
      const reply = await send(script, keys, args)
      const isOwner = this.#link.nodes!.nodeOf(keys[0]!) === node
      if (isOwner && this.#changesOf(node) === changes) return reply
      const cause = new Error(
        isOwner ? `the connection to ${node} was made anew` : `${node} does not have the slot any more`
      )
      throw new RedisUnavailableError('confirm a write', { cause })
    }
  }

  #changesOf(node: string): number {
    return this.#changes.get(node) ?? 0
  }

  async #agree(queue: Queue): Promise<void> {
    const { shards } = queue.policy
    const inUse = await this.#streams.shardsOf(queue.keys.shards, shards)
    if (inUse !== shards) throw new ShardsDifferError(queue.name, shards, inUse, queue.keys.shards)
  }
}

/** What was found out before, or is being found out; a refusal for a while, and a failure not at all. */
function remembered<Key, T>(known: Map<Key, Promise<T>>, key: Key, look: () => Promise<T>): Promise<T> {
  const before = known.get(key)
  if (before !== undefined) return before
  const looking = look()
  known.set(key, looking)
  looking.catch((error: unknown) => {
    const isRefused = error instanceof DurabilityUnmetError || error instanceof ShardsDifferError
    const forget = (): void => {
      if (known.get(key) === looking) known.delete(key)
    }
    if (isRefused) setTimeout(forget, LOOK_AGAIN_MS).unref()
    else forget()
  })
  return looking
}
