import { RedisUnavailableError } from '../errors.js'
import { shardOfKey } from '../keys/key-schema.js'
import { ConcurrencyLimit } from '../policy/concurrency-limit.js'
import type { Announcement } from '../redis/change-channel.js'
import type { RedisClient } from '../redis/client.js'
import type { Coherence } from '../redis/coherence.js'
import { unlink } from '../redis/keys.js'
import type { RedisLink } from '../redis/link.js'
import { askByNode, type Call, type OrUnavailable } from '../redis/node-questions.js'
import { ScriptRunner, type ScriptName } from '../redis/scripts.js'
import type { ScriptCall } from '../redis/shard-stream.js'
import type { Delivery, Untold } from './entry-store.js'
import type { MemoryTier } from './memory-tier.js'

type ScriptArguments = (string | number | Buffer)[]

/**
 * Scripts that are under way at once; the others wait for their turn, in their order. The deadline of a call begins when it
 * is sent, and Redis runs some 50,000 scripts a second: of 20,000 that are sent in one instant the last would look like
 * silence, and take the whole link with them. Reads are not among them, and do not stand behind them in the connection.
 */
const MOST_AT_ONCE = 500
const ANNOUNCE = 'announce changes'
/** Under one deadline. */
const KEYS_PER_DROP = 5_000

/** Runs a script on one key, with others of its slot to look at; `action` is what an error says was not done. */
export type RunScript = (
  action: string,
  script: ScriptName,
  key: string,
  args: ScriptArguments,
  others?: readonly string[]
) => Promise<unknown>

export interface RedisChangesParts {
  readonly link: RedisLink
  readonly coherence: Coherence
  /** Undefined where nothing is kept in memory. */
  readonly memory: MemoryTier | undefined
  /** How what makes entries wrong is sent, where replicas have to have it. */
  readonly confirmed: ScriptCall | undefined
}

/** Steps after which what is kept of a key, in this process and in others, is nothing to go by: they are told. */
export class RedisChanges {
  readonly #parts: RedisChangesParts
  readonly #runners = new WeakMap<RedisClient, ScriptRunner>()
  /** Whether a message that is sent behind a change may come before it. */
  readonly #isOvertaken: boolean
  readonly #turns = new ConcurrencyLimit(MOST_AT_ONCE, Number.POSITIVE_INFINITY)

  constructor(parts: RedisChangesParts) {
    const { link, confirmed } = parts
    this.#parts = parts
    this.#isOvertaken = link.nodes !== undefined || confirmed !== undefined || hasOwnOrder(link.client)
  }

  /** Runs `send`, which sends one script, in its turn. */
  inTurn<T>(send: () => Promise<T>): Promise<T> {
    return this.#turns.run(send)
  }

