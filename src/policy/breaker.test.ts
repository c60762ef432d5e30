import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Breaker } from './breaker.js'

const breaker = (): Breaker => new Breaker({ silencesMost: 3, pauseMs: 100, pauseMostMs: 400 })

describe('a breaker', () => {
  it('opens after so many silences in a row, and an answer in between starts the count anew', () => {
    const one = breaker()
    expect([one.silent(0, 0), one.silent(0, 0)]).toEqual([false, false])
    one.answered()
    expect([one.silent(0, 0), one.silent(0, 0)]).toEqual([false, false])
    expect(one.isClosed).toBe(true)
    expect(one.silent(0, 0)).toBe(true)
    expect(one.isClosed).toBe(false)
  })

  it('opens at once when the other side says that it is down', () => {
    const one = breaker()
    expect(one.trip(1_000, 0.5)).toBe(true)
    expect(one.state).toEqual({ kind: 'open', probes: 0, probeAtMs: 1_075 })
    expect(one.trip(1_000, 0.5)).toBe(false)
  })

  it('is not closed by a late answer to a call from before', () => {
    const one = breaker()
    one.trip(0, 0)
    one.answered()
    expect(one.isClosed).toBe(false)
    one.probing()
    one.answered()
    expect(one.state.kind).toBe('half-open')
  })

  it('closes when a probe succeeds, and waits longer after each that fails, up to a bound', () => {
    const one = breaker()
    one.trip(0, 0.999)
    const pauses: number[] = []
    for (let round = 0; round < 8; round++) {
      pauses.push(Math.round(one.probeInMs(0)!))
      one.probing()
      expect(one.probeInMs(0)).toBeUndefined()
      one.probeFailed(0, 0.999)
    }
    expect(pauses).toEqual([100, 150, 225, 337, 400, 400, 400, 400])
    one.probing()
    one.probeSucceeded()
    expect(one.isClosed).toBe(true)
    one.trip(0, 0.999)
    expect(Math.round(one.probeInMs(0)!)).toBe(100)
  })

  it('whatever happens, it is closed only by a probe, and open means that a probe is due within its bound', () => {
    const steps = fc.constantFrom('answered', 'silent', 'trip', 'probe succeeded', 'probe failed')
    fc.assert(
      fc.property(fc.array(fc.tuple(steps, fc.double({ min: 0, max: 0.999, noNaN: true }))), (history) => {
        const one = breaker()
        let nowMs = 0
        for (const [step, draw] of history) {
          const wasClosed = one.isClosed
          nowMs += 10
          if (step === 'answered') one.answered()
          else if (step === 'silent') one.silent(nowMs, draw)
          else if (step === 'trip') one.trip(nowMs, draw)
          else if (!wasClosed) {
            one.probing()
            if (step === 'probe succeeded') one.probeSucceeded()
            else one.probeFailed(nowMs, draw)
          }
          if (!wasClosed && one.isClosed) expect(step).toBe('probe succeeded')
          if (one.state.kind === 'open') expect(one.probeInMs(nowMs)).toBeLessThanOrEqual(400)
        }
      })
    )
  })
})
