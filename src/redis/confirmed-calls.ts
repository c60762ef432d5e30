import { setTimeout as sleep } from 'node:timers/promises'
import { withDeadline } from '../policy/deadline.js'
import { RedisUnavailableError } from '../errors.js'
import type { RedisClient, RedisPipeline } from './client.js'
import { connectionTo } from './cluster-connections.js'
import { Silence, troubleOf } from './error-class.js'
import { watchHandshake } from './handshake.js'
import type { RedisLink } from './link.js'
import { addressFor, connectionToAsk, redirectionOf, type Redirection } from './redirection.js'
import type { ScriptCall } from './shard-stream.js'
import { isUnknownScript, shaOf, textOf, type ScriptName } from './scripts.js'

const CONNECT_PATIENCE_MS = 1_000
/** A longer reply holds up everybody else's. */
const MOST_TOGETHER = 200
/** From node to node for one change. A slot has one owner and one that it is moved to, so two are enough if they agree. */
const MOST_REDIRECTIONS = 5
const TRY_AGAIN_MS = 20

export interface ConfirmedBy {
  /** `wait`: on replicas; `waitaof`: in the master's synced file. */
  readonly command: 'wait' | 'waitaof'
  /** Replicas. Default 1. */
  readonly count?: number
  /** How long Redis waits for them. Default: as long as any command may take. */
  readonly timeoutMs?: number
  /**
   * Whether a call goes after its keys to the node that has them by now, or to which they are just being moved, as commands
   * do; for as long as `timeoutMs`. Default false: it is refused.
   */
  readonly follows?: boolean
}

interface Call {
  readonly script: ScriptName
  readonly keys: readonly string[]
  readonly args: readonly (string | number | Buffer)[]
  readonly resolve: (reply: unknown) => void
  readonly reject: (error: unknown) => void
  /** The node that it was told to ask, instead of the one that has its slot. */
  readonly asks: string | undefined
  /** How often it was sent elsewhere in a row. */
  readonly redirections: number
  /** It is sent to no other node after this, on the monotonic clock. */
  readonly followsUntilMs: number
}

/** Carried out, and not on as many servers as it should be. */
export class UnconfirmedError extends Error {}

/** What a redirection leads to. */
interface Following {
  /** To be sent next; undefined when it is refused for good. */
  readonly next: Call | undefined
  readonly refused: Call
  readonly after: Redirection['kind']
  readonly error: unknown
}

/** The calls to one server: those that come while some are under way go together, behind them. */
interface Lane {
  calls: Call[]
  isRunning: boolean
}

/**
 * Scripts whose effect must be on replicas, or on the master's disk, before they count as done. On a connection of its
 * own, because WAIT holds up whatever comes behind it on the same one; and one WAIT for all that go together.
 */
export class ConfirmedCalls {
  readonly #link: RedisLink
  #client: RedisClient | undefined
  #stopWatching: (() => void) | undefined

