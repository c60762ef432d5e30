import { describe, expect, it } from 'vitest'
import { entryStoreContract, type OpenedForTest } from '../../test/contracts/entry-store.js'
import { generationsContract } from '../../test/contracts/generations.js'
import { systemClock } from '../clock.js'
import { newToken } from '../codec/frame-head.js'
import { valueFrame } from '../codec/frame.js'
import { LocalStore } from './local-store.js'

const open = async (): Promise<OpenedForTest> => {
  const store = new LocalStore(1_000_000, systemClock)
  return {
    store,
    plant: async (key, bytes) => {
      await store.drop([key])
      const token = newToken()
      const scope = store.generations.scope('shop', 'products', undefined, false)
      await store.takeLease({ key, scope, token, leaseMs: 5_000, seen: undefined, force: false })
      await store.fill(key, token, bytes, 60_000)
    }
  }
}

entryStoreContract('LocalStore', open)
generationsContract('LocalStore', open)

describe('a local store', () => {
  it('stays within its bound, and an entry pushed out voids its lease', async () => {
    const store = new LocalStore(100_000, systemClock)
    const scope = store.generations.scope('shop', 'products', undefined, false)
    const take = (key: string, token: Buffer): Promise<unknown> =>
      store.takeLease({ key, scope, token, leaseMs: 5_000, seen: undefined, force: false })
    const [early, payload] = [newToken(), Buffer.alloc(10_000)]
    await take('first', early)
    for (let index = 0; index < 50; index++) {
      const token = newToken()
      await take(`key ${index}`, token)
      const frame = valueFrame(`key ${index}`, {
        token,
        freshMs: 1_000,
        loadMs: 1,
        flags: 0,
        notFound: false,
        stamp: { hardHigh: 1, hardLow: 2, soft: 3, tags: [] },
        payload
      })
      expect(await store.fill(`key ${index}`, token, frame, 60_000)).toBe(true)
    }
    expect(store.bytes).toBeLessThanOrEqual(100_000)
    expect((await store.read({ key: 'first', scope })).entry.state).toBe('absent')
    expect(await store.fill('first', early, payload, 60_000)).toBe(false)
  })
})
