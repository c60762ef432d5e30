import { expect, it } from 'vitest'
import type { Clock } from '../clock.js'
import { PayloadCodec } from '../codec/codec.js'
import { newToken } from '../codec/frame-head.js'
import { valueFrame } from '../codec/frame.js'
import type { ValueEntry } from '../entry.js'
import { Events } from '../events.js'
import { resolveEntryPolicy } from '../resolve-options.js'
import { newCollectionStats } from '../stats.js'
import { FetchedEntry } from './fetched-entry.js'
import { Generations } from './generations.js'
import { LocalCounters } from './local-counters.js'
import { MemoryShelf } from './memory-shelf.js'
import { MemoryTier } from './memory-tier.js'

it('counts the time that a value takes to be inflated as a part of its life', async () => {
  const clock: Clock & { ms: number } = { ms: 1_000, now: () => clock.ms, random: () => 0.5 }
  const tier = new MemoryTier({ maxBytes: 1_000_000, maxEntries: undefined, ttlMs: 60_000 }, clock)
  tier.trustUntil(1e9)
  const codec = new PayloadCodec({ compressAboveBytes: 100, maxValueBytes: 1e6 })
  const counters = new LocalCounters(() => clock.ms)
  const generations = new Generations(counters, clock, 0, () => tier.position)
  const scope = generations.scope('shop', 'rows', undefined, false)
  const shelf = new MemoryShelf({
    name: 'rows',
    tier,
    room: tier.roomFor(undefined),
    codec,
    generations,
    events: new Events(),
    clock,
    stats: newCollectionStats(),
    ttlMs: 60_000,
    isPending: () => false
  })
  const memory = shelf.view(undefined, String)

  const key = 'shop:rows:1'
  const value = new Map([['text', 'x'.repeat(1_000)]])
  const { flags, bytes: payload } = await codec.encode(value)
  const stamp = (await generations.capture(scope))!.print
  const fields = { token: newToken(), freshMs: 5_000, loadMs: 0, flags, notFound: false, stamp, payload }
  // Stored at 0 of the store's clock, where it is 2,000 by now.
  const fetched = new FetchedEntry(key, valueFrame(key, fields), tier.position)
  await generations.standingNow(fetched.entry as ValueEntry, key, scope)
  const source = { policy: resolveEntryPolicy({ ttl: 5_000, earlyRefresh: 0 }) }
  shelf.keep({ key, scope, id: 1, tenant: undefined, source }, fetched, value, 2_000)
  clock.ms += 1_000
  await expect
    .poll(() => memory.hit(1)?.lookup(clock.ms), { timeout: 20_000 })
    .toMatchObject({ value, ageMs: 3_000, ttlMs: 2_000 })
  clock.ms += 2_000
  expect(memory.hit(1)).toBeUndefined()
})
