import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { failedFrame } from '../../src/codec/failed-frame.js'
import { newToken } from '../../src/codec/frame-head.js'
import { valueFrame } from '../../src/codec/frame.js'
import type { Stamp, Token, ValueEntry } from '../../src/entry.js'
import type { EntryStore, LeaseAnswer, LeaseRequest, Publication } from '../../src/tiers/entry-store.js'
import type { Scope } from '../../src/tiers/generation.js'

export interface OpenedForTest {
  readonly store: EntryStore
  /** Puts bytes under a key past the store, as another program, an accident or an attacker would. */
  plant(key: string, bytes: Buffer): Promise<void>
}

const LEASE_MS = 5_000
const LIFE_MS = 60_000
const KEY = 'shop:products:1'

/** The generations of now, in the store under test. */
let stamp: Stamp

const frame = (text: string, key = KEY): Buffer =>
  valueFrame(key, {
    stamp,
    token: newToken(),
    freshMs: 1_000,
    loadMs: 5,
    flags: 0,
    notFound: false,
    payload: Buffer.from(text)
  })
const failed = (token: Token): Buffer =>
  failedFrame(KEY, token, 'load-failed', { name: 'Error', message: 'boom' })
const uncacheable = (token: Token): Buffer =>
  failedFrame(KEY, token, 'uncacheable', { name: 'Error', message: 'too large' })