  /** A step of which nobody is told. */
  readonly run: RunScript = (action, script, key, args, others = []) =>
    this.inTurn(() =>
      this.#parts.link.callFor(key, action, (client) =>
        this.runnerOf(client).runOn(script, [key, ...others], args)
      )
    )

  readonly change: RunScript = (action, script, key, args, others) =>
    this.#changing([key], () => this.run(action, script, key, args, others))

  /** The same for a step that makes something wrong: replicas may have to have it before it counts as done. */
  readonly declare: RunScript = (action, script, key, args, others = []) => {
    const { confirmed } = this.#parts
    if (confirmed === undefined) return this.change(action, script, key, args, others)
    return this.#changing([key], () => this.inTurn(() => confirmed(script, [key, ...others], args)))
  }

  readonly runOnCounter: RunScript = (action, script, key, args) => {
    // Made where there was none: what stood under it was outdated before.
    if (script === 'ensure-generation') return this.run(action, script, key, args)
    return this.declare(action, script, key, args)
  }

  /** In the order of the keys where they are dropped one by one; else how many there were. */
  async drop(keys: readonly string[]): Promise<OrUnavailable<number>[]> {
    const dropped: OrUnavailable<number>[][] = []
    for (let at = 0; at < keys.length; at += KEYS_PER_DROP)
      dropped.push(await this.#drop(keys.slice(at, at + KEYS_PER_DROP)))
    return dropped.flat()
  }

  #drop(keys: readonly string[]): Promise<OrUnavailable<number>[]> {
    const { link, confirmed } = this.#parts
    const { nodes } = link
    const action = 'drop entries'
    return this.#changing(keys, async () => {
      if (confirmed !== undefined)
        return Promise.all(
          keys.map((key) =>
            orUnavailable(this.inTurn(() => confirmed('drop-flushed', [key], [])).then(Number))
          )
        )
      if (nodes === undefined) return [await link.call(action, (client) => this.#dropOn(client, keys))]
      const call: Call = (what, send, onNodeSilence) => link.call(what, send, onNodeSilence)
      const ask = (client: RedisClient, key: string): Promise<number> => this.#dropOn(client, [key])
      return askByNode(nodes, keys, { action, call, ask })
    })
  }

  /** What was remembered while Redis was away, over a connection that nobody else uses yet. */
  deliveryOver(client: RedisClient): Delivery {
    const { link, coherence } = this.#parts
    const runner = this.runnerOf(client)
    const told = async (keys: readonly string[], change: Promise<unknown>): Promise<void> => {
      await change.then(settled, settled)
      const news = coherence.announcementOf(keys)
      if (news !== undefined) this.#noteRefusal(await runner.run('announce-changes', news.key, news.args))
      await change
    }
    const dropAll = async (keys: readonly string[]): Promise<Untold> => {
      await this.#dropOn(client, keys)
      return new Map()
    }
    const dropEach = async (keys: readonly string[]): Promise<Untold> => {
      const each = await Promise.allSettled(keys.map((key) => this.#dropOn(client, [key])))
      const failures = each.map((one, index) => [keys[index]!, one] as const)
      return new Map(
        failures.flatMap(([key, one]) => (one.status === 'rejected' ? [[key, one.reason as unknown]] : []))
      )
    }
    return {
      drop: async (keys) => {
        link.assertDatabase()
        const dropping = link.nodes === undefined ? dropAll(keys) : dropEach(keys)
        await told(keys, dropping)
        return dropping
      },
      move: async (key, keptMs) => {
        link.assertDatabase()
        await told([key], runner.run('move-generation', key, ['hard', '', keptMs]))
      }
    }
  }

  /** A change that is sent by others, over whichever connection. */
  changing<T>(keys: readonly string[], change: () => Promise<T>): Promise<T> {
    return this.#changing(keys, change, true)
  }

  /**
   * What is kept here is dropped before the change is sent, and again after its reply: an answer that was asked for in
   * between may be from before it. Who cannot be told by Redis is told by a message right behind the change.
   *
   * On a Cluster the message goes to a node of its own, and would overtake the change: who hears it drops the old value,
   * reads it again from where the change has not arrived yet, and keeps it. So there it is sent after the reply; and so it
   * is where changes have a connection of their own, or a driver that has an order of its own. A script that Redis did not
   * know is sent again, behind the message that was sent behind it: then there is another one.
   */
  async #changing<T>(
    keys: readonly string[],
    change: () => Promise<T>,
    isOvertaken = this.#isOvertaken
  ): Promise<T> {
    const { memory, coherence, link } = this.#parts
    if (keys.length === 0) return change()
    for (const key of keys) memory?.drop(key)
    try {
      const news = isOvertaken ? undefined : coherence.announcementOf(keys)
      if (news === undefined) return await this.#tellingAfter(keys, change())
      const runner = this.runnerOf(link.client)
      const { resent } = runner
      const [result] = await Promise.all([change(), this.#announce(news)])
      if (runner.resent !== resent) await this.#announce(news)
      return result
    } finally {
      for (const key of keys) memory?.drop(key)
    }
  }

  /** Whether there is anybody to tell is asked by then: who begins to listen goes by what was changed before. */
  async #tellingAfter<T>(keys: readonly string[], changing: Promise<T>): Promise<T> {
    await changing.then(settled, settled)
    const news = this.#parts.coherence.announcementOf(keys)
    if (news === undefined) return changing
    const [result] = await Promise.all([changing, this.#announce(news)])
    return result
  }

  runnerOf(client: RedisClient): ScriptRunner {
    const known = this.#runners.get(client)
    if (known !== undefined) return known
    const runner = new ScriptRunner(client)
    this.#runners.set(client, runner)
    return runner
  }

  async #dropOn(client: RedisClient, keys: readonly string[]): Promise<number> {
    const behind = keys.filter(isWrittenBehind)
    if (behind.length === 0) return unlink(client, keys)
    const others = keys.filter((key) => !isWrittenBehind(key))
    const runner = this.runnerOf(client)
    const flushed = behind.map((key) => runner.run('drop-flushed', key, []))
    const replies = await Promise.all([unlink(client, others), ...flushed])
    return replies.reduce((sum: number, reply) => sum + Number(reply), 0)
  }

  /** Whatever it fails with says nothing of the change, which was made by then: "not sent" would read as "not done". */
  async #announce({ key, args }: Announcement): Promise<void> {
    try {
      this.#noteRefusal(await this.run(ANNOUNCE, 'announce-changes', key, args))
    } catch (error) {
      const cause = new Error('a change that may have been made could not be announced', { cause: error })
      throw new RedisUnavailableError(ANNOUNCE, { cause })
    }
  }

  /** Of a user without the channel: those who listen notice by the number alone, and somebody has to grant it. */
  #noteRefusal(reply: unknown): void {
    if (!Array.isArray(reply)) return
    const [, refusal] = reply as [number: Buffer, refusal: Buffer]
    this.#parts.link.report(ANNOUNCE, new Error(String(refusal)))
  }
}

/** It gathers commands while others are under way, or sends one that was refused again. */
function hasOwnOrder({ options }: RedisClient): boolean {
  return options.enableAutoPipelining === true || typeof options.reconnectOnError === 'function'
}

/** As a node's answer among others. */
function orUnavailable<T>(asked: Promise<T>): Promise<OrUnavailable<T>> {
  return asked.catch((error: unknown) => {
    if (error instanceof RedisUnavailableError) return error
    throw error
  })
}

/** Also of a change without an answer: it may have been made. */
function settled(): void {}

function isWrittenBehind(key: string): boolean {
  return shardOfKey(key) !== undefined
}
