import type { RedisLink } from '../redis/link.js'
import { RedisUnavailableError } from '../errors.js'
import { askByNode, type Call, type OrUnavailable } from '../redis/node-questions.js'
import type { CounterGuard, Counters } from './counters.js'
import type { RunScript } from './redis-changes.js'

/** Counters in Redis: one string each, moved by scripts. */
export class RedisCounters implements Counters {
  readonly #link: RedisLink
  readonly #run: RunScript

  constructor(link: RedisLink, run: RunScript) {
    this.#link = link
    this.#run = run
  }

  async ask(keys: readonly string[]): Promise<readonly OrUnavailable<string | null>[]> {
    const replies = await this.#ask(keys)
    return replies.map((reply) => (reply instanceof RedisUnavailableError ? reply : asText(reply)))
  }

  #ask(keys: readonly string[]): Promise<readonly OrUnavailable<Buffer | null>[]> {
    const { nodes } = this.#link
    const action = 'read generations'
    if (nodes === undefined) return this.#link.call(action, (client) => client.mgetBuffer(keys))
    const call: Call = (what, send, onNodeSilence) => this.#link.call(what, send, onNodeSilence)
    return askByNode(nodes, keys, { action, call, ask: (client, key) => client.getBuffer(key) })
  }

  async ensure(key: string, firstUs: number | undefined, lifeMs: number): Promise<string> {
    return String(await this.#run('read a generation', 'ensure-generation', key, [firstUs ?? '', lifeMs]))
  }

  async move(
    key: string,
    how: 'hard' | 'soft' | 'raise',
    leastUs: number | undefined,
    lifeMs: number
  ): Promise<string> {
    return String(await this.#run('move a generation', 'move-generation', key, [how, leastUs ?? '', lifeMs]))
  }

  async guard(
    key: string,
    { token, guardMs, renewal, leastUs, lifeMs }: CounterGuard
  ): Promise<string | undefined> {
    const args = [token, guardMs, renewal ? '1' : '', leastUs ?? '', lifeMs]
    const reply = await this.#run('guard a generation', 'guard-generation', key, args)
    return reply === 0 ? undefined : String(reply)
  }
}

function asText(reply: Buffer | null): string | null {
  return reply === null ? null : reply.toString('latin1')
}
