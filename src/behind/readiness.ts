import { DurabilityUnmetError, ShardsDifferError } from '../errors.js'
import type { RedisLink } from '../redis/link.js'
import { readServerFacts } from '../redis/server-facts.js'
import type { ScriptCall, ShardStreams } from '../redis/shard-stream.js'
import { judgeDurability, type Confirmation } from './durability.js'
import type { Queue } from './queue.js'

/** A server that was found wanting is looked at again after so long. */
const LOOK_AGAIN_MS = 2_000

/**
 * Whether the server keeps what a queue promises: looked at before the first operation, and again at every connect,
 * because it may be another server then. Until it does, nothing is accepted.
 */
export class Readiness {
  readonly #link: RedisLink
  readonly #streams: ShardStreams
  readonly #confirmed: (confirmation: Confirmation) => ScriptCall | undefined
  readonly #known = new Map<Queue, Promise<ScriptCall | undefined>>()

  constructor(
    link: RedisLink,
    streams: ShardStreams,
    confirmed: (confirmation: Confirmation) => ScriptCall | undefined
  ) {
    this.#link = link
    this.#streams = streams
    this.#confirmed = confirmed
    link.onReady(() => this.#known.clear())
  }

  /** How the queue's appends are to be sent; undefined: as everything else. Rejects while the server does not do. */
  of(queue: Queue): Promise<ScriptCall | undefined> {
    const known = this.#known.get(queue)
    if (known !== undefined) return known
    const looking = this.#look(queue)
    this.#known.set(queue, looking)
    looking.catch((error: unknown) => {
      const isRefused = error instanceof DurabilityUnmetError || error instanceof ShardsDifferError
      const forget = (): void => {
        if (this.#known.get(queue) === looking) this.#known.delete(queue)
      }
      if (isRefused) setTimeout(forget, LOOK_AGAIN_MS).unref()
      else forget()
    })
    return looking
  }

  async #look(queue: Queue): Promise<ScriptCall | undefined> {
    const { durability, shards } = queue.policy
    const verdict = judgeDurability(durability, await readServerFacts(this.#link))
    if (!verdict.kept) throw new DurabilityUnmetError(queue.name, durability, verdict.found, verdict.change)
    const inUse = await this.#streams.shardsOf(queue.keys.shards, shards)
    if (inUse !== shards) throw new ShardsDifferError(queue.name, shards, inUse, queue.keys.shards)
    return verdict.confirmation === 'none' ? undefined : this.#confirmed(verdict.confirmation)
  }
}
