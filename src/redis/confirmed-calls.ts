import { setTimeout as sleep } from 'node:timers/promises'
import { withDeadline } from '../policy/deadline.js'
import { RedisUnavailableError } from '../errors.js'
import type { RedisClient, RedisPipeline } from './client.js'
import { connectionTo, lookFor } from './cluster-nodes.js'
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
}

interface Call {
  readonly script: ScriptName
  readonly keys: readonly string[]
  readonly args: readonly (string | number | Buffer)[]
  readonly resolve: (reply: unknown) => void
  readonly reject: (error: unknown) => void
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

  constructor(link: RedisLink) {
    this.#link = link
  }

  by({ command, count = 1, timeoutMs = this.#link.timeoutMs }: ConfirmedBy): ScriptCall {
    const lanes = new Map<string, Lane>()
    const confirming = command === 'wait' ? [count, timeoutMs] : [1, 0, timeoutMs]
    const flush = (node: string, lane: Lane): void => {
      const calls = lane.calls.splice(0, MOST_TOGETHER)
      if (calls.length === 0) return void lanes.delete(node)
      void this.#deliver(node, calls, command, confirming, timeoutMs).finally(() => flush(node, lane))
    }
    return (script, keys, args) =>
      new Promise((resolve, reject) => {
        const node = this.#link.nodes?.nodeOf(keys[0]!) ?? ''
        const lane = lanes.get(node) ?? { calls: [], isRunning: false }
        lanes.set(node, lane)
        lane.calls.push({ script, keys, args, resolve, reject })
        if (lane.isRunning) return
        lane.isRunning = true
        setImmediate(flush, node, lane)
      })
  }

  close(): void {
    this.#client?.disconnect()
  }

  async #deliver(
    node: string,
    calls: readonly Call[],
    command: ConfirmedBy['command'],
    confirming: readonly number[],
    timeoutMs: number
  ): Promise<void> {
    const late = (): Error => new Error(`no answer within ${2 * timeoutMs} ms`)
    let client: RedisClient | undefined
    try {
      client = await this.#usable()
      const run = this.#run(client, node, calls, command, confirming)
      const replies = await withDeadline(run, 2 * timeoutMs, () => this.#gaveUp(client!, late()))
      for (const [index, { resolve, reject }] of calls.entries()) {
        const reply = replies[index]
        if (reply instanceof Error) reject(this.#failure(reply))
        else resolve(reply)
      }
    } catch (error) {
      const failure = this.#failure(error)
      for (const { reject } of calls) reject(failure)
    }
  }

  /** WAIT itself ends in time, so a connection that says nothing for so long may be dead without having said so. */
  #gaveUp(client: RedisClient, late: Error): Error {
    if (!client.isCluster) client.disconnect(true)
    return late
  }

  /** The replies of those that are confirmed; rejects when nothing is known to be. */
  async #run(
    client: RedisClient,
    node: string,
    calls: readonly Call[],
    command: ConfirmedBy['command'],
    confirming: readonly number[]
  ): Promise<unknown[]> {
    const connection = await this.#connectionTo(client, node, calls[0]!.keys[0]!)
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
    const moved = calls.findIndex((_, index) => isMoved(replies[index]))
    if (moved !== -1) await lookFor(client, calls[moved]!.keys[0]!)
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
    return connectionTo(client, node, key)
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
    if (this.#client === undefined) {
      this.#client = this.#link.duplicateForChannel()
      // What goes wrong shows in the calls.
      this.#client.on('error', () => undefined)
    }
    for (let waitedMs = 0; this.#client.status !== 'ready'; waitedMs += 10) {
      if (waitedMs >= CONNECT_PATIENCE_MS) throw new RedisUnavailableError('accept a write', AWAY)
      await sleep(10)
    }
    return this.#client
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
