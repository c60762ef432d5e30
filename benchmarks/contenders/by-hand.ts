import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { createClient } from 'redis'
import type { Row } from '../support/rows.js'
import { connect } from './connect.js'
import { BASELINE, type Contender, type Definition, type Setting } from './contender.js'

export const BY_HAND: Definition = {
  name: BASELINE,
  packages: ['ioredis'],
  stampede: 'nothing',
  servesStale: false,
  open: (setting) => openByHand(setting, (text) => JSON.parse(text) as Row)
}

export const BY_HAND_NODE_REDIS: Definition = {
  name: 'node-redis and JSON.parse',
  packages: ['redis'],
  stampede: 'nothing',
  servesStale: false,
  async open({ url, namespace, ttlMs, load }) {
    const client = createClient({ url })
    await client.connect()
    const keyOf = (id: number): string => `${namespace}:${id}`
    return {
      async get(id) {
        const text = await client.get(keyOf(id))
        if (text !== null) return JSON.parse(text) as Row
        const row = await load(id)
        await client.set(keyOf(id), JSON.stringify(row), { expiration: { type: 'PX', value: ttlMs } })
        return row
      },
      async getMany(ids) {
        const texts = await client.mGet(ids.map(keyOf))
        return texts.map((text) => (text === null ? undefined : (JSON.parse(text) as Row)))
      },
      invalidate: (id) => client.del(keyOf(id)),
      set: (id, row) =>
        client.set(keyOf(id), JSON.stringify(row), { expiration: { type: 'PX', value: ttlMs } }),
      close: () => client.close()
    }
  }
}

/** The least that JSON needs to give dates back: somebody who knows in which columns they are. */
export const REVIVING: Definition = {
  name: 'ioredis and JSON.parse, reviving the dates',
  packages: ['ioredis'],
  stampede: 'nothing',
  servesStale: false,
  open: (setting) => openByHand(setting, reviveDates)
}

/** What most posts about stampedes show: a lock in Redis, and looking again every 50 ms. */
export const LOCK_AND_POLL: Definition = {
  name: 'SET NX lock, polled',
  packages: ['ioredis'],
  stampede: 'a lock in Redis',
  servesStale: false,
  async open({ url, namespace, ttlMs, load }) {
    const redis = await connect(url)
    return {
      async get(id) {
        const key = `${namespace}:${id}`
        for (;;) {
          const text = await redis.get(key)
          if (text !== null) return JSON.parse(text) as Row
          if ((await redis.set(`${key}:lock`, '1', 'PX', 2000, 'NX')) === 'OK') {
            const row = await load(id)
            await redis.set(key, JSON.stringify(row), 'PX', ttlMs)
            await redis.del(`${key}:lock`)
            return row
          }
          await sleep(50)
        }
      },
      invalidate: (id) => redis.del(`${namespace}:${id}`),
      set: (id, row) => redis.set(`${namespace}:${id}`, JSON.stringify(row), 'PX', ttlMs),
      close: () => redis.quit()
    }
  }
}

/** Four lines, as in many a post: what Redis does not give, or fails to give, comes from the source. */
export const FALLING_BACK: Definition = {
  name: 'by hand',
  packages: ['ioredis'],
  stampede: 'nothing',
  servesStale: false,
  async open({ url, namespace, ttlMs, load }) {
    const redis = new Redis(url)
    const nothing = (): undefined => undefined
    redis.on('error', nothing)
    const get = async (id: number): Promise<Row> => {
      const key = `${namespace}:${id}`
      const text = await redis.get(key).catch(nothing)
      if (typeof text === 'string') return JSON.parse(text) as Row
      const row = await load(id)
      void redis.set(key, JSON.stringify(row), 'PX', ttlMs).catch(nothing)
      return row
    }
    return {
      get,
      invalidate: (id) => redis.del(`${namespace}:${id}`),
      close: async () => redis.disconnect()
    }
  }
}

async function openByHand(
  { url, namespace, ttlMs, load }: Setting,
  parse: (text: string) => Row
): Promise<Contender> {
  const redis = await connect(url)
  const keyOf = (id: number): string => `${namespace}:${id}`
  return {
    async get(id) {
      const text = await redis.get(keyOf(id))
      if (text !== null) return parse(text)
      const row = await load(id)
      await redis.set(keyOf(id), JSON.stringify(row), 'PX', ttlMs)
      return row
    },
    async getMany(ids) {
      const texts = await redis.mget(ids.map(keyOf))
      return texts.map((text) => (text === null ? undefined : parse(text)))
    },
    invalidate: (id) => redis.del(keyOf(id)),
    set: (id, row) => redis.set(keyOf(id), JSON.stringify(row), 'PX', ttlMs),
    close: () => redis.quit()
  }
}

function reviveDates(text: string): Row {
  const page = JSON.parse(text) as { id: number; rows: Record<'createdAt' | 'updatedAt', unknown>[] }
  for (const row of page.rows) {
    row.createdAt = new Date(row.createdAt as string)
    row.updatedAt = new Date(row.updatedAt as string)
  }
  return page
}
