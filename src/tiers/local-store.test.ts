import { describe, expect, it } from 'vitest'
import { entryStoreContract } from '../../test/contracts/entry-store.js'
import { systemClock } from '../clock.js'
import { newToken, valueFrame } from '../codec/frame.js'
import { LocalStore } from './local-store.js'

entryStoreContract('LocalStore', async () => {
  const store = new LocalStore(1_000_000, systemClock)
  return {
    store,
    plant: async (key, bytes) => {
      await store.drop([key])
      const token = newToken()
      await store.takeLease({ key, token, leaseMs: 5_000, seen: undefined, force: false })
      await store.fill(key, token, bytes, 60_000)
    }
  }
})

describe('a local store', () => {
  it('stays within its bound, and an entry pushed out voids its lease', async () => {
    const store = new LocalStore(100_000, systemClock)
    const take = (key: string, token: Buffer): Promise<unknown> =>
      store.takeLease({ key, token, leaseMs: 5_000, seen: undefined, force: false })
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
        payload
      })
      expect(await store.fill(`key ${index}`, token, frame, 60_000)).toBe(true)
    }
    expect(store.bytes).toBeLessThanOrEqual(100_000)
    expect((await store.read('first')).entry.state).toBe('absent')
    expect(await store.fill('first', early, payload, 60_000)).toBe(false)
  })
})
