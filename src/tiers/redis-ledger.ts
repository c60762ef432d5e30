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
    const countedAt = await this.#link.callFor(this.#key, 'read what tenants take', (client) =>
      client.call('HGET', this.#key, COUNTED_AT)
    )
    return { bytes, countedAt: typeof countedAt === 'string' ? countedAt : '' }
  }

  async all(): Promise<ReadonlyMap<string, number>> {
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
    return bytes
  }

  async correct(corrections: ReadonlyMap<string, number>, countedAt: string): Promise<void> {
    const totals = await this.#add(corrections)
    const gone = [...totals].filter(([, bytes]) => bytes === 0).map(([tenant]) => tenant)
    await this.#link.callFor(this.#key, 'end a count of what tenants take', async (client) => {
      if (gone.length > 0) await client.call('HDEL', this.#key, ...gone)
      await client.call('HSET', this.#key, COUNTED_AT, countedAt)
      await client.call('EXPIRE', this.#key, KEPT_S)
    })
  }

  async isMyTurn(everyMs: number): Promise<boolean> {
    const key = `${this.#key}:turn`
    const take = (client: RedisClient): Promise<unknown> =>
      client.call('SET', key, '1', 'PX', Math.ceil(everyMs), 'NX')
    return (await this.#link.callFor(key, 'take a turn at counting', take)) !== null
  }

  async #add(changes: ReadonlyMap<string, number>): Promise<Map<string, number>> {
    const totals = new Map<string, number>()
    const all = [...changes]
    for (let at = 0; at < all.length; at += TENANTS_AT_ONCE) {
      await this.#link.callFor(this.#key, 'note what tenants take', (client) =>
        Promise.all(
          all.slice(at, at + TENANTS_AT_ONCE).map(async ([tenant, change]) => {
            totals.set(tenant, Number(await client.call('HINCRBY', this.#key, tenant, change)))
          })
        )
      )
    }
    return totals
  }
}
