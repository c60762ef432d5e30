import fc from 'fast-check'
import type { ProcessOptions } from './fleet-process.js'
import type { CommandFault } from './model-client.js'
import type { LoadMode, WriteMode } from './source.js'

/** What one caller does, one after the other. */
export type Operation =
  | { readonly do: 'get' | 'refresh' | 'peek' | 'put' | 'invalidate'; readonly key: string }
  | { readonly do: 'change' | 'changeAndClear' | 'changeAndClearTag'; readonly key: string }
  | { readonly do: 'getMany' | 'putBoth' }
  /** Reads it until memory has it. */
  | { readonly do: 'keep'; readonly key: string }
  | { readonly do: 'pause'; readonly ms: number }

/** What happens to the fleet, beside what is planned for single calls, loads and writes. */
export type Fault =
  | { readonly do: 'die' | 'stop' | 'goOn' | 'disconnect' | 'cutOff'; readonly process: number }
  | { readonly do: 'flush' | 'outage' }
  | { readonly do: 'evict'; readonly key: string }
  | { readonly do: 'pause'; readonly ms: number }

export interface Caller {
  readonly process: number
  readonly operations: readonly Operation[]
}

/** Everything about a run but the order of its steps. */
export interface Plan {
  readonly seed: number
  /** How likely time passes while something else could happen. */
  readonly pace: number
  readonly pushes: 'told' | 'silent' | 'none'
  readonly skewMs: readonly number[]
  readonly slowness: number
  readonly options: ProcessOptions
  readonly callers: readonly Caller[]
  readonly faults: readonly Fault[]
  readonly commandFaults: readonly { readonly command: number; readonly fault: CommandFault }[]
  /** Calls of a process that it does not wait for, by number. */
  readonly givenUp: readonly number[]
  /** Messages of the change channel that nobody hears, by number. */
  readonly lostMessages?: readonly number[]
  readonly loads: readonly LoadMode[]
  readonly writes: readonly WriteMode[]
}

export const PROCESSES = 3
export const KEYS = ['a', 'b'] as const

const key = fc.constantFrom('a', 'a', 'a', 'b')
const process = fc.nat(PROCESSES - 1)
/** Around the lease, the guard and the lives of entries below. */
const pause = fc.constantFrom(10, 250, 500, 1_100, 2_500).map((ms) => ({ do: 'pause' as const, ms }))

const entries = fc.constantFrom<ProcessOptions['entries']>(
  { ttl: '1h' },
  { ttl: '1h', failedTtl: 0 },
  { ttl: 400, stale: 800, earlyRefresh: 1 },
  { ttl: 300, stale: 200, staleIfError: '5s', earlyRefresh: 0 },
  { ttl: 60, failedTtl: 200, earlyRefresh: 0 }
)

const reading = (): fc.Arbitrary<Operation> =>
  fc.oneof(
    { arbitrary: fc.record({ do: fc.constant('get' as const), key }), weight: 6 },
    { arbitrary: fc.constant({ do: 'getMany' as const }), weight: 2 },
    { arbitrary: fc.record({ do: fc.constantFrom('refresh' as const, 'peek' as const), key }), weight: 1 },
    { arbitrary: pause, weight: 1 }
  )

const changing: fc.Arbitrary<Operation> = fc.record({
  do: fc.constantFrom<'change' | 'changeAndClear' | 'changeAndClearTag' | 'invalidate'>(
    'change',
    'change',
    'changeAndClear',
    'changeAndClearTag',
    'invalidate'
  ),
  key
})

const readerOperation: fc.Arbitrary<Operation> = fc.oneof(
  { arbitrary: reading(), weight: 3 },
  { arbitrary: changing, weight: 1 }
)

const writerOperation: fc.Arbitrary<Operation> = fc.oneof(
  { arbitrary: reading(), weight: 3 },
  { arbitrary: fc.record({ do: fc.constant('put' as const), key }), weight: 4 },
  { arbitrary: fc.constant({ do: 'putBoth' as const }), weight: 1 },
  { arbitrary: changing, weight: 1 }
)

