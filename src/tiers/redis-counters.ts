import type { RedisLink } from '../redis/link.js'
import type { ScriptName } from '../redis/scripts.js'
import type { CounterGuard, Counters } from './counters.js'

type RunScript = (
  action: string,
  script: ScriptName,
  key: string,
  args: (string | number | Buffer)[]
) => Promise<unknown>

/** Counters in Redis: one string each, moved by scripts. */
export class RedisCounters implements Counters {
  readonly #link: RedisLink
  readonly #run: RunScript

  constructor(link: RedisLink, run: RunScript) {
    this.#link = link
    this.#run = run
  }

  async ask(keys: readonly string[]): Promise<readonly (string | null)[]> {
    const replies = await this.#link.call('read generations', (client) =>
      client.isCluster ? Promise.all(keys.map((key) => client.getBuffer(key))) : client.mgetBuffer(keys)
    )
    return replies.map((reply) => reply && reply.toString('latin1'))
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
