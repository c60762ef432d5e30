import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { ValueEntry } from '../entry.js'
import { failedFrame } from './failed-frame.js'
import { newToken } from './frame-head.js'
import { holdFrame, parseFrame, readHeader, storedAt, valueFrame, withLease } from './frame.js'

const KEY = 'shop:products:42'
const value = (key = KEY, payload = Buffer.from('payload')): Buffer =>
  valueFrame(key, {
    token: newToken(),
    freshMs: 5_000,
    loadMs: 12.6,
    flags: 0b10_0101,
    notFound: false,
    stamp: { hardHigh: 1, hardLow: 2, soft: 3, tags: [] },
    payload
  })

describe('a stored entry', () => {
  it('gives back what was written', () => {
    const token = newToken()
    const fields = {
      token,
      freshMs: 3_600_000,
      loadMs: 17,
      flags: 5,
      notFound: true,
      payload: Buffer.from([1, 2, 3])
    }
    const stamp = {
      hardHigh: 0xffff_ffff,
      hardLow: 1,
      soft: 2,
      tags: [
        { tag: 'brand:acme', hard: 1_800_000_000_000_001, soft: 1_800_000_000_000_002 },
        { tag: 'größe', hard: 5, soft: 5 }
      ]
    }
    const parsed = parseFrame(
      KEY,
      withLease(storedAt(valueFrame(KEY, { ...fields, stamp }), 1_800_000_000_000), newToken(), 99)
    )
    const { token: parsedToken, payload } = parsed as ValueEntry
    expect([parsedToken, payload]).toEqual([token, fields.payload])
    expect(parsed).toMatchObject({
      state: 'value',
      storedAtMs: 1_800_000_000_000,
      leaseUntilMs: 99,
      backingOff: false,
      freshMs: 3_600_000,
      loadMs: 17,
      flags: 5,
      notFound: true,
      ...stamp
    })
    expect(parseFrame(KEY, holdFrame(token))).toEqual({ state: 'hold' })
    const report = { name: 'Error', message: 'no route to host', code: 'EHOSTUNREACH' }
    expect(parseFrame(KEY, failedFrame(KEY, token, 'load-failed', report))).toEqual({
      state: 'failed',
      kind: 'load-failed',
      token,
      report
    })
    expect(parseFrame(KEY, null)).toEqual({ state: 'absent' })
  })

  it('keeps a failure report small', () => {
    const frame = failedFrame(KEY, newToken(), 'load-failed', {
      name: 'E'.repeat(9999),
      message: '✓'.repeat(99_999),
      code: 'c'.repeat(999)
    })
    expect(frame.length).toBeLessThan(3_000)
    expect(parseFrame(KEY, frame)).toMatchObject({ state: 'failed', kind: 'load-failed' })
  })

  it('is not read under another key (#111)', () => {
    expect(parseFrame('shop:products:43', value())).toMatchObject({ state: 'unreadable', foreign: false })
    const failed = failedFrame(KEY, newToken(), 'load-failed', { name: 'Error', message: 'x' })
    expect(parseFrame('shop:products:43', failed)).toMatchObject({ state: 'unreadable' })
  })

  it('of a later version is unreadable and must be left alone (#22)', () => {
    const later = value()
    later[1] = 2
    expect(parseFrame(KEY, later)).toMatchObject({ state: 'unreadable', foreign: true })
    expect(readHeader(later)).toBe('foreign')
  })

  it('with any one bit changed is a miss or the same value, never another value (#23)', () => {
    const payload = Buffer.from('some payload of a few bytes')
    const original = storedAt(value(KEY, payload), 1_800_000_000_000)
    for (let bit = 0; bit < original.length * 8; bit++) {
      const damaged = Buffer.from(original)
      damaged[bit >> 3]! ^= 1 << (bit & 7)
      const entry = parseFrame(KEY, damaged)
      if (entry.state === 'value')
        expect([entry.payload, entry.flags, entry.freshMs]).toEqual([payload, 0b10_0101, 5_000])
      else expect(entry.state).toBe('unreadable')
    }
  })

  it('cut short anywhere is a miss', () => {
    const whole = value()
    for (let length = 0; length < whole.length; length++) {
      expect(parseFrame(KEY, whole.subarray(0, length)).state).toBe('unreadable')
    }
  })

  it('never throws on random bytes', () => {
    const prefix = fc.constantFrom([], [0xc0], [0xc0, 1], [0xc0, 1, 1], [0xc0, 1, 2], [0xc0, 1, 3])
    fc.assert(
      fc.property(prefix, fc.uint8Array({ maxLength: 200 }), (head, tail) => {
        const bytes = Buffer.concat([Buffer.from(head), tail])
        expect(['unreadable', 'hold']).toContain(parseFrame(KEY, bytes).state)
        readHeader(bytes)
      }),
      { numRuns: 5_000 }
    )
  })
})
