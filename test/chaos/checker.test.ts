import { describe, expect, it } from 'vitest'
import { check, type Round } from './checker.js'
import { FaultLog } from './fault-log.js'
import { nowUs, type Fault, type Operation } from './history.js'
import { exitCodeOf, violationIn } from './report.js'
import { MISSED } from './topology.js'

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
    const atRest = [{ process: 2, id: ID, version: 1, at: 30_000_000 }]
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

  it('allows nothing old before the failover has begun', () => {
    const write = operation('write', 2, 10, 20)
    const faults = [fault(21.5, 22, { failsOver: true })]
    expect(found(round([write, operation('read', 1, 20.5, 21)], { faults }))).toHaveLength(1)
    expect(found(round([write, operation('read', 1, 20.5, 21.6)], { faults }))).toEqual([])
  })

  it('allows at rest what a failover lost, not what was over long before it, nor for longer than entries live', () => {
    const faults = [fault(21, 22, { failsOver: true })]
    const seenAt = (at: number) => [{ process: 2, id: ID, version: 1, at: at * 1_000_000 }]
    const lost = check(round([operation('write', 2, 10, 20)], { atRest: seenAt(24), faults }))
    expect([lost.violations, Object.values(lost.withinLimits)]).toEqual([[], [1]])
    expect(found(round([operation('write', 2, 10, 20)], { atRest: seenAt(26), faults }))).toHaveLength(1)
    expect(found(round([operation('write', 2, 10, 18)], { atRest: seenAt(24), faults }))).toHaveLength(1)
  })

  it('takes what a process remembered for delivered at rest, unless the process was killed', () => {
    const killed = operation('change', 3, 10, 20, { process: 3, op: 'write 3' })
    delete (killed as { outcome?: string }).outcome
    const pending = operation('write', 2, 5, 8, { outcome: 'pending' })
    const atRest = [{ process: 2, id: ID, version: 1, at: 30_000_000 }]
    const isDead = (...processes: number[]) => new Map(processes.map((process) => [process, 21_000_000]))
    expect(found(round([pending, killed], { atRest, deaths: isDead(3) }))).toHaveLength(1)
    expect(found(round([pending, killed], { atRest, deaths: isDead(1, 3) }))).toEqual([])
  })

  it('finds a row that is not there, a value of another row, and one that was overwritten and came back', () => {
    const nothing = operation('read', 0, 1, 2, { by: 'nobody' })
    expect(found(round([nothing]))).toEqual(['a phantom: nobody committed this version of steady:1'])
    const ofAnother = operation('write', 2, 1, 2, { id: 'steady:2' })
    const commits = [
      { id: ID, version: 1, by: 'the start' },
      { id: 'steady:2', version: 2, by: 'write 2' }
    ]
    expect(found(round([ofAnother, operation('read', 2, 3, 4)], { commits }))).toEqual([
      'a phantom: nobody committed this version of steady:1'
    ])
    const comesBack = [
      operation('write', 2, 1, 2),
      operation('read', 2, 3, 4),
      operation('write', 3, 5, 6),
      operation('read', 3, 7, 8),
      operation('read', 2, 9, 10)
    ]
    expect(found(round(comesBack))).toEqual(['a read older than what was over before it began, of steady:1'])
  })

  it('finds an error that no fault explains', () => {
    const failed = (error: string): Operation => {
      const { version: _, ...rest } = operation('read', 1, 1, 2)
      return { ...rest, error }
    }
    expect(found(round([failed('RedisUnavailableError: Redis did not answer')]))).toEqual([])
    expect(found(round([failed('TypeError: Cannot read properties of undefined')]))).toHaveLength(1)
  })

  it('tells the shortest history first, with what overlapped and the faults of that time', () => {
    const faults = [fault(11, 12), fault(40, 41)]
    const { violations } = check(
      round(
        [
          operation('write', 2, 10, 20),
          ...[21, 22, 23].map((at) => operation('read', 1, at, at + 0.5)),
          operation('read', 9, 1, 2)
        ],
        { faults }
      )
    )
    const lengths = violations.map(({ history }) => history.length)
    expect(lengths).toEqual([...lengths].sort((a, b) => a - b))
    const stale = violations.find(({ what }) => what.startsWith('a read older'))!
    expect(stale.history.filter((line) => line.includes('FAULT'))).toHaveLength(1)
    expect(stale.history.join('\n')).toMatch(/1 write write 2 v2 [\s\S]*1 read read21 v1 /)
  })
})

describe('the report of the lab', () => {
  it('says how to see a violation again, shows its shortest history, and ends with 1', () => {
    const violations = [
      { what: 'the long one', history: ['a', 'b', 'c'] },
      { what: 'the short one', history: ['d'] }
    ]
    expect(violationIn({ topology: 'cluster' }, { violations, seed: 9 })).toEqual([
      'seed 9: npm run chaos -- --minutes 0.3 --seed 9 --topology cluster',
      '',
      'the short one',
      'd',
      'also: the long one'
    ])
    const silent = { what: 'it does not end', history: [] }
    expect(violationIn({ topology: 'cluster' }, { violations: [silent, ...violations], seed: 9 })).toEqual([
      'seed 9: npm run chaos -- --minutes 0.3 --seed 9 --topology cluster',
      '',
      'the short one',
      'd',
      'also: the long one',
      'also: it does not end'
    ])
    expect(exitCodeOf({ violations })).toBe(1)
    expect([
      violationIn({ topology: 'single' }, { violations: [], seed: undefined }),
      exitCodeOf({ violations: [] })
    ]).toEqual([[], 0])
  })
})

describe('the log of faults', () => {
  it('counts what struck, by kind, and neither counts nor excuses by what did not', async () => {
    const log = new FaultLog()
    await log.note('process 12 killed', false, async () => undefined)
    await log.note('process 34 killed', false, async () => undefined)
    await log.note('slots moved', true, async () => MISSED)
    expect(log.counts).toEqual({ 'process killed': 2 })
    expect(log.faults.map(({ what }) => what)).toEqual(['process 12 killed', 'process 34 killed'])
  })

  it('knows of a failover that no fault explains', async () => {
    const log = new FaultLog()
    let during = 0
    await log.note(
      'the master killed',
      true,
      async () => {
        during = nowUs()
        log.noteFailover({ from: during, to: during })
      },
      true
    )
    expect(log.counts).toEqual({ 'the master killed': 1 })
    await log.note('the master stopped for a moment', true, async () => undefined)
    const later = nowUs() + 1_000_000
    log.noteFailover({ from: later, to: Infinity })
    expect(log.faults.filter(({ failsOver }) => failsOver).map(({ what, from }) => [what, from])).toEqual([
      ['the master killed', log.faults[0]!.from],
      ['a failover that nobody ordered', later]
    ])
    log.newRound()
    expect([log.faults, log.struck]).toEqual([[], 3])
  })
})
