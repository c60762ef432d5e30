import { Redis } from 'ioredis'
import { expect, it } from 'vitest'
import { createCache, RedisUnavailableError, writeThrough, type RedisInput } from '../../src/index.js'
import { startProxy } from '../support/proxy.js'
import { startRedisServer } from '../support/redis-server.js'
import { until } from '../support/until.js'

interface Row {
  readonly version: number
}

it('a driver of the user’s that sends again what got no answer brings no old value back, however late it does (#35)', async () => {
  await using server = await startRedisServer()
  const proxy = await startProxy(server.port)
  const admin = new Redis(server.url)
  // As ioredis comes: what was not answered is sent again over the next connection.
  const driver = new Redis(`redis://127.0.0.1:${proxy.port}`, { maxRetriesPerRequest: null })
  driver.on('error', () => undefined)
  const late = createCache({
    redis: driver as unknown as RedisInput,
    namespace: 'shop',
    commandTimeout: 400,
    writeLease: '1s'
  })
  const well = createCache({ redis: server.url, namespace: 'shop', commandTimeout: '2s' })
  try {
    let row: Row = { version: 1 }
    let goOn = (): void => undefined
    const held = new Promise<void>((resolve) => (goOn = resolve))
    const options = (gate?: Promise<void>) => ({
      ttl: '1h' as const,
      earlyRefresh: 0,
      load: async () => {
        const read = row
        await gate
        return read
      },
      write: writeThrough(async (_id: number, changed: Row) => (row = changed))
    })
    const ofLate = late.collection('rows', options(held))
    const ofWell = well.collection('rows', options())
    await Promise.all([late.ready(), well.ready()])

    const early = ofLate.get(1)
    await until('it has the lease', async () => (await admin.exists('shop:rows:1')) === 1)
    proxy.swallow('to-server')
    goOn() // Its fill is on its way, and arrives nowhere.
    expect(await early).toEqual({ version: 1 })
    await expect(ofLate.put(1, { version: 9 })).rejects.toThrow(RedisUnavailableError)
    expect(row).toEqual({ version: 1 })

    await ofWell.put(1, { version: 2 })
    expect(await ofWell.lookup(1)).toMatchObject({ value: { version: 2 }, source: 'redis' })
    await admin.config('RESETSTAT')
    proxy.reset()
    await until('what was not answered has been sent again', async () =>
      /^cmdstat_evalsha:/m.test(await admin.info('commandstats'))
    )
    for (const rows of [ofLate, ofWell]) {
      expect(await rows.get(1)).toEqual({ version: 2 })
      await until('it is cached', async () => (await rows.lookup(1)).source === 'redis')
      expect(await rows.get(1)).toEqual({ version: 2 })
    }
  } finally {
    await Promise.all([late.close(), well.close()])
    driver.disconnect()
    admin.disconnect()
    await proxy.stop()
  }
})
