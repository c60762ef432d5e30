export { createCache, type CacheOptions } from './create-cache.js'
export type { AdHocReads, Cache, CacheControl, GetOrLoadOptions } from './cache.js'
export type { Collection, CollectionReads, CollectionTenants, ReadOptions } from './collection.js'
export type { Duration } from './durations.js'
export {
  ClosedError,
  CorralError,
  CorruptEntryError,
  InvalidKeyError,
  InvalidLoaderResultError,
  InvalidOptionError,
  LoadFailedElsewhereError,
  LoadTimeoutError,
  OverloadedError,
  RecursiveLoadError,
  RedisUnavailableError,
  TenantRequiredError,
  UncacheableValueError,
  ValueTooLargeError,
  type CorralErrorCode,
  type FailureReport
} from './errors.js'
export type {
  CacheEvents,
  EventName,
  KeyFact,
  Listener,
  LoadReason,
  RejectionReason,
  StaleReason,
  WaitOutcome
} from './events.js'
export type { CacheLimits, CollectionOptions, EntryOptions, Tenancy } from './options.js'
export type { Awaitable, CacheId, IdObject, IdPart, LoadContext, StandardSchema, TenantId } from './ports.js'
export type { Lookup } from './read/request.js'
export type { RedisInput } from './redis/client.js'
export type { CacheStats, CollectionStats } from './stats.js'
