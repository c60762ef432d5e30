import { describe, expect, it } from 'vitest'
import type { Entry, ValueEntry } from '../entry.js'
import { resolveEntryPolicy } from '../resolve-options.js'
import { decide, isEarlyRefreshDue } from './decide.js'

const STORED_AT = 1_000_000
const token = Buffer.from('12345678')
const policy = resolveEntryPolicy({ ttl: 1_000, stale: 500, staleIfError: 2_000 })

function entry(fields: Partial<ValueEntry> = {}): ValueEntry {
  return {
    state: 'value',
    token,
    storedAtMs: STORED_AT,
    freshMs: 1_000,
    loadMs: 0,
    leaseUntilMs: 0,
    backingOff: false,
    notFound: false,
    unflushed: false,
    flags: 0,
    payload: Buffer.alloc(0),
    bytes: Buffer.alloc(0),
    payloadAt: 0,
    hardHigh: 0,
    hardLow: 0,
    soft: 0,
    tags: [],
    ...fields
  }
}

const at = (age: number, fields?: Partial<ValueEntry>, draw = 0): unknown =>
  decide(entry(fields), STORED_AT + age, policy, draw)

describe('what to do with a value', () => {
  it('fresh: serve it', () => {
    expect(at(0)).toEqual({ act: 'serve', refresh: 'none' })
    expect(at(999)).toEqual({ act: 'serve', refresh: 'none' })
  })

  it('stale: serve it, and let one refresh it', () => {
    expect(at(1_000)).toEqual({ act: 'serve-stale', refresh: 'refresh' })
    expect(at(1_499)).toEqual({ act: 'serve-stale', refresh: 'refresh' })
  })

  it('stale, and somebody refreshes it or it backs off: serve it', () => {
    const leaseUntilMs = STORED_AT + 1_300
    expect(at(1_200, { leaseUntilMs })).toEqual({ act: 'serve-stale', refresh: 'none' })
    expect(at(1_200, { leaseUntilMs, backingOff: true })).toEqual({ act: 'serve-stale', refresh: 'none' })
    expect(at(1_301, { leaseUntilMs })).toEqual({ act: 'serve-stale', refresh: 'refresh' })
  })

  it('too old to be served unasked: load first', () => {
    expect(at(1_500)).toEqual({ act: 'load', seen: token })
    expect(at(1_600, { leaseUntilMs: STORED_AT + 9_999 })).toEqual({ act: 'load', seen: token })
  })

  it('too old, but the source fails: serve it for as long as that is allowed, then fail', () => {
    const failing = { leaseUntilMs: STORED_AT + 9_999, backingOff: true }
    expect(at(2_999, failing)).toEqual({ act: 'serve-stale', refresh: 'none' })
    expect(at(3_000, failing)).toEqual({ act: 'fail' })
  })

  it('from the future, by more than clocks differ: refresh it', () => {
    expect(at(-4_000)).toEqual({ act: 'serve', refresh: 'none' })
    expect(at(-6_000)).toEqual({ act: 'serve-stale', refresh: 'refresh' })
  })

  it('under a lease that ends later than any can: the clock was set back, refresh it (#102)', () => {
    const leased = { leaseUntilMs: STORED_AT + 1_500 + 3_600_000 }
    expect(at(1_200, leased)).toEqual({ act: 'serve-stale', refresh: 'refresh' })
    expect(at(1_200, { ...leased, backingOff: true })).toEqual({ act: 'serve-stale', refresh: 'refresh' })
  })

  it('soon stale and dear: refresh it early, if the draw says so and nobody does', () => {
    const dear = { loadMs: 100 }
    expect(at(900, dear, 0.5)).toEqual({ act: 'serve', refresh: 'none' })
    expect(at(900, dear, 0.7)).toEqual({ act: 'serve', refresh: 'early-refresh' })
    expect(at(900, { ...dear, leaseUntilMs: STORED_AT + 950 }, 0.7)).toEqual({
      act: 'serve',
      refresh: 'none'
    })
  })
})

describe('what to do with anything else', () => {
  const decideOn = (other: Entry): unknown => decide(other, 0, policy, 0)

  it('nothing, or somebody loading: ask for the lease', () => {
    expect(decideOn({ state: 'absent' })).toEqual({ act: 'load', seen: undefined })
    expect(decideOn({ state: 'hold' })).toEqual({ act: 'load', seen: undefined })
  })

  it('a load that failed a moment ago: fail', () => {
    expect(
      decideOn({ state: 'failed', kind: 'load-failed', token, report: { name: 'E', message: '' } })
    ).toEqual({ act: 'fail' })
  })

  it('a failure that would count for longer than any, since the clock was set back: replace exactly that', () => {
    const failed = { state: 'failed', token, report: { name: 'E', message: '' }, untilMs: 3_600_000 } as const
    for (const kind of ['load-failed', 'uncacheable'] as const)
      expect(decideOn({ ...failed, kind })).toEqual({ act: 'load', seen: token })
  })

  it('a value known not to fit the cache, or an entry of a later version: load, store nothing', () => {
    const report = { name: 'E', message: '' }
    expect(decideOn({ state: 'failed', kind: 'uncacheable', token, report })).toMatchObject({
      act: 'load-alone'
    })
    expect(
      decideOn({
        state: 'unreadable',
        reason: '',
        token: undefined,
        foreign: true,
        leaseUntilMs: 0,
        backingOff: false
      })
    ).toMatchObject({
      act: 'load-alone'
    })
  })

  it('damage: replace exactly that', () => {
    expect(
      decideOn({ state: 'unreadable', reason: '', token, foreign: false, leaseUntilMs: 0, backingOff: false })
    ).toEqual({
      act: 'load',
      seen: token
    })
  })
})

describe('early refresh', () => {
  it('comes to e^(1/beta) tries per expiry without a lease, as the paper has it (#25)', () => {
    // Readers every millisecond, a load of 10 ms: each try begins a recomputation, and the first to end resets the clock.
    let tries = 0
    const expiries = 400
    let state = 1
    const random = (): number => {
      state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
      return state / 2 ** 32
    }
    for (let round = 0; round < expiries; round++) {
      let endsAt = Number.POSITIVE_INFINITY
      for (let freshFor = 200; freshFor > -20 && 200 - freshFor < endsAt; freshFor -= 1) {
        if (!isEarlyRefreshDue(entry({ loadMs: 10 }), freshFor, 1, random())) continue
        tries++
        endsAt = Math.min(endsAt, 200 - freshFor + 10)
      }
    }
    expect(tries / expiries).toBeGreaterThan(2)
    expect(tries / expiries).toBeLessThan(3.5)
  })

  it('never comes when it is switched off', () => {
    expect(isEarlyRefreshDue(entry({ loadMs: 1e9 }), 1, 0, 0.999_999)).toBe(false)
  })
})
