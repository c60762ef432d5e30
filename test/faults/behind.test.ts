import { describe, expect, it } from 'vitest'
import { runStorm } from './behind-storm.js'

describe('writers at full speed, while processes, Redis and PostgreSQL are killed and answers are lost', () => {
  it('leave tables that hold every acknowledged operation once and in order (#60, #61, #63, #65, #74)', {
    timeout: 180_000
  }, async () => {
    const report = await runStorm(60, Date.now() % 1_000_000)
    expect(report.differences).toEqual([])
    expect(report.wrongReads).toEqual([])
    expect(report.crashes).toEqual([])
    expect(report.acknowledged).toBeGreaterThan(1_000)
    expect(Object.values(report.faults).reduce((sum, count) => sum + count, 0)).toBe(60)
  })
})
