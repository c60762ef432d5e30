import type { RedisClient } from '../redis/client.js'
import type { RedisLink } from '../redis/link.js'
import type { LedgerState, UsageLedger } from './usage-ledger.js'

/** No tenant's part is empty. */
const COUNTED_AT = ''
const TENANTS_AT_ONCE = 500
/** A ledger that nobody counts any more goes. */
const KEPT_S = 24 * 3_600

/** A hash in Redis: bytes by tenant. */
export class RedisLedger implements UsageLedger {
  readonly #link: RedisLink
  readonly #key: string

  /** @param key of the hash; keys that begin with it are its own as well */
  constructor(link: RedisLink, key: string) {
    this.#link = link
    this.#key = key
  }

  async update(changes: ReadonlyMap<string, number>): Promise<LedgerState> {
    const bytes = await this.#add(changes)
    return { bytes, countedAt: await this.#countedAt() }
  }

  async all(): Promise<LedgerState> {
    // First: what another count corrects from here on is then known to be so.
    const countedAt = await this.#countedAt()
    const bytes = new Map<string, number>()
    let cursor = '0'
    do {
      const page = await this.#link.callFor(this.#key, 'read what tenants take', (client) =>
        client.call('HSCAN', this.#key, cursor, 'COUNT', TENANTS_AT_ONCE)
      )
      const [next, fields] = page as [string, string[]]
      for (let at = 0; at < fields.length; at += 2) {
        if (fields[at] !== COUNTED_AT) bytes.set(fields[at]!, Number(fields[at + 1]))
      }
      cursor = next
    } while (cursor !== '0')
    return { bytes, countedAt }
  }

  async correct(
    corrections: ReadonlyMap<string, number>,
    { since, countedAt }: { readonly since: string; readonly countedAt: string }
  ): Promise<void> {
    if ((await this.#countedAt()) !== since) return
    const totals = await this.#add(corrections)
    const gone = [...totals].filter(([, bytes]) => bytes === 0).map(([tenant]) => tenant)
    await this.#link.callFor(this.#key, 'end a count of what tenants take', async (client) => {
      if (gone.length > 0) await client.call('HDEL', this.#key, ...gone)
      await client.call('HSET', this.#key, COUNTED_AT, countedAt)
      await client.call('EXPIRE', this.#key, KEPT_S)
    })
  }

  async isMyTurn(everyMs: number): Promise<boolean> {
    const key = this.#turnKey
    const take = (client: RedisClient): Promise<unknown> =>
      client.call('SET', key, '1', 'PX', Math.ceil(everyMs), 'NX')
    const leftMs = (client: RedisClient): Promise<unknown> => client.call('PTTL', key)
    if ((await this.#link.callFor(key, 'take a turn at counting', take)) !== null) return true
    // Nobody takes one for so long: the clock of Redis was set back since, and nobody would count until then.
    const isLeftBehind =
      Number(await this.#link.callFor(key, 'take a turn at counting', leftMs)) > 2 * everyMs
    if (isLeftBehind) await this.keepTurn(everyMs)
    return isLeftBehind
  }

  async keepTurn(everyMs: number): Promise<void> {
    const key = this.#turnKey
    const keep = (client: RedisClient): Promise<unknown> =>
      client.call('SET', key, '1', 'PX', Math.ceil(everyMs))
    await this.#link.callFor(key, 'take a turn at counting', keep)
  }

  get #turnKey(): string {
    return `${this.#key}:turn`
  }

  /** Of the last count; empty before there was one, and when the ledger was lost. */
  async #countedAt(): Promise<string> {
    const text = await this.#link.callFor(this.#key, 'read what tenants take', (client) =>
      client.call('HGET', this.#key, COUNTED_AT)
    )
    return typeof text === 'string' ? text : ''
  }

  /** Answers the new totals. Most have not changed, of thousands of tenants and every second: those cost no command each. */
  async #add(changes: ReadonlyMap<string, number>): Promise<Map<string, number>> {
    const totals = new Map<string, number>()
    const all = [...changes]
    for (let at = 0; at < all.length; at += TENANTS_AT_ONCE) {
      const page = all.slice(at, at + TENANTS_AT_ONCE)
      const changed = page.filter(([, change]) => change !== 0)
      const others = page.filter(([, change]) => change === 0).map(([tenant]) => tenant)
      await this.#link.callFor(this.#key, 'note what tenants take', async (client) => {
        const reading = others.length === 0 ? [] : client.call('HMGET', this.#key, ...others)
        const adding = changed.map(([tenant, change]) => client.call('HINCRBY', this.#key, tenant, change))
        const [read, added] = await Promise.all([reading, Promise.all(adding)])
        for (const [index, total] of (read as (string | null)[]).entries())
          totals.set(others[index]!, Number(total))
        for (const [index, total] of added.entries()) totals.set(changed[index]![0], Number(total))
      })
    }
    return totals
  }
}
