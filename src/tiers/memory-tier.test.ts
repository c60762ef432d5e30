import { setImmediate as turn } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import type { Clock } from '../clock.js'
import { MemoryEntry } from './memory-entry.js'
import { MemoryTier } from './memory-tier.js'
import { TurnClock } from './turn-clock.js'

class StillClock implements Clock {
  ms = 1_000
  looks = 0

  now(): number {
    this.looks++
    return this.ms
  }

  random(): number {
    return 0.5
  }
}

/** Within one turn of the event loop the tier may look at the clock once for many hits. */
const nextTurn = async (): Promise<void> => {
  await turn()
  await turn()
}

const open = () => {
  const clock = new StillClock()
  const tier = new MemoryTier({ maxBytes: 1_000_000, maxEntries: undefined, ttlMs: 60_000 }, clock)
  const room = tier.roomFor(undefined)
  const removed: string[] = []
  const under = { version: 1 }
  const keep = (key: string, untilMs: number): MemoryEntry => {
    const entry = new MemoryEntry(
      {
        key,
        id: key,
        tenant: undefined,
        value: key,
        copy: undefined,
        storedAtMs: clock.ms,
        freshUntilMs: untilMs,
        untilMs,
        under: [under],
        shelf: { remove: (gone) => void removed.push(gone.key) }
      },
      clock.ms
    )
    tier.replace(key, room, entry, 1_000)
    return entry
  }
  return { clock, tier, room, keep, removed, under }
}

describe('the tier in memory', () => {
  it('serves what it keeps only for as long as the news are known to come', async () => {
    const { clock, tier, room, keep } = open()
    const entry = keep('a', 10_000)
    expect(tier.isServable(entry, room)).toBe(false)
    tier.trustUntil(3_000)
    expect(tier.isServable(entry, room)).toBe(true)
    await nextTurn()
    clock.ms = 3_000
    expect(tier.isServable(entry, room)).toBe(false)
    tier.trustUntil(5_000)
    expect(tier.isServable(entry, room)).toBe(true)
    await nextTurn()
    clock.ms = 4_999
    // A proof that comes late takes nothing back.
    tier.trustUntil(4_000)
    expect(tier.isServable(entry, room)).toBe(true)
  })

  it('serves nothing past its time, nor what was kept under a counter that has moved', () => {
    const { clock, tier, room, keep, under } = open()
    tier.trustUntil(1e9)
    const [short, long] = [keep('a', 2_000), keep('b', 9_000)]
    clock.ms = 2_000
    expect([tier.isServable(short, room), tier.isServable(long, room)]).toEqual([false, true])
    under.version++
    expect(tier.isServable(long, room)).toBe(false)
  })

  it('takes what is dropped, replaced or pushed out from where it is listed', () => {
    const { tier, room, keep, removed } = open()
    keep('a', 9_000)
    keep('b', 9_000)
    tier.drop('a')
    expect(removed).toEqual(['a'])
    keep('b', 9_000)
    expect(removed).toEqual(['a', 'b'])
    for (let key = 0; key < 1_500; key++) keep(`key ${key}`, 9_000)
    expect(tier.bytes).toBeLessThanOrEqual(1_000_000)
    expect(removed).toHaveLength(2 + 1 + 500)
    tier.dropAll()
    expect([tier.entries, tier.bytes, room.size]).toEqual([0, 0, 0])
    expect(removed).toHaveLength(1_503)
  })

  it('pushes out what was used least recently', () => {
    const { clock, tier, room, keep } = open()
    tier.trustUntil(1e9)
    const entries = Array.from({ length: 1_000 }, (_, key) => keep(`${key}`, 1e9))
    clock.ms += 1_000
    expect(tier.isServable(entries[0]!, room)).toBe(true)
    keep('one more', 1e9)
    expect([room.has('0'), room.has('1')]).toEqual([true, false])
  })
})

describe('the clock of many hits', () => {
  it('looks once for many questions that come densely, and again in the next callback', async () => {
    const clock = new StillClock()
    const times = new TurnClock(clock)
    for (let question = 0; question < 640; question++) expect(times.now()).toBe(1_000)
    expect(clock.looks).toBeLessThan(15)
    clock.ms = 5_000
    await nextTurn()
    expect(times.now()).toBe(5_000)
  })

  it('looks again in the next callback of the same turn, before which the process may have been stopped', async () => {
    const clock = new StillClock()
    const times = new TurnClock(clock)
    const seen: number[] = []
    await new Promise<void>((resolve) => {
      // Both run in one turn.
      setImmediate(() => {
        for (let question = 0; question < 10; question++) times.now()
        clock.ms = 5_000
      })
      setImmediate(() => {
        seen.push(times.now())
        resolve()
      })
    })
    expect(seen).toEqual([5_000])
  })

  it('looks each time for questions that do not', () => {
    const clock = new StillClock()
    const times = new TurnClock(clock)
    for (let ms = 1_000; ms < 1_100; ms++) {
      clock.ms = ms
      expect(times.now()).toBe(ms)
    }
  })

  it('is behind for 64 questions of one callback at most', () => {
    const clock = new StillClock()
    const times = new TurnClock(clock)
    times.now()
    times.now()
    clock.ms = 9_000
    let behind = 0
    while (times.now() !== 9_000) behind++
    expect(behind).toBeLessThan(64)
  })
})
