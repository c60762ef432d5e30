import { createHash } from 'node:crypto'
import { LUA } from './lua.generated.js'
import type { RedisClient } from './client.js'

export type ScriptName = keyof typeof LUA
type ScriptArgument = string | number | Buffer

const SHA = Object.fromEntries(
  Object.entries(LUA).map(([name, text]) => [name, createHash('sha1').update(text).digest('hex')])
) as Record<ScriptName, string>

interface Call {
  readonly script: ScriptName
  readonly keys: readonly string[]
  readonly args: readonly ScriptArgument[]
  readonly resolve: (reply: unknown) => void
  readonly reject: (error: unknown) => void
}

/**
 * Runs scripts on one connection: calls of the same turn of the event loop go out as one pipeline, by hash, and with
 * the text when the server does not know it (restart, failover, SCRIPT FLUSH). Every script may be sent again: a
 * second run finds the state that the first one left and changes nothing wrongly.
 */
export class ScriptRunner {
  readonly #client: RedisClient
  #queue: Call[] = []
  /** How often a call was sent again: what was sent behind it may have been carried out before it. */
  resent = 0

  constructor(client: RedisClient) {
    this.#client = client
  }

  run(script: ScriptName, key: string, args: readonly ScriptArgument[]): Promise<unknown> {
    return this.runOn(script, [key], args)
  }

  /** A script over several keys of one slot. */
  runOn(script: ScriptName, keys: readonly string[], args: readonly ScriptArgument[]): Promise<unknown> {
    return new Promise((resolve, reject) => {
      this.#queue.push({ script, keys, args, resolve, reject })
      if (this.#queue.length === 1) setImmediate(this.#flush)
    })
  }

  readonly #flush = (): void => {
    const calls = this.#queue
    this.#queue = []
    // A Cluster's pipeline takes the keys of one slot only; its commands go out one by one.
    if (calls.length === 1 || this.#client.isCluster) for (const call of calls) void this.#send(call)
    else void this.#sendTogether(calls)
  }

  async #send(call: Call): Promise<void> {
    try {
      const { script, keys, args } = call
      call.resolve(await this.#client.evalshaBuffer(SHA[script], keys.length, ...keys, ...args))
    } catch (error) {
      await this.#failed(call, error)
    }
  }

  async #sendTogether(calls: readonly Call[]): Promise<void> {
    try {
      const pipeline = this.#client.pipeline()
      for (const { script, keys, args } of calls)
        pipeline.evalshaBuffer(SHA[script], keys.length, ...keys, ...args)
      const replies = (await pipeline.exec()) ?? []
      await Promise.all(calls.map((call, index) => this.#settle(call, replies[index])))
    } catch (error) {
      for (const call of calls) call.reject(error)
    }
  }

  async #settle(call: Call, reply: [error: Error | null, result: unknown] | undefined): Promise<void> {
    if (reply === undefined) call.reject(new Error('the pipeline ended without a reply'))
    else if (reply[0] === null) call.resolve(reply[1])
    else await this.#failed(call, reply[0])
  }

  async #failed(call: Call, error: unknown): Promise<void> {
    if (!isUnknownScript(error)) return call.reject(error)
    this.resent++
    try {
      const { script, keys, args } = call
      call.resolve(await this.#client.evalBuffer(LUA[script], keys.length, ...keys, ...args))
    } catch (evalError) {
      call.reject(evalError)
    }
  }
}

/** Or one that may not be called by its hash: a user or a service without EVALSHA. */
export function isUnknownScript(error: unknown): boolean {
  return error instanceof Error && /^(NOSCRIPT|(NOPERM|ERR) .*\bevalsha\b)/i.test(error.message)
}

export function shaOf(script: ScriptName): string {
  return SHA[script]
}

export function textOf(script: ScriptName): string {
  return LUA[script]
}