const fault: fc.Arbitrary<Fault> = fc.oneof(
  {
    arbitrary: fc.record({ do: fc.constantFrom('die' as const, 'stop' as const, 'goOn' as const), process }),
    weight: 3
  },
  { arbitrary: fc.record({ do: fc.constant('disconnect' as const), process }), weight: 2 },
  { arbitrary: fc.record({ do: fc.constant('evict' as const), key }), weight: 1 },
  { arbitrary: fc.record({ do: fc.constantFrom('flush' as const, 'outage' as const) }), weight: 1 },
  { arbitrary: pause, weight: 2 }
)

const commandFaults = fc.array(
  fc.record({ command: fc.nat(50), fault: fc.constantFrom<CommandFault>('reply-lost', 'refused') }),
  { maxLength: 3 }
)

const loads = fc.array(fc.constantFrom<LoadMode>('ok', 'ok', 'ok', 'slow', 'fails', 'hangs'), {
  maxLength: 4
})
const writes = fc.array(
  fc.constantFrom<WriteMode>('ok', 'ok', 'ok', 'slow', 'slow-answer', 'fails', 'reply-lost', 'late'),
  { maxLength: 4 }
)

function callers(operations: fc.Arbitrary<readonly Operation[]>): fc.Arbitrary<readonly Caller[]> {
  return fc.array(fc.record({ process, operations }), { minLength: 2, maxLength: 5 })
}

type Parts = { [Name in keyof Plan]: fc.Arbitrary<Plan[Name]> }

function planOf(parts: Pick<Parts, 'callers'> & Partial<Parts>): fc.Arbitrary<Plan> {
  return fc.record<Plan>({
    seed: fc.nat(),
    pace: fc.constantFrom(0, 0, 0.02, 0.1, 0.3),
    pushes: fc.constantFrom('told' as const, 'told' as const, 'silent' as const, 'none' as const),
    skewMs: fc.array(fc.integer({ min: -30, max: 30 }), { minLength: PROCESSES, maxLength: PROCESSES }),
    slowness: fc.constantFrom(0, 0, 0.2, 0.4),
    options: options(entries, fc.boolean()),
    faults: fc.oneof(fc.constant<Fault[]>([]), fc.array(fault, { maxLength: 4 })),
    commandFaults: fc.oneof(fc.constant([]), commandFaults),
    givenUp: fc.oneof(fc.constant([]), fc.array(fc.nat(25), { maxLength: 3 })),
    loads,
    writes,
    ...parts
  })
}

function options(
  chosen: fc.Arbitrary<ProcessOptions['entries']>,
  versioned: fc.Arbitrary<boolean>
): fc.Arbitrary<ProcessOptions> {
  return fc.record({
    entries: chosen,
    versioned,
    whenRedisAway: fc.constantFrom('refuse' as const, 'remember' as const)
  })
}

const some = (operation: fc.Arbitrary<Operation>): fc.Arbitrary<readonly Operation[]> =>
  fc.array(operation, { minLength: 1, maxLength: 4 })

const aRead: Operation = { do: 'get', key: 'a' }
const aWrite: Operation = { do: 'put', key: 'a' }
const declaredWrong: readonly Operation[] = [
  { do: 'change', key: 'a' },
  { do: 'changeAndClear', key: 'a' },
  { do: 'changeAndClearTag', key: 'a' }
]

/** Where nothing fails, and the order of things alone is in question. */
const undisturbed = {
  commandFaults: fc.constant([]),
  givenUp: fc.constant([]),
  faults: fc.constant([])
} satisfies Partial<Parts>

/** Entries that outlive the play. */
const lasting = options(fc.constant({ ttl: '1h', earlyRefresh: 0 }), fc.boolean())

const threePauses = fc.array(
  fc.constantFrom(10, 30, 60).map((ms): Operation => ({ do: 'pause', ms })),
  { minLength: 3, maxLength: 3 }
)

/** A value that has gone stale, and a source that fails: what was there may be fallen back on, unless it was declared wrong. */
const failingSource = planOf({
  options: options(
    fc.constant({ ttl: 300, staleIfError: '5s', failedTtl: 0, earlyRefresh: 0 }),
    fc.boolean()
  ),
  pace: fc.constantFrom(0, 0, 0.05),
  slowness: fc.constantFrom(0.2, 0.4),
  loads: fc
    .array(fc.constantFrom<LoadMode>('fails', 'fails-late', 'fails-late', 'ok'), { maxLength: 4 })
    .map((later) => ['ok', ...later]),
  callers: fc
    .tuple(
      process,
      callers(some(fc.oneof({ arbitrary: reading(), weight: 2 }, { arbitrary: changing, weight: 1 })))
    )
    .map(([first, later]) => [
      { process: first, operations: [{ do: 'get', key: 'a' }] },
      ...later.map((caller) => ({
        ...caller,
        operations: [{ do: 'pause' as const, ms: 500 }, ...caller.operations]
      }))
    ])
})

