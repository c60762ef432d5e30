import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { DropLog } from './drop-log.js'

describe('a log of drops', () => {
  it('says of an answer whether its key was dropped after it was asked for', () => {
    const log = new DropLog()
    const before = log.position
    log.note('a')
    const after = log.position
    expect([log.standsSince(before, 'a'), log.standsSince(before, 'b'), log.standsSince(after, 'a')]).toEqual(
      [false, true, true]
    )
    log.noteAll()
    expect([log.standsSince(after, 'a'), log.standsSince(after, 'b')]).toEqual([false, false])
    expect(log.standsSince(log.position, 'a')).toBe(true)
  })

  it('is bounded, and where it does not reach back nothing stands', () => {
    const log = new DropLog()
    const before = log.position
    log.note('first')
    for (let key = 0; key < 5_000; key++) log.note(`key ${key}`)
    expect(log.standsSince(before, 'first')).toBe(false)
    expect(log.standsSince(before, 'never dropped')).toBe(false)
    expect(log.standsSince(log.position, 'first')).toBe(true)
  })

  it('never says that something stands which was dropped since, whatever happens', () => {
    const step = fc.oneof(
      fc.record({ kind: fc.constant('drop'), key: fc.integer({ min: 0, max: 5 }) }),
      fc.record({ kind: fc.constant('drop many'), key: fc.constant(0) }),
      fc.record({ kind: fc.constant('drop all'), key: fc.constant(0) }),
      fc.record({ kind: fc.constant('ask'), key: fc.integer({ min: 0, max: 5 }) })
    )
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const log = new DropLog()
        let asked: { key: string; position: number; dropped: boolean }[] = []
        for (const { kind, key } of steps) {
          if (kind === 'ask') asked.push({ key: `${key}`, position: log.position, dropped: false })
          if (kind === 'drop') {
            log.note(`${key}`)
            for (const one of asked) if (one.key === `${key}`) one.dropped = true
          }
          if (kind === 'drop many')
            for (let other = 0; other < 2_100; other++) log.note(`other ${other}${key}`)
          if (kind === 'drop all') {
            log.noteAll()
            asked = asked.map((one) => ({ ...one, dropped: true }))
          }
          for (const one of asked) if (one.dropped) expect(log.standsSince(one.position, one.key)).toBe(false)
        }
      }),
      { numRuns: 50 }
    )
  })
})
