import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { newToken } from '../../src/codec/frame-head.js'
import { valueFrame } from '../../src/codec/frame.js'
import type { Entry, Stamp } from '../../src/entry.js'
import { generationKey, tagKey } from '../../src/keys/key-schema.js'
import type { EntryStore } from '../../src/tiers/entry-store.js'
import type { Scope } from '../../src/tiers/generation.js'
import type { OpenedForTest } from './entry-store.js'

const KEY = 'shop:products:1'
const LIFE_MS = 60_000
const COLLECTION = generationKey({ namespace: 'shop', collection: 'products' })

/** What every store must do when many entries are declared wrong at once. */
export function generationsContract(name: string, open: () => Promise<OpenedForTest>): void {
  describe(`${name}, and what was cleared`, () => {
    let store: EntryStore
    let scope: Scope

    beforeEach(async () => {
      store = (await open()).store
      scope = store.generations.scope('shop', 'products', undefined, true)
    })
    afterEach(() => store.close())

    const stampOf = async (tags: readonly string[] = []): Promise<Stamp | undefined> => {
      const capture = await store.generations.capture(scope)
      return store.generations.stamp(capture!, scope, tags, LIFE_MS)
    }
    const fill = async (stamp: Stamp | undefined, key = KEY): Promise<void> => {
      const fields = { token: newToken(), freshMs: 30_000, loadMs: 1, flags: 0, notFound: false }
      const frame = valueFrame(key, { ...fields, stamp: stamp!, payload: Buffer.from('row') })
      expect(await store.set(key, frame, LIFE_MS)).toBe(true)
    }
    const read = async (key = KEY): Promise<Entry> => (await store.read({ key, scope })).entry
    const moveTags = (tags: readonly string[], how: 'hard' | 'soft' = 'hard'): Promise<void> =>
      store.generations.moveTags(scope.tagPrefix, tags, how)

    it('serves what stands under the generations of now', async () => {
      await fill(await stampOf())
      expect((await read()).state).toBe('value')
      await fill(await stampOf(['brand', 'genre']))
      expect(await read()).toMatchObject({ state: 'value', tags: [{ tag: 'brand' }, { tag: 'genre' }] })
    })

    it.each([
      ['the namespace', generationKey({ namespace: 'shop' })],
      ['the collection', COLLECTION]
    ])('calls outdated what was stored before %s was cleared, and what was loaded before', async (_, key) => {
      const before = await stampOf()
      await fill(before)
      await store.generations.move(key, 'hard')
      expect((await read()).state).toBe('outdated')
      await fill(before)
      expect((await read()).state).toBe('outdated')
      await fill(await stampOf())
      expect((await read()).state).toBe('value')
    })

    it('leaves other areas alone', async () => {
      await fill(await stampOf(['brand']))
      await store.generations.move(generationKey({ namespace: 'shop', tenant: 'acme' }), 'hard')
      await store.generations.move(generationKey({ namespace: 'shop', collection: 'orders' }), 'hard')
      await store.generations.move(generationKey({ namespace: 'shop2' }), 'hard')
      await moveTags(['other'])
      await store.generations.moveTags('shop:#tag:tenant:acme', ['brand'], 'hard')
      expect((await read()).state).toBe('value')
    })

    it('calls stale what was stored before a soft clear, from then on', async () => {
      await fill(await stampOf())
      const movedAtMs = await store.generations.move(COLLECTION, 'soft')
      const entry = await read()
      expect(entry.state).toBe('value')
      if (entry.state !== 'value') return
      expect(entry.storedAtMs + entry.freshMs).toBeLessThanOrEqual(movedAtMs + 1_000)
      await fill(await stampOf())
      expect(await read()).toMatchObject({ freshMs: 30_000 })
    })

    it('calls outdated whatever carries an invalidated tag, and stores nothing that was loaded before', async () => {
      const capture = await store.generations.capture(scope)
      await fill(await stampOf(['brand', 'genre']))
      await moveTags(['genre'])
      expect((await read()).state).toBe('outdated')
      expect(await store.generations.stamp(capture!, scope, ['genre'], LIFE_MS)).toBeUndefined()
      expect(await store.generations.stamp(capture!, scope, ['brand'], LIFE_MS)).toBeDefined()
      await fill(await stampOf(['brand', 'genre']))
      expect((await read()).state).toBe('value')
    })

    it('does not give an unknown tag to a load that began before another tag was invalidated', async () => {
      const capture = await store.generations.capture(scope)
      await moveTags(['other'])
      await store.generations.counters.ask([scope.tagPrefix])
      expect(await store.generations.stamp(capture!, scope, ['new'], LIFE_MS)).toBeUndefined()
      expect(await stampOf(['new'])).toBeDefined()
    })

    it('makes a softly invalidated tag stale', async () => {
      await fill(await stampOf(['brand']))
      await moveTags(['brand'], 'soft')
      const entry = await read()
      expect(entry.state).toBe('value')
      if (entry.state === 'value') expect(entry.freshMs).toBeLessThan(30_000)
    })

    it('stores and serves nothing under a tag while a writer guards it, nor what was loaded meanwhile', async () => {
      const key = tagKey(scope.tagPrefix, 'brand')
      await fill(await stampOf(['brand']))
      const token = newToken().toString('hex')
      const epoch = await store.generations.moveEpoch(scope.tagPrefix)
      await store.generations.guardTag(key, epoch, token, 5_000)
      expect((await read()).state).toBe('outdated')
      expect(await stampOf(['brand'])).toBeUndefined()
      const during = await store.generations.capture(scope)
      expect(await store.generations.guardTag(key, undefined, token, 5_000)).toBe(true)
      await store.generations.guardTag(key, await store.generations.moveEpoch(scope.tagPrefix), token, 0)
      expect(await store.generations.stamp(during!, scope, ['brand'], LIFE_MS)).toBeUndefined()
      await fill(await stampOf(['brand']))
      expect((await read()).state).toBe('value')
    })

    it('takes the guard of a dead writer away, with what was loaded under it', async () => {
      const key = tagKey(scope.tagPrefix, 'brand')
      const token = newToken().toString('hex')
      const epoch = await store.generations.moveEpoch(scope.tagPrefix)
      await store.generations.guardTag(key, epoch, token, 1_000)
      expect(await stampOf(['brand'])).toBeUndefined()
      await new Promise((resolve) => setTimeout(resolve, 1_050))
      const stamps: (Stamp | undefined)[] = []
      for (let tries = 0; tries < 3; tries++) stamps.push(await stampOf(['brand']))
      expect(stamps.at(-1)).toBeDefined()
      expect(await store.generations.guardTag(key, undefined, token, 30)).toBe(false)
    })

    it('softens an entry: stale from now on, every older load void', async () => {
      await fill(await stampOf())
      const seen = await read()
      if (seen.state !== 'value') throw new Error('not stored')
      const loader = newToken()
      await store.takeLease({ key: KEY, scope, token: loader, leaseMs: 5_000, seen: seen.token, force: true })
      expect(await store.soften([KEY, 'shop:products:absent'])).toBe(1)
      const entry = await read()
      expect(entry).toMatchObject({ state: 'value', leaseUntilMs: 0 })
      if (entry.state === 'value') {
        expect(entry.storedAtMs + entry.freshMs).toBeLessThanOrEqual(store.nowMs() + 1_000)
      }
      expect(await store.fill(KEY, loader, Buffer.from('x'), LIFE_MS)).toBe(false)
    })

    it('softens nothing that is not there to serve: a lease is void, a guard stands', async () => {
      const token = newToken()
      await store.takeLease({ key: KEY, scope, token, leaseMs: 5_000, seen: undefined, force: false })
      await store.soften([KEY])
      expect((await read()).state).toBe('absent')
      await store.guard(KEY, token, 5_000, false)
      expect(await store.soften([KEY])).toBe(0)
      expect((await read()).state).toBe('hold')
    })

    it('finds keys by pattern, and removes what is older than a time, but no lease and no guard', async () => {
      const keys = Array.from({ length: 30 }, (_, index) => `shop:products:${index}`)
      const stamp = await stampOf()
      for (const key of keys) await fill(stamp, key)
      await fill(stamp, 'shop:orders:1')
      const found = new Set<string>()
      for await (const page of store.scan(['shop:products:*'], 7)) for (const key of page) found.add(key)
      expect([...found].sort()).toEqual([...keys].sort())
      expect(await store.dropOlder(keys, store.nowMs() - 10_000)).toBe(0)
      const token = newToken()
      await store.guard('shop:products:held', token, 5_000, false)
      await store.takeLease({
        key: 'shop:products:new',
        scope,
        token,
        leaseMs: 5_000,
        seen: undefined,
        force: false
      })
      const all = [...keys, 'shop:products:held', 'shop:products:new', 'shop:products:absent']
      expect(await store.dropOlder(all, store.nowMs() + 10_000)).toBe(30)
      expect(await store.sizes(['shop:orders:1', 'shop:products:1'])).toEqual([expect.any(Number), 0])
    })
  })
}
