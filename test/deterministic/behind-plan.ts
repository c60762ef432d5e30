import fc from 'fast-check'
import { COUNTER } from './behind-ledger.js'
import type { CommandFault } from './model-client.js'
import type { SinkMode } from './model-database.js'

/** What one caller does, one after the other. Events have no key. */
export type BehindOperation =
  | { readonly do: 'put' | 'delete'; readonly key: Key | typeof COUNTER }
  | { readonly do: 'increment'; readonly key: typeof COUNTER }
  | { readonly do: 'append' }
  | { readonly do: 'pause'; readonly ms: number }

export type BehindFault =
  | { readonly do: 'die' | 'stop' | 'goOn' | 'disconnect'; readonly process: number }
  | { readonly do: 'evict'; readonly key: Key | typeof COUNTER }
  /** Redis goes on as a replica that heard nothing after `mark`. */
  | { readonly do: 'mark' | 'loseTail' }
  | { readonly do: 'pause'; readonly ms: number }

export interface BehindPlan {
  readonly seed: number
  readonly pace: number
  readonly slowness: number
  /**
   * Of writer 0 and writer 1. Of a process only one caller writes rows, and one sets or deletes the counter: so no two calls
   * become one but increments, whose sum tells them apart.
   */
  readonly writers: readonly { readonly process: number; readonly operations: readonly BehindOperation[] }[]
  readonly faults: readonly BehindFault[]
  readonly commandFaults: readonly { readonly command: number; readonly fault: CommandFault }[]
  readonly givenUp: readonly number[]
  readonly sink: readonly SinkMode[]
  /** Increments that the table never takes, by the order in which the counter is changed. */
  readonly poison: readonly number[]
  readonly shards: number
}

/** Two that write, and two that work: numbers 2 and 3. */
export const WRITERS = 2
export const PROCESSES = 4
export const KEYS = ['a', 'b'] as const
type Key = (typeof KEYS)[number]

const key = fc.constantFrom<Key>('a', 'a', 'b')
const process = fc.nat(PROCESSES - 1)
const pause = fc.constantFrom(5, 40, 150, 400, 900).map((ms) => ({ do: 'pause' as const, ms }))

const rowOperation: fc.Arbitrary<BehindOperation> = fc.oneof(
  {
    arbitrary: fc.record({ do: fc.constantFrom('put' as const, 'put' as const, 'delete' as const), key }),
    weight: 5
  },
  { arbitrary: pause, weight: 2 }
)
const eventOperation: fc.Arbitrary<BehindOperation> = fc.oneof(
  { arbitrary: fc.constant<BehindOperation>({ do: 'append' }), weight: 4 },
  { arbitrary: pause, weight: 1 }
)

const increment = fc.constant<BehindOperation>({ do: 'increment', key: COUNTER })
const countOperation: fc.Arbitrary<BehindOperation> = fc.oneof(
  { arbitrary: increment, weight: 6 },
  {
    arbitrary: fc.record({
      do: fc.constantFrom('put' as const, 'delete' as const),
      key: fc.constant(COUNTER)
    }),
    weight: 2
  },
  { arbitrary: pause, weight: 2 }
)
const incrementOperation: fc.Arbitrary<BehindOperation> = fc.oneof(
  { arbitrary: increment, weight: 4 },
  { arbitrary: pause, weight: 1 }
)

const fault: fc.Arbitrary<BehindFault> = fc.oneof(
  {
    arbitrary: fc.record({
      do: fc.constantFrom<'die' | 'stop' | 'goOn' | 'disconnect'>(
        'die',
        'stop',
        'stop',
        'goOn',
        'disconnect'
      ),
      process
    }),
    weight: 6
  },
  {
    arbitrary: fc.record({
      do: fc.constant('evict' as const),
      key: fc.constantFrom<Key | typeof COUNTER>('a', 'b', COUNTER, COUNTER)
    }),
    weight: 2
  },
  { arbitrary: pause, weight: 4 }
)

/** Sometimes Redis loses what it accepted between two moments. */
const faults: fc.Arbitrary<readonly BehindFault[]> = fc
  .record({
    all: fc.array(fault, { maxLength: 5 }),
    loses: fc.constantFrom(false, false, true),
    at: fc.nat(4),
    for: fc.constantFrom(20, 100, 400)
  })
  .map(({ all, loses, at, for: ms }) => {
    if (!loses) return all
    const tail: BehindFault[] = [{ do: 'mark' }, { do: 'pause', ms }, { do: 'loseTail' }]
    return [...all.slice(0, at), ...tail, ...all.slice(at)]
  })