/** What every store must do, step by step: the guarantees that the engine builds on. */
export function entryStoreContract(name: string, open: () => Promise<OpenedForTest>): void {
  describe(`${name}, as a store of entries`, () => {
    let opened: OpenedForTest
    let store: EntryStore
    let scope: Scope

    beforeEach(async () => {
      opened = await open()
      store = opened.store
      scope = store.generations.scope('shop', 'products', undefined, true)
      stamp = (await store.generations.capture(scope))!.print
    })
    afterEach(() => store.close())

    const take = (token: Token, more: Partial<LeaseRequest> = {}): Promise<LeaseAnswer> =>
      store.takeLease({ key: KEY, scope, token, leaseMs: LEASE_MS, seen: undefined, force: false, ...more })
    const read = async (): Promise<unknown> => (await store.read({ key: KEY, scope })).entry
    const payload = async (): Promise<string | undefined> => {
      const { entry } = await store.read({ key: KEY, scope })
      return entry.state === 'value' ? entry.payload.toString() : undefined
    }
    const stored = async (text = 'old'): Promise<ValueEntry> => {
      const token = newToken()
      await take(token, { force: true })
      expect(await store.fill(KEY, token, frame(text), LIFE_MS)).toBe(true)
      return (await store.read({ key: KEY, scope })).entry as ValueEntry
    }

    it('grants a lease on an absent entry to one, and tells the others that it is held', async () => {
      const tokens = Array.from({ length: 20 }, newToken)
      const answers = await Promise.all(tokens.map((token) => take(token)))
      expect(answers.filter(({ kind }) => kind === 'granted')).toHaveLength(1)
      for (const answer of answers) {
        if (answer.kind === 'granted') continue
        expect(answer.kind).toBe('held')
        expect((answer as { leftMs: number }).leftMs).toBeGreaterThan(LEASE_MS - 1_000)
      }
      expect(await read()).toEqual({ state: 'hold' })
    })

    it('grants again to the holder who asks again, because the first answer may be lost (#34)', async () => {
      const token = newToken()
      expect(await take(token)).toMatchObject({ kind: 'granted' })
      expect(await take(token)).toMatchObject({ kind: 'granted' })

      await store.drop([KEY])
      const { token: seen } = await stored()
      expect(await take(token, { seen })).toMatchObject({ kind: 'granted' })
      expect(await take(token, { seen })).toEqual({ kind: 'granted', seenStands: true })
    })

    it('stores a fill under its lease, with the time of storing on its own clock', async () => {
      const before = store.nowMs()
      const entry = await stored('value')
      expect(entry).toMatchObject({ state: 'value', leaseUntilMs: 0, freshMs: 1_000, loadMs: 5 })
      expect(entry.storedAtMs).toBeGreaterThan(before - 50)
      expect(entry.storedAtMs).toBeLessThan(store.nowMs() + 50)
      expect(await payload()).toBe('value')
    })

    it('refuses a fill without a lease: absence is never permission (#4, #33)', async () => {
      expect(await store.fill(KEY, newToken(), frame('phantom'), LIFE_MS)).toBe(false)
      expect(await read()).toEqual({ state: 'absent' })
    })

    it('refuses a fill whose lease was dropped, whatever came after (#4)', async () => {
      const [first, second] = [newToken(), newToken()]
      await take(first)
      expect(await store.drop([KEY])).toBe(1)
      expect(await store.fill(KEY, first, frame('stale'), LIFE_MS)).toBe(false)
      await take(second)
      expect(await store.fill(KEY, first, frame('stale'), LIFE_MS)).toBe(false)
      expect(await store.fill(KEY, second, frame('new'), LIFE_MS)).toBe(true)
      expect(await store.fill(KEY, first, frame('stale'), LIFE_MS)).toBe(false)
      expect(await payload()).toBe('new')
    })

    it('lets a lease end, and then refuses its fill once another has it (#5)', async () => {
      const [slow, quick] = [newToken(), newToken()]
      await take(slow, { leaseMs: 60 })
      await sleep(120)
      expect(await take(quick)).toMatchObject({ kind: 'granted' })
      expect(await store.fill(KEY, slow, frame('late'), LIFE_MS)).toBe(false)
      expect(await store.renewLease(KEY, slow, LEASE_MS)).toBe(false)
    })

    it('keeps a lease that is renewed', async () => {
      const token = newToken()
      await take(token, { leaseMs: 2_000 })
      expect(await store.renewLease(KEY, token, LIFE_MS)).toBe(true)
      await sleep(2_100)
      expect(await store.renewLease(KEY, token, LIFE_MS)).toBe(true)
      expect(await take(newToken())).toMatchObject({ kind: 'held' })
    })

    it('answers with the entry when there is something that the asker has not seen', async () => {
      const entry = await stored()
      const answer = await take(newToken())
      expect(answer.kind).toBe('entry')
      if (answer.kind === 'entry')
        expect(answer.fetched.entry).toMatchObject({ state: 'value', token: entry.token })
    })

    it('leases a value that cannot be used to one; it stays readable; the fill replaces it', async () => {
      const { token: seen } = await stored()
      const refresher = newToken()
      expect(await take(refresher, { seen })).toMatchObject({ kind: 'granted' })
      expect(await take(newToken(), { seen })).toMatchObject({ kind: 'held' })
      expect(await payload()).toBe('old')
      expect(await read()).toMatchObject({ backingOff: false })
      expect(((await read()) as ValueEntry).leaseUntilMs).toBeGreaterThan(store.nowMs() + LEASE_MS - 1_000)
      expect(await store.renewLease(KEY, refresher, LEASE_MS)).toBe(true)
      expect(await store.fill(KEY, refresher, frame('new'), LIFE_MS)).toBe(true)
      expect(await payload()).toBe('new')
      expect(await read()).toMatchObject({ leaseUntilMs: 0 })
    })

    it('refuses the fill of a refresh whose value was dropped', async () => {
      const { token: seen } = await stored()
      const refresher = newToken()
      await take(refresher, { seen })
      await store.drop([KEY])
      expect(await store.fill(KEY, refresher, frame('stale'), LIFE_MS)).toBe(false)
      expect(await read()).toEqual({ state: 'absent' })
    })

    it('keeps an entry at least as long as the lease on it', async () => {
      const token = newToken()
      await take(token)
      await store.fill(KEY, token, frame('short-lived'), 1_500)
      const seen = ((await read()) as ValueEntry).token
      const refresher = newToken()
      await take(refresher, { seen, leaseMs: LIFE_MS })
      await sleep(1_600)
      expect(await store.fill(KEY, refresher, frame('refreshed'), LIFE_MS)).toBe(true)
    })

    it('lets an entry go at the end of its life', async () => {
      const token = newToken()
      await take(token)
      await store.fill(KEY, token, frame('short-lived'), 60)
      await sleep(120)
      expect(await read()).toEqual({ state: 'absent' })
    })

    it('marks a failed load for all, for a while (#9)', async () => {
      const token = newToken()
      await take(token)
      expect(await store.fail(KEY, token, failed(token), LIFE_MS)).toBe(true)
      expect(await read()).toMatchObject({ state: 'failed', token, report: { message: 'boom' } })
      const answer = await take(newToken())
      expect(answer.kind === 'entry' && answer.fetched.entry.state).toBe('failed')
      const again = newToken()
      await take(again, { force: true })
      expect(await store.fail(KEY, again, failed(again), 80)).toBe(true)
      await sleep(160)
      expect(await take(newToken())).toMatchObject({ kind: 'granted' })
    })

    it('lets a value stay when its refresh fails, and lets nobody try for a while (#15)', async () => {
      const { token: seen } = await stored()
      const [refresher, again] = [newToken(), newToken()]
      await take(refresher, { seen })
      expect(await store.fail(KEY, refresher, failed(refresher), LIFE_MS)).toBe(true)
      expect(await read()).toMatchObject({ state: 'value', token: seen, backingOff: true })
      const answer = await take(newToken(), { seen })
      expect(answer.kind === 'entry' && answer.fetched.entry).toMatchObject({ backingOff: true })
      await take(again, { seen, force: true })
      expect(await store.fail(KEY, again, failed(again), 150)).toBe(true)
      await sleep(200)
      expect(await take(newToken(), { seen })).toMatchObject({ kind: 'granted' })
    })

    it('lets a value go when its refresh brought what does not fit the cache, and only for its holder (#24)', async () => {
      const { token: seen } = await stored()
      const refresher = newToken()
      await take(refresher, { seen })
      const other = newToken()
      expect(await store.fail(KEY, other, uncacheable(other), 60_000)).toBe(false)
      expect(await store.fail(KEY, refresher, uncacheable(refresher), 60_000)).toBe(true)
      expect(await read()).toMatchObject({ state: 'failed', kind: 'uncacheable' })
    })

    it('gives back a lease, and only to its holder (#6)', async () => {
      const token = newToken()
      await take(token)
      expect(await store.release(KEY, newToken())).toBe(false)
      expect(await store.fail(KEY, newToken(), failed(token), 1_000)).toBe(false)
      expect(await read()).toEqual({ state: 'hold' })
      expect(await store.release(KEY, token)).toBe(true)
      expect(await read()).toEqual({ state: 'absent' })

      const { token: seen } = await stored()
      const refresher = newToken()
      await take(refresher, { seen })
      expect(await store.release(KEY, refresher)).toBe(true)
      expect(await take(newToken(), { seen })).toMatchObject({ kind: 'granted' })
    })

    it('lets a forced load take the lease from whoever has it, and refuses their fill', async () => {
      const [first, forced] = [newToken(), newToken()]
      await take(first)
      expect(await take(forced, { force: true })).toMatchObject({ kind: 'granted' })
      expect(await store.fill(KEY, first, frame('older'), LIFE_MS)).toBe(false)
      expect(await store.fill(KEY, forced, frame('newer'), LIFE_MS)).toBe(true)

      const [refresher, again] = [newToken(), newToken()]
      await take(refresher, { seen: ((await read()) as ValueEntry).token })
      expect(await take(again, { force: true })).toMatchObject({ kind: 'granted' })
      expect(await store.fill(KEY, refresher, frame('older'), LIFE_MS)).toBe(false)
      expect(await payload()).toBe('newer')
    })

    it('forces its way past a failed load', async () => {
      const token = newToken()
      await take(token)
      await store.fail(KEY, token, failed(token), 10_000)
      expect(await take(newToken(), { force: true })).toMatchObject({ kind: 'granted' })
    })

    it('replaces garbage, and exactly the damage that was seen (#23)', async () => {
      await opened.plant(KEY, Buffer.from('"a value of some other program"'))
      expect(await take(newToken())).toMatchObject({ kind: 'granted' })

      await store.drop([KEY])
      const entry = await stored()
      const damaged = frame('damaged')
      damaged[damaged.length - 1]! ^= 1
      await opened.plant(KEY, damaged)
      expect(await read()).toMatchObject({ state: 'unreadable', foreign: false })
      expect((await take(newToken(), { seen: entry.token })).kind).toBe('entry')
      const { token } = (await read()) as { token: Token }
      const mender = newToken()
      expect(await take(mender, { seen: token })).toMatchObject({ kind: 'granted' })
      expect(await store.fill(KEY, mender, frame('mended'), LIFE_MS)).toBe(true)
      expect(await payload()).toBe('mended')
    })

    it('leaves an entry of a later version alone (#22)', async () => {
      const later = frame('from the future')
      later[1] = 9
      await opened.plant(KEY, later)
      expect(await take(newToken())).toEqual({ kind: 'foreign' })
      expect(await take(newToken(), { force: true })).toEqual({ kind: 'foreign' })
      expect(await store.fill(KEY, newToken(), frame('x'), LIFE_MS)).toBe(false)
      expect(await store.drop([KEY])).toBe(1)
    })

    it('says whether the value that was seen still stands, under a lease and beside one', async () => {
      const { token: seen } = await stored()
      expect(await take(newToken(), { seen })).toEqual({ kind: 'granted', seenStands: true })
      expect(await take(newToken(), { seen })).toMatchObject({ kind: 'held', by: 'loader', seenStands: true })
      await store.drop([KEY])
      expect(await take(newToken(), { seen })).toEqual({ kind: 'granted', seenStands: false })
      expect(await take(newToken(), { seen })).toMatchObject({
        kind: 'held',
        by: 'loader',
        seenStands: false
      })
    })

    it('stores what it is given, and voids every lease', async () => {
      const loader = newToken()
      await take(loader)
      expect(await store.set(KEY, frame('given'), LIFE_MS)).toBe(true)
      expect(await payload()).toBe('given')
      expect(await store.fill(KEY, loader, frame('older'), LIFE_MS)).toBe(false)
      const writer = newToken()
      await store.guard(KEY, writer, LEASE_MS, false)
      expect(await store.set(KEY, frame('given'), LIFE_MS)).toBe(false)
      expect(await read()).toEqual({ state: 'hold' })
    })

    describe('for writers', () => {
      const publication = (text: string | undefined, more: Partial<Publication> = {}): Publication => ({
        frame: text === undefined ? undefined : frame(text),
        lifeMs: LIFE_MS,
        version: undefined,
        unknown: false,
        ...more
      })
      const guard = (token: Token, lifeMs = LEASE_MS): Promise<boolean> =>
        store.guard(KEY, token, lifeMs, false)

      it('guards an entry in any state: what was there is gone, and every lease on it is void', async () => {
        const prepare: Record<string, (token: Token) => Promise<unknown>> = {
          absent: async () => undefined,
          hold: (token) => take(token),
          value: () => stored(),
          'value under refresh': async (token) => take(token, { seen: (await stored()).token }),
          failed: async (token) => (await take(token), store.fail(KEY, token, failed(token), 5_000)),
          garbage: () => opened.plant(KEY, Buffer.from('"a value of some other program"'))
        }
        for (const [what, before] of Object.entries(prepare)) {
          await store.drop([KEY])
          const [loader, writer] = [newToken(), newToken()]
          await before(loader)
          expect(await guard(writer), what).toBe(true)
          expect(await read(), what).toEqual({ state: 'hold' })
          expect(await store.fill(KEY, loader, frame('older'), LIFE_MS), what).toBe(false)
          expect(await store.fail(KEY, loader, failed(loader), 1_000), what).toBe(false)
          expect(await store.renewLease(KEY, loader, LEASE_MS), what).toBe(false)
          expect(await take(newToken()), what).toMatchObject({
            kind: 'held',
            by: 'writer',
            seenStands: false
          })
          expect(await take(newToken(), { force: true }), what).toMatchObject({ kind: 'held', by: 'writer' })
          expect(await store.publish(KEY, writer, publication('new')), what).toBe(true)
          expect(await payload(), what).toBe('new')
        }
      })

      it('stores the row of a writer that was alone', async () => {
        const writer = newToken()
        await guard(writer)
        expect(await guard(writer)).toBe(true) // asked again, because the answer was lost
        expect(await store.publish(KEY, writer, publication('row'))).toBe(true)
        expect((await read()) as ValueEntry).toMatchObject({ state: 'value', leaseUntilMs: 0 })
        expect(((await read()) as ValueEntry).storedAtMs).toBeGreaterThan(store.nowMs() - 1_000)
      })

      it('deletes after a write without a row, and after one whose outcome is unknown', async () => {
        for (const one of [publication(undefined), publication('row', { unknown: true })]) {
          await stored()
          const writer = newToken()
          await guard(writer)
          expect(await store.publish(KEY, writer, one)).toBe(false)
          expect(await read()).toEqual({ state: 'absent' })
        }
      })

      it('deletes when the guard is gone, whatever stands there instead: absence is not permission (#33)', async () => {
        const writer = newToken()
        await guard(writer, 60)
        await sleep(120)
        await stored('what a reader loaded meanwhile')
        expect(await store.publish(KEY, writer, publication('row'))).toBe(false)
        expect(await read()).toEqual({ state: 'absent' })
        await guard(writer)
        await store.drop([KEY])
        expect(await store.publish(KEY, writer, publication('row'))).toBe(false)
        expect(await read()).toEqual({ state: 'absent' })
      })

      it('leaves the guard of others alone when its own has run out, and leaves them unsure (#28)', async () => {
        const [slow, other] = [newToken(), newToken()]
        await guard(slow, 60)
        await sleep(120)
        await guard(other)
        expect(await store.publish(KEY, slow, publication('late'))).toBe(false)
        expect(await read()).toEqual({ state: 'hold' })
        expect(await store.publish(KEY, other, publication('row'))).toBe(false)
        expect(await read()).toEqual({ state: 'absent' })
      })

      it('keeps a guard that is renewed, and does not bring back one that was lost', async () => {
        const writer = newToken()
        await guard(writer, 2_000)
        expect(await store.guard(KEY, writer, LIFE_MS, true)).toBe(true)
        await sleep(2_100)
        expect(await store.guard(KEY, writer, LIFE_MS, true)).toBe(true)
        expect(await store.publish(KEY, writer, publication('row'))).toBe(true)
        expect(await store.guard(KEY, writer, 150, true)).toBe(false)
        expect(await payload()).toBe('row')
      })

      it('lets the last of overlapping writers delete, in whatever order they end (#26)', async () => {
        for (const order of [
          [0, 1, 2],
          [0, 2, 1],
          [1, 0, 2],
          [1, 2, 0],
          [2, 0, 1],
          [2, 1, 0]
        ]) {
          const writers = [newToken(), newToken(), newToken()]
          for (const writer of writers) await guard(writer)
          for (const [done, index] of order.entries()) {
            expect(await store.publish(KEY, writers[index]!, publication(`row ${index}`))).toBe(false)
            expect(await read()).toEqual(done === 2 ? { state: 'absent' } : { state: 'hold' })
          }
        }
      })

      it('lets the last delete also when the first was done before the third began', async () => {
        const [first, second, third] = [newToken(), newToken(), newToken()]
        await guard(first)
        await guard(second)
        await store.publish(KEY, first, publication('first'))
        await guard(third)
        await store.publish(KEY, second, publication('second'))
        expect(await store.publish(KEY, third, publication('third'))).toBe(false)
        expect(await read()).toEqual({ state: 'absent' })
      })

      it('stores the last one’s row when it has the highest version of all, and deletes when it has not', async () => {
        for (const [versions, expected] of [
          [[5, 6], 'version 6'],
          [[6, 5], undefined],
          [[1, 3, 2], undefined],
          [[2, 1, 3], 'version 3'],
          [[-2, -1], 'version -1'],
          [[1.5, 2 ** 52 + 1], `version ${2 ** 52 + 1}`],
          [[7, 7], undefined]
        ] as const) {
          const writers = versions.map(() => newToken())
          for (const writer of writers) await guard(writer)
          for (const [index, version] of versions.entries()) {
            await store.publish(KEY, writers[index]!, publication(`version ${version}`, { version }))
          }
          expect(await payload(), versions.join()).toBe(expected)
          await store.drop([KEY])
        }
      })

      it('deletes in spite of versions when one of them has none, or failed', async () => {
        for (const odd of [
          publication(undefined),
          publication('x', { unknown: true, version: 1 }),
          publication('x')
        ]) {
          const [first, last] = [newToken(), newToken()]
          await guard(first)
          await guard(last)
          await store.publish(KEY, first, odd)
          expect(await store.publish(KEY, last, publication('last', { version: 9 }))).toBe(false)
          expect(await read()).toEqual({ state: 'absent' })
        }
      })

      it('does not wait for a writer that is not heard of any more, and does not trust what it left (#28)', async () => {
        const [dead, alive, next] = [newToken(), newToken(), newToken()]
        await guard(dead, 1_000)
        await guard(alive)
        await sleep(1_100)
        expect(await store.publish(KEY, alive, publication('row', { version: 9 }))).toBe(false)
        expect(await read()).toEqual({ state: 'absent' })
        await guard(next)
        expect(await store.publish(KEY, next, publication('next'))).toBe(true)
      })

      it('wakes who waits for a writer', async () => {
        const writer = newToken()
        await guard(writer)
        const wake = store.listen(KEY)
        expect(await take(newToken())).toMatchObject({ kind: 'held', by: 'writer' })
        await store.publish(KEY, writer, publication('row'))
        expect(await Promise.race([wake.changed.then(() => true), sleep(2_000, false)])).toBe(true)
        wake.cancel()
      })
    })

    it('reads many in the order they were asked for', async () => {
      await stored('one')
      const keys = ['shop:products:0', KEY, 'shop:products:2', KEY]
      const found = await store.readMany(keys.map((key) => ({ key, scope })))
      const states = found.map((one) => (one instanceof Error ? one : one.entry.state))
      expect(states).toEqual(['absent', 'value', 'absent', 'value'])
    })

    it('tells who listens of a fill, a drop, a failure and the end of a lease', async () => {
      const changes: [string, (token: Token) => Promise<unknown>][] = [
        ['fill', (token) => store.fill(KEY, token, frame('x'), LIFE_MS)],
        ['drop', () => store.drop([KEY])],
        ['fail', (token) => store.fail(KEY, token, failed(token), 1_000)],
        ['release', (token) => store.release(KEY, token)]
      ]
      for (const [what, change] of changes) {
        await store.drop([KEY])
        const token = newToken()
        await take(token)
        const wake = store.listen(KEY)
        expect((await take(newToken())).kind).toBe('held')
        await change(token)
        const woken = await Promise.race([wake.changed.then(() => true), sleep(2_000, false)])
        expect(woken, what).toBe(true)
        wake.cancel()
      }
    })

    it('tells who listens of what changes while they ask, too: no wake-up falls between the two (#12)', async () => {
      let held = 0
      for (let round = 0; round < 300; round++) {
        await store.drop([KEY])
        const token = newToken()
        await take(token)
        const wake = store.listen(KEY)
        const [asked] = await Promise.all([take(newToken()), store.fill(KEY, token, frame('x'), LIFE_MS)])
        if (asked.kind === 'held') {
          held++
          expect(await Promise.race([wake.changed.then(() => true), sleep(10_000, false)])).toBe(true)
        }
        wake.cancel()
      }
      expect(held).toBeGreaterThan(0)
    })
  })
}
