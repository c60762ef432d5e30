import { setTimeout as sleep } from 'node:timers/promises'
import { withDeadline } from '../policy/deadline.js'
import { RedisUnavailableError } from '../errors.js'
import type { RedisClient, RedisPipeline } from './client.js'
import { connectionTo } from './cluster-connections.js'
import { troubleOf } from './error-class.js'
import { watchHandshake } from './handshake.js'
import type { RedisLink } from './link.js'
import type { ScriptCall } from './shard-stream.js'
import { isUnknownScript, shaOf, textOf, type ScriptName } from './scripts.js'

const CONNECT_PATIENCE_MS = 1_000
/** A longer reply holds up everybody else's. */
const MOST_TOGETHER = 200

export interface ConfirmedBy {
  /** `wait`: on replicas; `waitaof`: in the master's synced file. */
  readonly command: 'wait' | 'waitaof'
  /** Replicas. Default 1. */
  readonly count?: number
  /** How long Redis waits for them. Default: as long as any command may take. */
  readonly timeoutMs?: number
  /** Whether a call goes after its key to the node that has it by now, once, as commands do. Default false: it is refused. */
  readonly follows?: boolean
}

interface Call {
  readonly script: ScriptName
  readonly keys: readonly string[]
  readonly args: readonly (string | number | Buffer)[]
  readonly resolve: (reply: unknown) => void
  readonly reject: (error: unknown) => void
  readonly follows: boolean
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
    const flush = (node: string, lane: Lane): void => {
      const calls = lane.calls.splice(0, MOST_TOGETHER)
      if (calls.length === 0) return void lanes.delete(node)
      void this.#deliver(node, calls, command, confirming, timeoutMs)
        .then((following) => following.forEach((call) => send({ ...call, follows: false })))
        .finally(() => flush(node, lane))
    }
    const send = (call: Call): void => {
      const node = this.#link.nodes?.nodeOf(call.keys[0]!) ?? ''
      const lane = lanes.get(node) ?? { calls: [], isRunning: false }
      lanes.set(node, lane)
      lane.calls.push(call)
      if (lane.isRunning) return
      lane.isRunning = true
      setImmediate(flush, node, lane)
    }
    return (script, keys, args) =>
      new Promise((resolve, reject) => send({ script, keys, args, resolve, reject, follows }))
  }

  close(): void {
    this.#stopWatching?.()
    this.#client?.disconnect()
  }

  /** Answers those that are to be sent again, to where their keys are by now. */
  async #deliver(
    node: string,
    calls: readonly Call[],
    command: ConfirmedBy['command'],
    confirming: readonly number[],
    timeoutMs: number
  ): Promise<Call[]> {
    let client: RedisClient | undefined
    let connection: RedisClient | undefined
    const run = async (): Promise<unknown[]> => {
      connection = await this.#connectionTo(client!, node, calls[0]!.keys[0]!)
      const replies = await this.#run(connection, calls, command, confirming)
      const moved = calls.filter((_, index) => isMoved(replies[index]))
      await Promise.all(moved.map(async ({ keys }) => this.#link.nodes?.lookFor(client!, keys[0]!)))
      return replies
    }
    const gaveUp = (): Error => {
      this.#gaveUp(client!, connection)
      return new Error(`no answer within ${2 * timeoutMs} ms`)
    }
    const following: Call[] = []
    const refuse = (call: Call, error: unknown): void => {
      if (call.follows && isMoved(error)) following.push(call)
      else call.reject(this.#failure(error))
    }
    try {
      client = await this.#usable()
      const replies = await withDeadline(run(), 2 * timeoutMs, gaveUp)
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
    const { replies, confirmed } = await together(connection, calls, command, confirming, false)
    // Those ran nothing; the others are confirmed by the WAIT behind them, and by the next one once more.
    const unknown = calls.filter((_, index) => isUnknownScript(replies[index]))
    let last = confirmed
    if (unknown.length > 0) {
      const again = await together(connection, unknown, command, confirming, true)
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
      throw new Error(
        `${command.toUpperCase()} confirmed ${count} of ${needed} within ${confirming.at(-1)} ms`
      )
    return replies
  }

  async #connectionTo(client: RedisClient, node: string, key: string): Promise<RedisClient> {
    const { nodes } = this.#link
    if (nodes === undefined) return client
    if (nodes.isAway(node)) throw new Error(`the connection is away: ${node} does not answer`)
    return connectionTo(client, nodes, node, key)
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
  evalBuffer(...args: (string | number | Buffer)[]): RedisPipeline
  call(command: string, ...args: (string | number)[]): RedisPipeline
}

const AWAY = { cause: new Error('the connection is away') }

async function together(
  connection: RedisClient,
  calls: readonly Call[],
  command: string,
  confirming: readonly number[],
  withText: boolean
): Promise<{ replies: unknown[]; confirmed: unknown }> {
  const pipeline = connection.pipeline() as ScriptPipeline
  for (const { script, keys, args } of calls) {
    if (withText) pipeline.evalBuffer(textOf(script), keys.length, ...keys, ...args)
    else pipeline.evalshaBuffer(shaOf(script), keys.length, ...keys, ...args)
  }
  pipeline.call(command, ...confirming)
  const all = ((await pipeline.exec()) ?? []).map(([error, reply]) => error ?? reply)
  return { replies: all.slice(0, calls.length), confirmed: all[calls.length] }
}

function isMoved(reply: unknown): boolean {
  return reply instanceof Error && /^(MOVED|ASK) /.test(reply.message)
}