/** Readers of one process who come while it loads, and while another process declares wrong what it will bring home. */
const latecomers = planOf({
  pace: fc.constantFrom(0, 0, 0.02),
  loads: fc.array(fc.constantFrom<LoadMode>('late', 'late', 'slow', 'ok'), { minLength: 1, maxLength: 3 }),
  ...undisturbed,
  callers: fc
    .tuple(
      threePauses,
      fc.constantFrom<Operation>({ do: 'get', key: 'a' }, { do: 'getMany' }),
      fc.constantFrom(...declaredWrong)
    )
    .map(([pauses, first, change]) => [
      { process: 0, operations: [first] },
      { process: 1, operations: [pauses[0]!, change] },
      { process: 0, operations: [pauses[1]!, aRead, aRead] },
      { process: 0, operations: [pauses[1]!, pauses[2]!, aRead] }
    ])
})

/** Readers of one process whose answers are under way for long, while another process declares wrong what is in them. */
const slowAnswers = planOf({
  options: lasting,
  pace: fc.constantFrom(0, 0.02),
  slowness: fc.constantFrom(0.3, 0.5),
  loads: fc.constant([]),
  ...undisturbed,
  callers: fc.tuple(threePauses, fc.constantFrom(...declaredWrong)).map(([pauses, change]) => [
    { process: 0, operations: [aRead, pauses[0]!, aRead, aRead, aRead, aRead, aRead, aRead] },
    { process: 0, operations: [pauses[1]!, aRead, aRead, pauses[0]!, aRead, aRead, aRead, aRead] },
    { process: 0, operations: [pauses[2]!, aRead, pauses[1]!, aRead, aRead, aRead, aRead, aRead] },
    { process: 1, operations: [{ do: 'pause', ms: 150 }, change, pauses[2]!, aRead, change] }
  ])
})

/** Who declares a row wrong, does not hear whether Redis knows, and reads it again. */
const impatientInvalidators = planOf({
  options: lasting.map((chosen) => ({
    ...chosen,
    whenRedisAway: 'remember'
  })),
  pace: fc.constantFrom(0, 0.02),
  slowness: fc.constantFrom(0, 0.4, 0.8),
  loads: fc.constant([]),
  commandFaults: fc.array(
    fc.record({ command: fc.nat(16), fault: fc.constantFrom<CommandFault>('refused', 'reply-lost') }),
    { maxLength: 2 }
  ),
  givenUp: fc.array(fc.nat(12), { minLength: 1, maxLength: 3 }),
  faults: fc.constant([]),
  callers: fc.constant([
    { process: 0, operations: [aRead, { do: 'change', key: 'a' }, aRead, aRead] },
    { process: 0, operations: [{ do: 'pause', ms: 60 }, aRead, aRead, aRead] },
    { process: 1, operations: [aRead] }
  ])
})

/** Two writers of one row that may be cached, of whom one dies while its statement is under way. */
const dyingWriters = planOf({
  options: options(fc.constant({ ttl: '1h' }), fc.constantFrom(true, true, false)),
  pace: fc.constant(0),
  writes: fc.array(fc.constantFrom<WriteMode>('ok', 'slow', 'slow-answer', 'slow-answer'), {
    minLength: 2,
    maxLength: 2
  }),
  faults: fc.constantFrom<Fault[]>(
    [{ do: 'die', process: 0 }],
    [
      { do: 'pause', ms: 10 },
      { do: 'die', process: 0 }
    ]
  ),
  callers: fc.constantFrom([aWrite], [aRead, aWrite]).map((operations) => [
    { process: 0, operations },
    { process: 1, operations: [aWrite] }
  ])
})

