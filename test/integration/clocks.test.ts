import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { failedFrame } from '../../src/codec/failed-frame.js'
import { parseFrame } from '../../src/codec/frame.js'
import type { Cache, Collection } from '../../src/index.js'
import { usePrivateRedis } from '../support/private-redis.js'
import { until } from '../support/until.js'

const HOUR_MS = 3_600_000

const redis = usePrivateRedis()
afterEach(() => void vi.useRealTimers())

/** As Redis writes it in an entry. */
const inAnHour = (): Buffer => {
  const bytes = Buffer.alloc(6)
  bytes.writeUIntBE(Date.now() + HOUR_MS, 0, 6)
  return bytes
}

let version = 1
const open = (): { cache: Cache; rows: Collection<number, number, 'optional'> } => {
  const cache = redis.open({ redis: redis.server.url })
  const rows = cache.collection('rows', {
    ttl: '1h',
    stale: '1h',
    earlyRefresh: 0,
    tags: () => ['all'],
    load: async (_id: number) => version
  })
  return { cache, rows }
}

describe('a wrong clock', () => {
  it('of any process brings nothing back that was cleared or invalidated, whatever day it believes it to be (#37)', async () => {
    vi.useFakeTimers({ toFake: ['Date'] })
    const now = Date.now()
    const [early, late] = [open(), open()]
    const by = async <T>(one: typeof early, does: (one: typeof early) => Promise<T>): Promise<T> => {
      vi.setSystemTime(now + (one === early ? -HOUR_MS : HOUR_MS))
      return does(one)
    }
    const changes: ((one: typeof early) => Promise<unknown>)[] = [
      ({ cache }) => cache.invalidateTags(['all']),
      ({ rows }) => rows.clear({ clean: false }),
      ({ rows }) => rows.invalidate(1)
    ]
    for (const change of changes) {
      for (const [changing, reading] of [
        [early, late],
        [late, early]
      ] as const) {
        await by(reading, ({ rows }) => rows.get(1))
        version++
        await by(changing, change)
        expect(await by(reading, ({ rows }) => rows.get(1))).toBe(version)
        expect(await by(changing, ({ rows }) => rows.lookup(1))).toMatchObject({
          value: version,
          source: 'redis'
        })
      }
    }
  })

  it('of Redis, set back by an hour: what is from its future is loaded again, and a lease from there holds nobody up (#102)', async () => {
    const { rows } = open()
    await rows.get(1)
    version++
    // When it was stored, and a lease on it: as Redis itself wrote them before its clock was set back.
    await redis.admin.setrange('shop:rows:1', 12, inAnHour())
    expect(await rows.get(1)).toBe(version - 1)
    await until('it is loaded again', async () => (await rows.get(1)) === version)

    version++
    await redis.admin.setrange('shop:rows:1', 12, inAnHour())
    await redis.admin.setrange('shop:rows:1', 18, Buffer.concat([Buffer.alloc(8, 7), inAnHour()]))
    await until('the lease is nobody’s', async () => (await rows.get(1)) === version)
  })

  it('of Redis, set back by an hour: what is softly cleared is stale at once, though the counters are ahead', async () => {
    const { cache, rows } = open()
    const clears = [
      () => rows.clear({ soft: true }),
      () => cache.clear({ soft: true }),
      () => cache.invalidateTags(['all'], { soft: true })
    ]
    const inAnHourUs = (Date.now() + HOUR_MS) * 1_000
    await rows.get(1)
    for (const counter of ['gen', 'gen:rows', 'tag', 'tag:~:all'])
      await redis.admin.set(`shop:#${counter}`, `${inAnHourUs}:${inAnHourUs}`)
    for (const clear of clears) {
      await until('it is cached', async () => (await rows.lookup(1)).source === 'redis')
      version++
      await clear()
      await until('it is loaded again', async () => (await rows.get(1)) === version)
    }
  })

  it('of Redis, set back by an hour: what was loaded before its tag was invalidated is not stored under it', async () => {
    const cache = redis.open({ redis: redis.server.url })
    let goOn = (): void => undefined
    const gate = new Promise<void>((resolve) => (goOn = resolve))
    let loads = 0
    const rows = cache.collection('rows', {
      ttl: '1h',
      tags: () => ['all'],
      load: async (id: number) => {
        const found = version
        loads++
        if (id === 1) await gate
        return found
      }
    })
    await rows.get(2)
    const inAnHourUs = (Date.now() + HOUR_MS) * 1_000
    for (const counter of ['tag', 'tag:~:all'])
      await redis.admin.set(`shop:#${counter}`, `${inAnHourUs}:${inAnHourUs}`)
    // Longer than a copy from before is believed.
    await sleep(5)
    const loaded = rows.get(1)
    await until('it is being loaded', async () => loads === 2)
    version++
    await cache.invalidateTags(['all'])
    goOn()
    await loaded
    expect(await rows.get(1)).toBe(version)
    expect(loads).toBe(3)
  })

  it('of Redis, set back by an hour: a writer that died before holds up nothing that carries its tag', async () => {
    const { rows } = open()
    await rows.get(1)
    const [hard] = String(await redis.admin.get('shop:#tag:~:all')).split(':')
    await redis.admin.set('shop:#tag:~:all', `${hard}:${hard}:0123456789abcdef@${Date.now() + HOUR_MS}`)
    // Longer than a copy from before is believed.
    await sleep(5)
    await until('it is cached', async () => (await rows.lookup(1)).source === 'redis')
  })

  it('of Redis, set back by an hour: a load that failed before is tried again', async () => {
    const cache = redis.open({ redis: redis.server.url })
    let isDown = true
    const rows = cache.collection('rows', {
      ttl: '1h',
      failedTtl: '60s',
      load: async (id: number) => {
        if (isDown) throw new Error('the database is down')
        return id
      }
    })
    await expect(rows.get(1)).rejects.toThrow('down')
    isDown = false
    // As it is then: what it says of its end, and its life in Redis, are an hour longer.
    const failed = parseFrame('shop:rows:1', await redis.admin.getBuffer('shop:rows:1'))
    if (failed.state !== 'failed') throw new Error('It is not there any more.')
    const { token, kind, report, untilMs } = failed
    const frame = failedFrame('shop:rows:1', token, kind, report, untilMs! + HOUR_MS)
    await redis.admin.set('shop:rows:1', frame, 'PX', HOUR_MS)
    expect(await rows.get(1)).toBe(1)
  })

  it('of Redis, set back by an hour: a loader or a writer that died before holds up nobody', async () => {
    const { rows } = open()
    const ends = [
      // A lease.
      Buffer.concat([Buffer.from([192, 1, 1, 1]), Buffer.alloc(8, 7)]),
      // The guard of one writer.
      Buffer.concat([Buffer.from([192, 1, 1, 2]), Buffer.alloc(9), Buffer.alloc(8, 7), inAnHour()])
    ]
    for (const left of ends) {
      await redis.admin.set('shop:rows:1', left, 'PX', HOUR_MS)
      await until('it is cached', async () => (await rows.lookup(1)).source === 'redis')
      version++
    }
  })
})
