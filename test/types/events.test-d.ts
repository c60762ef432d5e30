/* What the compiler knows of events, counts and errors. */
import { expectTypeOf } from 'vitest'
import {
  createCache,
  CorralError,
  InvalidOptionError,
  LoadFailedElsewhereError,
  UncacheableValueError,
  WritesFailedError,
  type CacheEvents,
  type CacheStats,
  type CollectionStats,
  type CorralErrorCode,
  type EventName,
  type FailureReport,
  type LoadReason,
  type RejectionReason,
  type WaitOutcome
} from '../../src/index.js'

const cache = createCache({ namespace: 'shop' })

// Each event has its own payload.
const stop = cache.on('hit', (fact) => {
  expectTypeOf(fact.key).toEqualTypeOf<string>()
  expectTypeOf(fact.collection).toEqualTypeOf<string>()
  expectTypeOf(fact.source).toEqualTypeOf<'memory' | 'redis'>()
  expectTypeOf(fact.ageMs).toEqualTypeOf<number>()
})
expectTypeOf(stop).toEqualTypeOf<() => void>()
cache.on('load', ({ reason }) => expectTypeOf(reason).toEqualTypeOf<LoadReason>())
cache.on('fillRejected', ({ reason }) => expectTypeOf(reason).toEqualTypeOf<RejectionReason>())
cache.on('waited', ({ outcome }) => expectTypeOf(outcome).toEqualTypeOf<WaitOutcome>())
cache.on('loadFailed', ({ error }) => expectTypeOf(error).toBeUnknown())
cache.on('invalidated', ({ keys }) => expectTypeOf(keys).toEqualTypeOf<readonly string[]>())
cache.on('listenerFailed', ({ event }) => expectTypeOf(event).toEqualTypeOf<EventName>())
// @ts-expect-error -- no such event
cache.on('hits', () => undefined)
cache.on('miss', (fact) => {
  // @ts-expect-error -- a miss has no age
  return fact.ageMs
})
expectTypeOf<EventName>().toEqualTypeOf<keyof CacheEvents>()

// No payload and no count is `any`.
type AnyIn<T> = { [K in keyof T]: 0 extends 1 & T[K] ? K : never }[keyof T]
type AnyInEvents = { [Name in EventName]: AnyIn<CacheEvents[Name]> }[EventName]
expectTypeOf<AnyInEvents>().toBeNever()
expectTypeOf<AnyIn<CacheStats>>().toBeNever()

expectTypeOf(cache.stats()).toEqualTypeOf<CacheStats>()
expectTypeOf(cache.stats().total.hits).toEqualTypeOf<number>()
expectTypeOf(cache.stats().collections['products']).toEqualTypeOf<Readonly<CollectionStats> | undefined>()
// @ts-expect-error -- counts are for reading
cache.stats().total.hits = 0

// Errors are one family; the code tells them apart.
declare const error: unknown
if (error instanceof CorralError) {
  expectTypeOf(error.code).toEqualTypeOf<CorralErrorCode>()
  // @ts-expect-error -- no such code
  void (error.code === 'INVALID_OPTIONS')
}
if (error instanceof InvalidOptionError) expectTypeOf(error.option).toEqualTypeOf<string>()
if (error instanceof UncacheableValueError) expectTypeOf(error.path).toEqualTypeOf<string>()
if (error instanceof LoadFailedElsewhereError) expectTypeOf(error.cause).toEqualTypeOf<FailureReport>()
if (error instanceof WritesFailedError) {
  expectTypeOf(error.failures).toEqualTypeOf<ReadonlyMap<unknown, unknown>>()
}