/** Writers of one row who go on although Redis has not answered, and whose commands it runs late. */
const impatientWriters = planOf({
  options: options(fc.constant({ ttl: '1h' }), fc.constant(false)).map((chosen) => ({
    ...chosen,
    whenRedisAway: 'remember'
  })),
  pace: fc.constantFrom(0, 0.05),
  slowness: fc.constantFrom(0.2, 0.4),
  givenUp: fc.array(fc.nat(8), { minLength: 1, maxLength: 3 }),
  callers: fc.array(fc.record({ process, operations: fc.constantFrom([aWrite], [aRead, aWrite], [aRead]) }), {
    minLength: 2,
    maxLength: 4
  })
})

/** Until a process that cannot be told by Redis trusts what others tell it. */
const ARMED_MS = 3_200

const READ_SOON: readonly Operation[] = [{ do: 'pause', ms: 250 }, aRead]

const keptOperation: fc.Arbitrary<Operation> = fc.oneof(
  { arbitrary: fc.record({ do: fc.constant('keep' as const), key }), weight: 4 },
  { arbitrary: fc.record({ do: fc.constant('get' as const), key }), weight: 4 },
  { arbitrary: pause, weight: 4 },
  {
    // Its own changes are heard of at once, also where the news of them are late.
    arbitrary: fc.constantFrom<Operation>(
      aWrite,
      { do: 'change', key: 'a' },
      { do: 'change', key: 'a' },
      { do: 'changeAndClear', key: 'a' },
      { do: 'changeAndClearTag', key: 'a' }
    ),
    weight: 2
  }
)

const changes: fc.Arbitrary<Operation> = fc.oneof(
  { arbitrary: fc.record({ do: fc.constant('put' as const), key }), weight: 2 },
  { arbitrary: changing, weight: 3 },
  { arbitrary: pause, weight: 2 }
)

const brokenWays: fc.Arbitrary<Fault> = fc.oneof(
  {
    arbitrary: fc.record({
      do: fc.constantFrom<'cutOff' | 'disconnect' | 'stop' | 'goOn' | 'die'>(
        'cutOff',
        'cutOff',
        'stop',
        'goOn',
        'disconnect',
        'die'
      ),
      process
    }),
    weight: 4
  },
  {
    arbitrary: fc.constantFrom<Fault>({ do: 'flush' }, { do: 'outage' }, { do: 'evict', key: 'a' }),
    weight: 1
  },
  { arbitrary: pause, weight: 3 }
)

/** A process that keeps a row and reads it again and again, while its news stop or come late, and another changes the row. */
const unheardNews = planOf({
  options: lasting,
  pace: fc.constantFrom(0, 0.05),
  slowness: fc.constantFrom(0, 0.4),
  ...undisturbed,
  loads: fc.constant([]),
  writes: fc.constant([]),
  faults: fc.oneof(
    fc
      .tuple(
        fc.constantFrom(300, 600, 900),
        fc.constantFrom<'cutOff' | 'stop' | 'disconnect'>('cutOff', 'cutOff', 'stop', 'disconnect'),
        fc.constantFrom(400, 1_500, 2_500)
      )
      .map(([ms, how, stoppedMs]): Fault[] => [
        { do: 'pause', ms },
        { do: how, process: 0 },
        { do: 'pause', ms: stoppedMs },
        { do: 'goOn', process: 0 }
      ]),
    // While its answers are under way Redis forgets what it has, and with it who is to be told.
    fc.integer({ min: 1, max: 150 }).map((ms): Fault[] => [{ do: 'pause', ms }, { do: 'flush' }])
  ),
  callers: fc
    .tuple(
      fc.constantFrom(350, 700, 1_000),
      fc.constantFrom<Operation>(
        aWrite,
        { do: 'changeAndClear', key: 'a' },
        { do: 'changeAndClearTag', key: 'a' },
        { do: 'change', key: 'a' }
      )
    )
    .map(([ms, change]): readonly Caller[] => [
      {
        process: 0,
        operations: [{ do: 'keep', key: 'a' }, ...Array.from({ length: 14 }, () => READ_SOON).flat()]
      },
      {
        process: 1,
        operations: [{ do: 'pause', ms }, change, { do: 'pause', ms: 100 }, { do: 'get', key: 'b' }]
      }
    ])
})

/**
 * A process that keeps a row and changes it itself, while another caller of it reads on. The news of the change come over
 * another connection than its reply, and later: its caller asks in between.
 */
