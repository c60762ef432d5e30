import fc from 'fast-check'
import type { ProcessOptions } from './fleet-process.js'
import type { CallFault } from './process-store.js'
import type { LoadMode, WriteMode } from './source.js'

/** What one caller does, one after the other. */
export type Operation =
  | { readonly do: 'get' | 'refresh' | 'peek' | 'put' | 'invalidate' | 'change'; readonly key: string }
  | { readonly do: 'getMany' | 'putBoth' }
  | { readonly do: 'pause'; readonly ms: number }

/** What happens to the fleet, beside what is planned for single calls, loads and writes. */
export type Fault =
  | { readonly do: 'die' | 'stop' | 'goOn' | 'disconnect'; readonly process: number }
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
  readonly options: ProcessOptions
  readonly callers: readonly Caller[]
  readonly faults: readonly Fault[]
  readonly callFaults: readonly { readonly call: number; readonly fault: CallFault }[]
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

const readerOperation: fc.Arbitrary<Operation> = fc.oneof(
  { arbitrary: reading(), weight: 3 },
  {
    arbitrary: fc.record({
      do: fc.constantFrom('change' as const, 'change' as const, 'invalidate' as const),
      key
    }),
    weight: 1
  }
)

const writerOperation: fc.Arbitrary<Operation> = fc.oneof(
  { arbitrary: reading(), weight: 3 },
  { arbitrary: fc.record({ do: fc.constant('put' as const), key }), weight: 4 },
  { arbitrary: fc.constant({ do: 'putBoth' as const }), weight: 1 },
  { arbitrary: fc.record({ do: fc.constant('invalidate' as const), key }), weight: 1 }
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

const callFault = fc.record({
  call: fc.nat(40),
  fault: fc.constantFrom<CallFault>('reply-lost', 'gives-up')
})

function planOf(operation: fc.Arbitrary<Operation>): fc.Arbitrary<Plan> {
  return fc.record({
    seed: fc.nat(),
    pace: fc.constantFrom(0, 0.02, 0.1, 0.3),
    pushes: fc.constantFrom('told' as const, 'told' as const, 'silent' as const, 'none' as const),
    skewMs: fc.array(fc.integer({ min: -30, max: 30 }), { minLength: PROCESSES, maxLength: PROCESSES }),
    options: fc.record({
      entries,
      versioned: fc.boolean(),
      whenRedisAway: fc.constantFrom('refuse' as const, 'remember' as const)
    }),
    callers: fc.array(
      fc.record({ process, operations: fc.array(operation, { minLength: 1, maxLength: 4 }) }),
      {
        minLength: 2,
        maxLength: 5
      }
    ),
    faults: fc.oneof(fc.constant<Fault[]>([]), fc.array(fault, { maxLength: 4 })),
    callFaults: fc.oneof(fc.constant([]), fc.array(callFault, { maxLength: 3 })),
    loads: fc.array(fc.constantFrom<LoadMode>('ok', 'ok', 'ok', 'slow', 'fails', 'hangs'), { maxLength: 4 }),
    writes: fc.array(fc.constantFrom<WriteMode>('ok', 'ok', 'ok', 'slow', 'fails', 'reply-lost', 'late'), {
      maxLength: 4
    })
  })
}

/** Reads, refreshes, invalidations, and changes of the source past the cache. */
export const readPlans: fc.Arbitrary<Plan> = planOf(readerOperation)
/** Writes through the cache, with reads among them. */
export const writePlans: fc.Arbitrary<Plan> = planOf(writerOperation)
