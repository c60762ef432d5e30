import { describe, expect, it } from 'vitest'
import { Frequency } from './frequency.js'

describe('how often a key was noted', () => {
  it('is counted up to 15, each for itself', () => {
    const frequency = new Frequency(1_000)
    for (let key = 0; key < 15; key++) for (let time = 0; time < key; time++) frequency.note(`key:${key}`)
    for (let time = 0; time < 40; time++) frequency.note('often')
    for (let key = 0; key < 15; key++) expect(frequency.of(`key:${key}`)).toBe(key)
    expect(frequency.of('often')).toBe(15)
    expect(frequency.of('never')).toBe(0)
  })

  it('is never estimated below the truth, and for few keys of many above it', () => {
    const frequency = new Frequency(4_096)
    for (let key = 0; key < 4_096; key++)
      for (let time = 0; time < 3; time++) frequency.note(`shop:pages:${key}`)
    let tooMuch = 0
    for (let key = 0; key < 4_096; key++) {
      const estimate = frequency.of(`shop:pages:${key}`)
      expect(estimate).toBeGreaterThanOrEqual(3)
      if (estimate > 3) tooMuch++
    }
    expect(tooMuch).toBeLessThan(4_096 * 0.25)
  })

  it('is forgotten in time', () => {
    const frequency = new Frequency(64)
    for (let time = 0; time < 15; time++) frequency.note('once popular')
    for (let note = 0; note < 64 * 40; note++) frequency.note(`other:${note % 200}`)
    expect(frequency.of('once popular')).toBeLessThan(15)
    for (let key = 0; key < 3; key++) for (let time = 0; time < 15; time++) frequency.note(`new:${key}`)
    expect(frequency.of('new:2')).toBeGreaterThan(frequency.of('never again'))
  })
})