type Writers = BehindPlan['writers']

const rowsAndEvents: fc.Arbitrary<Writers> = fc
  .tuple(
    fc.array(rowOperation, { minLength: 1, maxLength: 5 }),
    fc.array(rowOperation, { maxLength: 4 }),
    fc.array(eventOperation, { minLength: 1, maxLength: 4 }),
    fc.array(eventOperation, { maxLength: 3 })
  )
  .map(([rows, otherRows, events, otherEvents]) => [
    { process: 0, operations: rows },
    { process: 1, operations: otherRows },
    { process: 0, operations: events },
    { process: 1, operations: otherEvents }
  ])

/** A counter, and some rows in the same batches. */
const counts: fc.Arbitrary<Writers> = fc
  .tuple(
    fc.array(countOperation, { minLength: 1, maxLength: 4 }),
    fc.array(countOperation, { maxLength: 4 }),
    fc.array(incrementOperation, { maxLength: 3 }),
    fc.array(rowOperation, { maxLength: 2 })
  )
  .map(([counted, otherCounted, more, rows]) => [
    { process: 0, operations: counted },
    { process: 1, operations: otherCounted },
    { process: 0, operations: more },
    { process: 1, operations: rows }
  ])

const anyPlans: fc.Arbitrary<BehindPlan> = fc.record({
  seed: fc.nat(),
  pace: fc.constantFrom(0, 0, 0.02, 0.1),
  slowness: fc.constantFrom(0, 0.2, 0.5),
  writers: fc.oneof(rowsAndEvents, counts),
  faults,
  commandFaults: fc.array(
    fc.record({
      command: fc.nat(40),
      fault: fc.constantFrom<CommandFault>('reply-lost', 'reply-lost', 'refused')
    }),
    { maxLength: 3 }
  ),
  givenUp: fc.oneof(fc.constant([]), fc.array(fc.nat(12), { maxLength: 3 })),
  sink: fc.array(
    fc.constantFrom<SinkMode>(
      'ok',
      'ok',
      'slow',
      'fails',
      'reply-lost',
      'reply-lost',
      'stops',
      'stops-inside'
    ),
    { maxLength: 8 }
  ),
  poison: fc.oneof(
    { arbitrary: fc.constant([]), weight: 4 },
    { arbitrary: fc.array(fc.nat(6), { minLength: 1, maxLength: 2 }), weight: 1 }
  ),
  shards: fc.constantFrom(1, 1, 2)
})

/**
 * A row and a counter that is not there yet go in one batch, of which Redis takes the row alone. Its answer is lost, the row is
 * applied, and Redis forgets the batch; somebody else makes the counter before the batch comes again.
 */
const forgottenInPart: fc.Arbitrary<BehindPlan> = fc
  .record({ seed: fc.nat(), command: fc.nat(3), forgetsMs: fc.constantFrom(240, 300, 400) })
  .map(({ seed, command, forgetsMs }) => {
    const increments: BehindOperation = { do: 'increment', key: COUNTER }
    const pause: BehindOperation = { do: 'pause', ms: 150 }
    return {
      seed,
      pace: 0,
      slowness: 0,
      writers: [
        { process: 0, operations: [{ do: 'pause', ms: forgetsMs }, pause, increments, pause, increments] },
        { process: 1, operations: [increments] },
        { process: 1, operations: [{ do: 'put', key: 'a' }] }
      ],
      faults: [
        { do: 'mark' },
        { do: 'pause', ms: 1 },
        { do: 'disconnect', process: 1 },
        { do: 'pause', ms: forgetsMs },
        { do: 'loseTail' }
      ],
      commandFaults: [{ command, fault: 'reply-lost' }],
      givenUp: [],
      sink: [],
      poison: [],
      shards: 1
    }
  })

export const behindPlans: fc.Arbitrary<BehindPlan> = fc.oneof(
  { arbitrary: anyPlans, weight: 7 },
  { arbitrary: forgottenInPart, weight: 1 }
)
