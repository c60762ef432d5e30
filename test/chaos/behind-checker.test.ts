import { describe, expect, it } from 'vitest'
import type { Tables } from '../faults/behind-model.js'
import { checkBehind, type BehindRound } from './behind-checker.js'

const EMPTY: Tables = { events: new Map(), counters: new Map(), rows: new Map(), history: new Map() }
const s = (seconds: number): number => 1_000_000_000 + seconds * 1_000_000
/** A write of row r, by process 1: begun, and accepted. */
const wrote = (n: number, from: number, to: number): string[] => [
  `+R r ${n} ${s(from)} 1`,
  `!R r ${n} ${s(to)}`
]
const read = (value: number | undefined, from: number, to: number, source = 'redis', process = 2): string =>
  `= R r ${value} ${s(from)} ${s(to)} ${source} ${process}`
const found = (lines: string[], more: Partial<BehindRound> = {}): string[] =>
  checkBehind({
    lines,
    tables: { ...EMPTY, rows: new Map([['r', 2]]) },
    atRest: [],
    faults: [],
    memoryMs: 2_000,
    ...more
  }).violations.map(({ what }) => what)
const TWO = [...wrote(1, 1, 2), ...wrote(2, 3, 4)]

describe('the checker of what is written behind', () => {
  it('finds a read of less than was accepted before it began, and of more than was begun before it ended', () => {
    expect(found([...TWO, read(1, 3.5, 5), read(2, 3.5, 5), read(2, 5, 6), read(undefined, 0, 1.5)])).toEqual(
      []
    )
    expect(found([...TWO, read(1, 5, 6)])).toEqual(['process 2 read R r as 1, possible: 2'])
    expect(found([...TWO, read(2, 1, 2.5)])).toHaveLength(1)
    expect(found([...TWO, read(undefined, 5, 6)])).toHaveLength(1)
  })

  it('takes an unknown write for one that may be there or not, and a refused one for none', () => {
    const unknown = [...TWO, `+R r 3 ${s(5)} 1`]
    expect(found([...unknown, read(2, 6, 7), read(3, 6, 7)])).toEqual([])
    expect(found([...unknown, `?R r 3 ${s(5.5)}`, read(3, 6, 7)])).toHaveLength(1)
  })

  it('lets memory be late about what others did, and a load without Redis about everything', () => {
    expect(found([...TWO, read(1, 5, 5.1, 'memory')])).toEqual([])
    expect(found([...TWO, read(1, 6.5, 6.6, 'memory')])).toHaveLength(1)
    expect(found([...TWO, read(1, 5, 5.1, 'memory', 1)])).toHaveLength(1)
    expect(found([...TWO, read(1, 6.5, 6.6, 'lone')])).toEqual([])
  })

  it('holds a counter to what was added, each time once', () => {
    const lines = [
      `+C 4 a ${s(1)} 1`,
      `!C 4 a ${s(2)}`,
      `+C 4 b ${s(3)} 1`,
      `= C 4 1 ${s(5)} ${s(6)} redis 2`,
      `= C 4 2 ${s(5)} ${s(6)} redis 2`
    ]
    const counters = new Map([[4, 2]])
    expect(found(lines, { tables: { ...EMPTY, counters } })).toEqual([])
    expect(
      found([...lines, `= C 4 3 ${s(5)} ${s(6)} redis 2`], { tables: { ...EMPTY, counters } })
    ).toHaveLength(1)
    expect(
      found([...lines, `= C 4 undefined ${s(5)} ${s(6)} redis 2`], { tables: { ...EMPTY, counters } })
    ).toHaveLength(1)
    expect(found(lines, { tables: { ...EMPTY, counters: new Map([[4, 3]]) } })).toHaveLength(1)
  })

  it('finds a row or an event that is lost, doubled, out of order, refused, or from nowhere', () => {
    const became = (...values: number[]): Partial<BehindRound> => ({
      tables: { ...EMPTY, rows: new Map([['r', 2]]), history: new Map([['r', values]]) }
    })
    expect(found(TWO, became(1, 2))).toEqual([])
    expect(found(TWO, became(2))).toEqual([])
    expect(found(TWO, became(2, 1))).toEqual(['out of order: row r went from 2 to 1'])
    expect(found(TWO, became(1, 2, 2))).toEqual(['doubled: row r became 2 twice'])
    const refused = [`+R r 1 ${s(1)} 1`, `?R r 1 ${s(2)}`, ...wrote(2, 3, 4)]
    expect(found(refused, became(1, 2))).toEqual(['refused and yet there: row r became 1'])
    const strange = { ...EMPTY, rows: new Map([['q', 1]]), counters: new Map([[9, 1]]) }
    expect(found([], { tables: strange })).toEqual(['from nowhere: counter 9', 'from nowhere: row q'])
    const event = [`+E e ${s(1)} 1`, `!E e ${s(2)}`]
    const events = (count: number): Partial<BehindRound> => ({
      tables: { ...EMPTY, events: new Map(count === 0 ? [] : [['e', count]]) }
    })
    expect(found(event, events(1))).toEqual([])
    expect(found(event, events(0))).toEqual(['lost: event e'])
    expect(found(event, events(2))).toEqual(['doubled: event e, 2 times'])
    expect(found([], events(1))).toEqual(['from nowhere: event e'])
  })

  it('compares what is read at rest with the tables', () => {
    expect(found(TWO, { atRest: [{ kind: 'R', id: 'r', process: 1, value: 2 }] })).toEqual([])
    expect(found(TWO, { atRest: [{ kind: 'R', id: 'r', process: 1, value: 1 }] })).toHaveLength(1)
    expect(found(TWO, { tables: EMPTY })).toEqual(['row r is undefined, possible: 2'])
  })
})
