import { describe, expect, it } from 'vitest'
import { check, type Round } from './checker.js'
import type { Fault, Operation } from './history.js'

const ID = 'steady:1'

const operation = (
  kind: Operation['kind'],
  version: number,
  from: number,
  to: number,
  more: Partial<Operation> = {}
): Operation => ({
  op: `${kind}${from}`,
  process: 1,
  kind,
  id: ID,
  version,
  by: version === 1 ? 'the start' : `write ${version}`,
  startedAt: from * 1_000_000,
  endedAt: to * 1_000_000,
  ...(kind === 'read' ? {} : { op: `write ${version}`, outcome: 'published' }),
  ...more
})
const round = (operations: Operation[], more: Partial<Round> = {}): Round => ({
  operations,
  commits: [
    { id: ID, version: 1, by: 'the start' },
    ...operations
      .filter(({ kind }) => kind !== 'read')
      .map(({ version, op }) => ({ id: ID, version: version ?? 2, by: op }))
  ],
  faults: [],
  deaths: new Map(),
  atRest: [],
  limits: { writeLeaseMs: 1_000, lifeMs: 3_000, memoryMs: 2_000 },
  ...more
})
const found = (one: Round): string[] => check(one).violations.map(({ what }) => what)
const fault = (from: number, to: number, more: Partial<Fault> = {}): Fault => ({
  what: 'FLUSHALL',
  from: from * 1_000_000,
  to: to * 1_000_000,
  mayLoseGuards: true,
  ...more
})

describe('the checker of the fault lab', () => {
  it('finds a read older than a write that was over, and leaves alone what overlapped', () => {
    const write = operation('write', 2, 10, 20)
    expect(found(round([write, operation('read', 1, 19, 30), operation('read', 2, 21, 22)]))).toEqual([])
    expect(found(round([write, operation('read', 1, 21, 22)]))).toEqual([
      'a read older than what was over before it began, of steady:1'
    ])
  })

  it('takes a failed or pending write for no promise to others, and a pending one for a promise to its own process', () => {
    const read = operation('read', 1, 21, 22, { process: 2 })
    expect(found(round([operation('write', 2, 10, 20, { outcome: 'pending' }), read]))).toEqual([])
    expect(
      found(round([operation('write', 2, 10, 20, { outcome: 'pending' }), { ...read, process: 1 }]))
    ).toHaveLength(1)
  })

  it('lets a process without Redis share a load that began before a write elsewhere was over', () => {
    const write = operation('write', 2, 10, 20, { process: 2 })
    const read = operation('read', 1, 21, 22, { source: 'loader', aloneSince: 19_000_000 })
    expect(found(round([write, read]))).toEqual([])
    expect(found(round([write, { ...read, aloneSince: 21_000_000 }]))).toHaveLength(1)
    expect(found(round([{ ...write, process: 1 }, read]))).toHaveLength(1)
  })

  it('lets memory serve what another process has changed for as long as is stated, and no longer', () => {
    const write = operation('write', 2, 10, 20, { process: 2 })
    const late = (at: number, process = 1): Operation =>
      operation('read', 1, at, at + 1, { source: 'memory', process })
    expect(check(round([write, late(21.5)]))).toMatchObject({
      violations: [],
      fromMemory: 1,
      latestFromMemoryMs: 1_500
    })
    expect(found(round([write, late(22.5)]))).toHaveLength(1)
    expect(found(round([write, late(21, 2)]))).toHaveLength(1)
  })

  it('finds a phantom', () => {
    expect(found(round([operation('read', 7, 1, 2)]))).toEqual([
      'a phantom: nobody committed this version of steady:1'
    ])
  })

  it('finds an old value at rest, unless its writer was killed after its guard was lost', () => {
    const atRest = [{ process: 2, id: ID, version: 1 }]
    const killed = operation('write', 2, 10, 20)
    delete (killed as { endedAt?: number }).endedAt
    delete (killed as { outcome?: string }).outcome
    const deaths = new Map([[1, 15_000_000]])
    expect(found(round([killed], { atRest, deaths }))).toHaveLength(1)
    expect(found(round([killed], { atRest, deaths, faults: [fault(1, 2)] }))).toHaveLength(1)
    const excused = check(round([killed], { atRest, deaths, faults: [fault(12, 13)] }))
    expect(excused.violations).toEqual([])
    expect(Object.values(excused.withinLimits)).toEqual([1])
  })

  it('allows what a failover lost for as long as it lives, and no longer', () => {
    const write = operation('write', 2, 10, 20)
    const faults = [fault(21, 22, { failsOver: true })]
    expect(found(round([write, operation('read', 1, 23, 24)], { faults }))).toEqual([])
    expect(found(round([write, operation('read', 1, 26, 27)], { faults }))).toHaveLength(1)
    expect(
      found(round([operation('write', 2, 10, 18), operation('read', 1, 23, 24)], { faults }))
    ).toHaveLength(1)
  })
})
