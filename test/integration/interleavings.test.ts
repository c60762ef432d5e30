import { setImmediate as turn, setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { describe, expect, it } from 'vitest'
import { systemClock } from '../../src/clock.js'
import { createCache } from '../../src/index.js'
import { LocalStore } from '../../src/tiers/local-store.js'
import { CountingLoader } from '../doubles/loaders.js'
import { hooked, TestProcess } from '../doubles/engine.js'
import { startRedisServer } from '../support/redis-server.js'
import { until } from '../support/until.js'

/** Orders of events that a busy system produces once in a million reads, made to happen. */

const KEY = 'shop:products:1'
const newStore = (): LocalStore => new LocalStore(1_000_000, systemClock)

describe('an invalidation between the look and the lease', () => {
  it('takes away the old value as something to fall back on when the load fails', async () => {
    const store = newStore()
    const options = { ttl: 20, staleIfError: '10s', failedTtl: 0, jitter: 0, earlyRefresh: 0 } as const
    await new TestProcess(store, options).read(KEY, async () => 'old')
    await sleep(40)
    const reader = new TestProcess(hooked(store, { before: { takeLease: () => store.drop([KEY]) } }), options)
    const boom = new Error('the database is down')
    await expect(reader.read(KEY, () => Promise.reject(boom))).rejects.toBe(boom)
  })

  it('but without one the old value is served', async () => {
    const store = newStore()
    const options = { ttl: 20, staleIfError: '10s', failedTtl: 0, jitter: 0, earlyRefresh: 0 } as const
    await new TestProcess(store, options).read(KEY, async () => 'old')
    await sleep(40)
    const lookup = await new TestProcess(store, options).read(KEY, () => Promise.reject(new Error('down')))
    expect(lookup).toMatchObject({ value: 'old', source: 'stale' })
  })

  it('takes it away for those who wait for another process, too', async () => {
    const store = newStore()
    const options = { ttl: 20, staleIfError: '10s', waitTimeout: 100, jitter: 0, earlyRefresh: 0 } as const
    await new TestProcess(store, options).read(KEY, async () => 'old')
    await sleep(40)
    const other = new CountingLoader(() => 'of the other process')
    let entered = false
    const reader = new TestProcess(
      hooked(store, {
        before: {
          takeLease: async () => {
            if (entered) return
            entered = true
            await store.drop([KEY])
            other.hold()
            void new TestProcess(store, options).read(KEY, () => other.load(1))
            await until('the other process loads', () => other.running === 1)
          }
        }
      }),
      options
    )
    expect(await reader.read(KEY, async () => 'new')).toMatchObject({ value: 'new', source: 'loader' })
    other.letGo()
  })
})

describe('an invalidation while a load runs that is about to fail', () => {
  it('takes away the old value as something to fall back on, too', async () => {
    const store = newStore()
    const options = { ttl: 20, staleIfError: '10s', failedTtl: '1s', jitter: 0, earlyRefresh: 0 } as const
    await new TestProcess(store, options).read(KEY, async () => 'old')
    await sleep(40)
    const boom = new Error('the database is down')
    const failing = async (): Promise<never> => {
      await store.drop([KEY])
      throw boom
    }
    await expect(new TestProcess(store, options).read(KEY, failing)).rejects.toBe(boom)
  })
})

describe('an invalidation after the load began, in a process that has not heard of it', () => {
  it('leaves the loaded value to those who came before it; who came later reads again (#3)', async () => {
    const store = newStore()
    const process = new TestProcess(store, { ttl: '1h', jitter: 0 })
    const loader = new CountingLoader((run) => `v${run}`)
    loader.hold()
    const early = process.read(KEY, () => loader.load(1))
    await until('the load runs', () => loader.running === 1)
    await store.drop([KEY]) // by another process: nothing here is detached
    const late = process.read(KEY, () => loader.load(1))
    await turn()
    loader.letGo()
    expect((await early).value).toBe('v1')
    expect((await late).value).toBe('v2')
  })

  it('while the fill is on its way: as if it had come before', async () => {
    const store = newStore()
    let crossed = false
    const dropOnce = async (): Promise<void> => {
      if (!crossed) await store.drop([KEY])
      crossed = true
    }
    const crossing = hooked(store, { before: { fill: dropOnce } })
    const process = new TestProcess(crossing, { ttl: '1h', jitter: 0 })
    const loader = new CountingLoader((run) => `v${run}`)
    loader.hold()
    const early = process.read(KEY, () => loader.load(1))
    await until('the load runs', () => loader.running === 1)
    const late = process.read(KEY, () => loader.load(1))
    await turn()
    loader.letGo()
    expect((await early).value).toBe('v1')
    expect((await late).value).toBe('v2')
    expect(process.stats.rejectedFills).toBe(1)
  })

  it('after the fill is stored, and before this process has heard so: who comes later reads again', async () => {
    const store = newStore()
    const loader = new CountingLoader((run) => `v${run}`)
    let late: Promise<{ value: unknown }> | undefined
    const crossing = hooked(store, {
      after: {
        fill: async () => {
          if (late !== undefined) return
          await store.drop([KEY])
          late = process.read(KEY, () => loader.load(1))
        }
      }
    })
    const process: TestProcess = new TestProcess(crossing, { ttl: '1h', jitter: 0 })
    expect((await process.read(KEY, () => loader.load(1))).value).toBe('v1')
    expect((await late!).value).toBe('v2')
  })

  it('again and again: every caller still gets an answer, with one load at a time (#13)', async () => {
    const store = newStore()
    const process = new TestProcess(hooked(store, { before: { fill: () => store.drop([KEY]) } }), {
      ttl: '1h'
    })
    const loader = new CountingLoader(async (run) => (await sleep(2), `v${run}`))
    const answers: unknown[] = []
    for (let caller = 0; caller < 200; caller++) {
      void process.read(KEY, () => loader.load(1)).then(({ value }) => answers.push(value))
      if (caller % 10 === 0) await sleep(1)
    }
    await until('all have answers', () => answers.length === 200)
    expect(loader.mostAtOnce).toBe(1)
    expect(loader.runs).toBeLessThan(60)
  })
})

describe('reads of one key at the same moment', () => {
  it('share one command; a read that is under way is shared by nobody who comes later', async () => {
    const server = await startRedisServer()
    const admin = new Redis(server.url)
    const cache = createCache({ redis: server.url, namespace: 'shop', commandTimeout: '2s' })
    const products = cache.collection('products', { ttl: '1h', load: (id: number) => ({ id }) })
    const mgets = async (): Promise<number> =>
      Number(/cmdstat_mget:calls=(\d+)/.exec(await admin.info('commandstats'))?.[1] ?? 0)
    try {
      await products.get(1)
      await admin.config('RESETSTAT')
      await Promise.all(Array.from({ length: 1_000 }, () => products.get(1)))
      expect(await mgets()).toBe(1)
      expect(await admin.info('commandstats')).not.toContain('evalsha')
      const sent = products.get(1)
      await turn()
      await Promise.all([sent, products.get(1), products.get(1)])
      expect(await mgets()).toBe(3)
    } finally {
      await cache.close()
      admin.disconnect()
      await server.stop()
    }
  })
})