const ownChanges = planOf({
  options: lasting,
  pace: fc.constantFrom(0, 0, 0.02),
  slowness: fc.constantFrom(0, 0.2, 0.4),
  ...undisturbed,
  loads: fc.constant([]),
  writes: fc.constant([]),
  callers: fc
    .tuple(
      fc.array(
        fc.constantFrom<Operation>(
          { do: 'change', key: 'a' },
          { do: 'change', key: 'a' },
          { do: 'change', key: 'a' },
          aWrite,
          { do: 'changeAndClearTag', key: 'a' }
        ),
        { minLength: 1, maxLength: 3 }
      ),
      fc.array(fc.constantFrom<Operation>(aRead, aRead, { do: 'keep', key: 'a' }), {
        minLength: 1,
        maxLength: 6
      })
    )
    .map(([changed, read]): readonly Caller[] => [
      {
        process: 0,
        operations: changed.flatMap((change): Operation[] => [{ do: 'keep', key: 'a' }, change, aRead, aRead])
      },
      { process: 0, operations: [{ do: 'keep', key: 'a' }, ...read] }
    ])
})

/** Processes that keep values, and others that change them, told by Redis or by one another. */
const keepers = planOf({
  options: options(
    fc.constantFrom<ProcessOptions['entries']>(
      { ttl: '1h', earlyRefresh: 0 },
      { ttl: '1h', earlyRefresh: 0 },
      { ttl: 1_500, stale: 500, earlyRefresh: 0 }
    ),
    fc.boolean()
  ),
  pace: fc.constantFrom(0, 0, 0.02, 0.1),
  faults: fc.oneof(fc.constant<Fault[]>([]), fc.array(brokenWays, { minLength: 1, maxLength: 5 })),
  loads: fc.array(fc.constantFrom<LoadMode>('ok', 'ok', 'slow'), { maxLength: 3 }),
  callers: fc
    .tuple(
      fc.array(fc.record({ process, operations: fc.array(keptOperation, { minLength: 2, maxLength: 6 }) }), {
        minLength: 1,
        maxLength: 3
      }),
      fc.array(fc.record({ process, operations: fc.array(changes, { minLength: 1, maxLength: 4 }) }), {
        minLength: 1,
        maxLength: 2
      })
    )
    .map(([readers, changers]) => [...readers, ...changers])
})

/** With values in memory, and news from Redis or from one another, of which some are lost. */
export const memoryPlans: fc.Arbitrary<Plan> = fc
  .record({
    plan: fc.oneof(
      { arbitrary: keepers, weight: 6 },
      { arbitrary: unheardNews, weight: 4 },
      { arbitrary: ownChanges, weight: 1 }
    ),
    pushes: fc.constantFrom<Plan['pushes']>('told', 'told', 'none'),
    lostMessages: fc.array(fc.nat(12), { maxLength: 3 })
  })
  .map(({ plan, pushes, lostMessages }) => {
    const kept = { ...plan, pushes, options: { ...plan.options, memory: true } }
    if (pushes !== 'none') return kept
    const wait: Operation = { do: 'pause', ms: ARMED_MS }
    const late: Fault = { do: 'pause', ms: ARMED_MS }
    const callers = plan.callers.map((caller) => ({ ...caller, operations: [wait, ...caller.operations] }))
    return { ...kept, lostMessages, callers, faults: [late, ...plan.faults] }
  })

/** Reads, refreshes, invalidations, and changes of the source past the cache. */
export const readPlans: fc.Arbitrary<Plan> = fc.oneof(
  { arbitrary: planOf({ callers: callers(some(readerOperation)) }), weight: 5 },
  { arbitrary: failingSource, weight: 2 },
  { arbitrary: latecomers, weight: 1 },
  { arbitrary: slowAnswers, weight: 1 },
  { arbitrary: impatientInvalidators, weight: 1 }
)
/** Writes through the cache, with reads among them. */
export const writePlans: fc.Arbitrary<Plan> = fc.oneof(
  { arbitrary: planOf({ callers: callers(some(writerOperation)) }), weight: 5 },
  { arbitrary: dyingWriters, weight: 2 },
  { arbitrary: impatientWriters, weight: 1 }
)
