import { beforeEach, describe, expect, it } from 'vitest'
import { systemClock } from '../clock.js'
import { newToken } from '../codec/frame-head.js'
import { valueFrame } from '../codec/frame.js'
import type { Entry, Stamp, ValueEntry } from '../entry.js'
import type { Scope } from './generation.js'
import type { Generations } from './generations.js'
import { LocalStore } from './local-store.js'

const KEY = 'shop:products:1'
const LIFE_MS = 60_000

describe('of what was to be declared wrong, and the store could not be told, this process', () => {
  let store: LocalStore
  let generations: Generations
  let scope: Scope

  beforeEach(async () => {
    store = new LocalStore(1_000_000, systemClock)
    ;({ generations } = store)
    scope = generations.scope('shop', 'products', undefined, true)
    const fields = { token: newToken(), freshMs: LIFE_MS, loadMs: 1, flags: 0, notFound: false }
    const stamp = (await stampOf('brand'))!
    await store.set(KEY, valueFrame(KEY, { ...fields, stamp, payload: Buffer.from('row') }), LIFE_MS)
  })

  const stampOf = async (tag: string): Promise<Stamp | undefined> => {
    const capture = await generations.capture(scope)
    return generations.stamp(capture!, scope, [tag], LIFE_MS)
  }
  const read = async (): Promise<Entry> => (await store.read({ key: KEY, scope })).entry

  it('neither serves, stores nor keeps anything under a tag', async () => {
    const during = await generations.capture(scope)
    const kept = (await read()) as ValueEntry
    expect(generations.cellsOver(kept, KEY, scope)).toBeDefined()
    const tag = generations.tagCell(scope.tagPrefix, 'brand')
    tag.undelivered = true
    expect((await read()).state).toBe('outdated')
    expect(await generations.stamp(during!, scope, ['brand'], LIFE_MS)).toBeUndefined()
    expect(generations.cellsOver(kept, KEY, scope)).toBeUndefined()
    expect(await stampOf('other')).toBeDefined()
    tag.undelivered = false
    expect((await read()).state).toBe('value')
  })

  it('begins no load, and keeps nothing, while it may be any tag', async () => {
    const kept = (await read()) as ValueEntry
    const epoch = generations.cell(scope.tagPrefix)
    epoch.undelivered = true
    expect(await generations.capture(scope)).toBeUndefined()
    expect(generations.cellsOver(kept, KEY, scope)).toBeUndefined()
    epoch.undelivered = false
    expect(await generations.capture(scope)).toBeDefined()
    expect(generations.cellsOver(kept, KEY, scope)).toBeDefined()
  })
})