  constructor(link: RedisLink) {
    this.#link = link
    // Its own connection may be well, and to a server that is not the one any more.
    link.onLost(() => this.#connectAnew())
  }

  by({ command, count = 1, timeoutMs = this.#link.timeoutMs, follows = false }: ConfirmedBy): ScriptCall {
    const lanes = new Map<string, Lane>()
    const confirming = command === 'wait' ? [count, timeoutMs] : [1, 0, timeoutMs]
    const flush = (name: string, lane: Lane): void => {
      const calls = lane.calls.splice(0, MOST_TOGETHER)
      if (calls.length === 0) return void lanes.delete(name)
      void this.#deliver(calls, command, confirming, timeoutMs)
        .then((following) => following.forEach((one) => void this.#follow(one, timeoutMs, send)))
        .finally(() => flush(name, lane))
    }
    const send = (call: Call): void => {
      const name =
        call.asks === undefined ? (this.#link.nodes?.nodeOf(call.keys[0]!) ?? '') : `to ask ${call.asks}`
      const lane = lanes.get(name) ?? { calls: [], isRunning: false }
      lanes.set(name, lane)
      lane.calls.push(call)
      if (lane.isRunning) return
      lane.isRunning = true
      setImmediate(flush, name, lane)
    }
    return (script, keys, args) =>
      new Promise((resolve, reject) => {
        const followsUntilMs = follows ? performance.now() + timeoutMs : 0
        send({ script, keys, args, resolve, reject, asks: undefined, redirections: 0, followsUntilMs })
      })
  }

  close(): void {
    this.#stopWatching?.()
    this.#client?.disconnect()
  }

  /** Calls of one lane. Answers those that are to be sent again, to where their keys are by now. */
  async #deliver(
    calls: readonly Call[],
    command: ConfirmedBy['command'],
    confirming: readonly number[],
    timeoutMs: number
  ): Promise<Following[]> {
    let client: RedisClient | undefined
    let connection: RedisClient | undefined
    const run = async (): Promise<unknown[]> => {
      connection = await this.#connectionFor(client!, calls[0]!)
      return this.#run(connection, calls, command, confirming)
    }
    // Two WAITs where the scripts are not known there yet, and the way.
    const patienceMs = 2 * timeoutMs + this.#link.timeoutMs
    const gaveUp = (): Error => {
      this.#gaveUp(client!, connection)
      return new Error(`no answer within ${patienceMs} ms`)
    }
    const following: Following[] = []
    const refuse = (call: Call, error: unknown): void => {
      const redirection = redirectionOf(error)
      if (redirection === undefined) call.reject(this.#failure(error))
      else following.push({ next: nextOf(call, redirection), refused: call, after: redirection.kind, error })
    }
    try {
      client = await this.#usable()
      const replies = await withDeadline(run(), patienceMs, gaveUp)
      for (const [index, call] of calls.entries()) {
        const reply = replies[index]
        if (reply instanceof Error) refuse(call, reply)
        else call.resolve(reply)
      }
      // Demoted, and its connections left standing: only a new one leads to who has taken over.
      if (replies.some((reply) => reply instanceof Error && troubleOf(reply).errorClass === 'elsewhere'))
        this.#connectAnew()
    } catch (error) {
      for (const call of calls) refuse(call, error)
    }
    return following
  }

  /** Also one that is refused: who makes it again is to find the new owner. */
  async #follow(
    { next, refused, after, error }: Following,
    timeoutMs: number,
    send: (call: Call) => void
  ): Promise<void> {
    try {
      if (after === 'moved') {
        const looking = this.#link.nodes?.lookFor(await this.#usable(), refused.keys[0]!)
        await withDeadline(Promise.resolve(looking), timeoutMs, () => new Silence(timeoutMs))
      }
      if (next === undefined) return refused.reject(this.#failure(error))
      if (after === 'try-again') await sleep(TRY_AGAIN_MS)
      send(next)
    } catch (failure) {
      refused.reject(this.#failure(failure))
    }
  }

  /** WAIT itself ends in time, so a connection that says nothing for so long may be dead without having said so. */
  #gaveUp(client: RedisClient, connection: RedisClient | undefined): void {
    if (!client.isCluster) return this.#connectAnew()
    // The driver makes another one when it is needed, if the node is still the one to go to.
    connection?.disconnect()
    client.refreshSlotsCache?.()
  }

  /** On a Cluster the driver does that for each node by itself. */
  #connectAnew(): void {
    if (this.#client?.isCluster === false) this.#client.disconnect(true)
  }

  /** The replies of those that are confirmed; rejects when nothing is known to be. */
  async #run(
    connection: RedisClient,
    calls: readonly Call[],
    command: ConfirmedBy['command'],
    confirming: readonly number[]
  ): Promise<unknown[]> {
    const prefix = this.#prefixFor(connection)
    const { replies, confirmed } = await together(connection, prefix, calls, command, confirming, false)
    // Those ran nothing; the others are confirmed by the WAIT behind them, and by the next one once more.
    const unknown = calls.filter((_, index) => isUnknownScript(replies[index]))
    let last = confirmed
    if (unknown.length > 0) {
      const again = await together(connection, prefix, unknown, command, confirming, true)
      last = again.confirmed
      let next = 0
      for (const [index, reply] of replies.entries())
        if (isUnknownScript(reply)) replies[index] = again.replies[next++]
    }
    // Nothing of it was carried out, so there is nothing to confirm.
    if (replies.every((reply) => reply instanceof Error)) return replies
    // Not as it is: a refused WAIT says nothing about the scripts before it, which were carried out.
    if (last instanceof Error)
      throw new Error(`${command.toUpperCase()} failed: ${last.message}`, { cause: last })
    const count = Number(Array.isArray(last) ? last[0] : last)
    const needed = confirming[0]!
    if (count < needed)
      throw new UnconfirmedError(
        `${command.toUpperCase()} confirmed ${count} of ${needed} within ${confirming.at(-1)} ms`
      )
    return replies
  }

  async #connectionFor(client: RedisClient, call: Call): Promise<RedisClient> {
    const { nodes } = this.#link
    if (nodes === undefined) return client
    const { asks, keys } = call
    const node = asks === undefined ? nodes.nodeOf(keys[0]!) : addressFor(client, asks)
    if (nodes.isAway(node)) throw new Error(`the connection is away: ${node} does not answer`)
    if (asks !== undefined) return connectionToAsk(client, node, keys)
    return connectionTo(client, nodes, node, keys[0]!)
  }

  /** The `keyPrefix` of a Cluster is added by itself, and its connections to nodes may know nothing of it. */
  #prefixFor(connection: RedisClient): string {
    return connection.options.keyPrefix ? '' : (this.#link.client.options.keyPrefix ?? '')
  }

  #failure(error: unknown): RedisUnavailableError {
    const action = 'confirm a write'
    const refusal = error instanceof Error && error.cause instanceof Error ? error.cause : error
    this.#link.report(action, refusal)
    return error instanceof RedisUnavailableError
      ? error
      : new RedisUnavailableError(action, { cause: error })
  }

  async #usable(): Promise<RedisClient> {
    if (this.#link.state !== 'ready') await this.#link.call('accept a write', (client) => client.time())
    // A Cluster's driver ends for good when its options say so, which need not end the one that it is a copy of.
    if (this.#client === undefined || this.#client.status === 'end') this.#client = this.#open()
    for (let waitedMs = 0; this.#client.status !== 'ready'; waitedMs += 10) {
      if (waitedMs >= CONNECT_PATIENCE_MS) throw new RedisUnavailableError('accept a write', AWAY)
      await sleep(10)
    }
    return this.#client
  }

  #open(): RedisClient {
    const client = this.#link.duplicateForChannel()
    // What goes wrong shows in the calls.
    client.on('error', () => undefined)
    this.#stopWatching?.()
    if (!client.isCluster) this.#stopWatching = watchHandshake(client, this.#link.timeoutMs)
    return client
  }
}

/** Any ioredis has these. */
interface ScriptPipeline extends RedisPipeline {
  readonly length: number
  evalBuffer(...args: (string | number | Buffer)[]): RedisPipeline
  call(command: string, ...args: (string | number)[]): RedisPipeline
}

const AWAY = { cause: new Error('the connection is away') }

async function together(
  connection: RedisClient,
  prefix: string,
  calls: readonly Call[],
  command: string,
  confirming: readonly number[],
  withText: boolean
): Promise<{ replies: unknown[]; confirmed: unknown }> {
  const pipeline = connection.pipeline() as ScriptPipeline
  const places = calls.map(({ script, keys, args, asks }) => {
    // Good for the one command behind it.
    if (asks !== undefined) pipeline.call('ASKING')
    const prefixed = prefix === '' ? keys : keys.map((key) => prefix + key)
    if (withText) pipeline.evalBuffer(textOf(script), keys.length, ...prefixed, ...args)
    else pipeline.evalshaBuffer(shaOf(script), keys.length, ...prefixed, ...args)
    return pipeline.length - 1
  })
  pipeline.call(command, ...confirming)
  const all = ((await pipeline.exec()) ?? []).map(([error, reply]) => error ?? reply)
  return { replies: places.map((place) => all[place]), confirmed: all.at(-1) }
}

/** Undefined when it is not to follow, or not any more. */
function nextOf(call: Call, redirection: Redirection): Call | undefined {
  if (performance.now() >= call.followsUntilMs) return undefined
  if (redirection.kind === 'try-again') return { ...call, asks: undefined, redirections: 0 }
  if (call.redirections >= MOST_REDIRECTIONS) return undefined
  const asks = redirection.kind === 'ask' ? redirection.node : undefined
  return { ...call, asks, redirections: call.redirections + 1 }
}
