import { setTimeout as sleep } from 'node:timers/promises'
import { withDeadline } from '../policy/deadline.js'
import { RedisUnavailableError } from '../errors.js'
import type { RedisClient, RedisPipeline } from './client.js'
import type { RedisLink } from './link.js'
import type { ScriptCall } from './shard-stream.js'
import { isUnknownScript, shaOf, textOf, type ScriptName } from './scripts.js'

const CONNECT_PATIENCE_MS = 1_000

/**
 * Scripts whose effect must be on a replica, or on the master's disk, before they count as done. On a connection of its
 * own, because WAIT holds up whatever comes behind it on the same one.
 */
export class ConfirmedCalls {
  readonly #link: RedisLink
  #client: RedisClient | undefined

  constructor(link: RedisLink) {
    this.#link = link
  }

  /** `wait`: on one replica; `waitaof`: in the master's synced file. */
  by(confirmation: 'wait' | 'waitaof'): ScriptCall {
    return async (script, keys, args) => {
      const { timeoutMs } = this.#link
      const client = await this.#usable()
      const command = confirmation === 'wait' ? ['WAIT', 1, timeoutMs] : ['WAITAOF', 1, 0, timeoutMs]
      const [name, ...rest] = command as [string, ...number[]]
      const send = async (): Promise<unknown> => {
        let [reply, confirmed] = await this.#together(client, script, keys, args, name, rest, false)
        if (isUnknownScript(reply)) {
          ;[reply, confirmed] = await this.#together(client, script, keys, args, name, rest, true)
        }
        if (isMoved(reply)) await follow(client, keys[0]!)
        if (reply instanceof Error) throw reply
        // Not as it is: a refused WAIT says nothing about the script before it, which was carried out.
        if (confirmed instanceof Error) throw new Error(`${name} failed: ${confirmed.message}`)
        const count = Number(Array.isArray(confirmed) ? confirmed[0] : confirmed)
        if (count < 1) throw new Error(`${name} confirmed nothing within ${timeoutMs} ms`)
        return reply
      }
      try {
        const late = (): Error => new Error(`no answer within ${2 * timeoutMs} ms`)
        return await withDeadline(send(), 2 * timeoutMs, late)
      } catch (error) {
        throw new RedisUnavailableError('confirm a write', { cause: error })
      }
    }
  }

  close(): void {
    this.#client?.disconnect()
  }

  /** One pipeline: on a Cluster too both go to the same node. */
  async #together(
    client: RedisClient,
    script: ScriptName,
    keys: readonly string[],
    args: readonly (string | number | Buffer)[],
    command: string,
    rest: readonly number[],
    withText: boolean
  ): Promise<[reply: unknown, confirmed: unknown]> {
    const pipeline = client.pipeline() as ScriptPipeline
    if (withText) pipeline.evalBuffer(textOf(script), keys.length, ...keys, ...args)
    else pipeline.evalshaBuffer(shaOf(script), keys.length, ...keys, ...args)
    pipeline.call(command, ...rest)
    const replies = (await pipeline.exec()) ?? []
    const [first, second] = replies
    return [first?.[0] ?? first?.[1], second?.[0] ?? second?.[1]]
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

function isMoved(reply: unknown): boolean {
  return reply instanceof Error && /^(MOVED|ASK) /.test(reply.message)
}

/** The driver follows a slot to its new owner for a command, but not for a pipeline that writes; the next one goes there. */
async function follow(client: RedisClient, key: string): Promise<void> {
  await client.strlen(key).catch(forWrongType)
}

function forWrongType(error: unknown): number {
  if (error instanceof Error && error.message.startsWith('WRONGTYPE')) return 0
  throw error
}
