export { createCache, type CacheOptions } from './create-cache.js'
export type { AdHocReads, GetOrLoadOptions, TaggedOptions, TagRef } from './ad-hoc.js'
export type {
  Cache,
  CacheControl,
  TenantCache,
  WriteOptions,
  WriteTransaction
} from './cache.js'
export type {
  Collection,
  CollectionReads,
  CollectionTenants,
  CollectionWrites,
  EntryRef,
  InvalidateOptions,
  InvalidationOutcome,
  ReadOptions,
  Written
} from './collection.js'
export type { Cleaning, CleaningReport } from './invalidation/cleaning.js'
export type { ClearOptions } from './invalidation/clearing.js'
export type { Usage } from './tenants/usage.js'
export { writeThrough } from './write/write-through.js'
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
  NotWritableError,
  OverloadedError,
  RecursiveLoadError,
  RedisUnavailableError,
  TenantlessError,
  TenantRequiredError,
  UncacheableValueError,
  UnknownOptionError,
  ValueTooLargeError,
  WritesFailedError,
  WriteTimeoutError,
  type CorralErrorCode,
  type FailureReport
} from './errors.js'
export type {
  AreaFact,
  CacheEvents,
  EventName,
  KeyFact,
  Listener,
  LoadReason,
  RejectionReason,
  StaleReason,
  WaitOutcome,
  WriteOutcome
} from './events.js'
export type {
  CacheLimits,
  CollectionOptions,
  EntryOptions,
  Tenancy,
  TenantBudgetOptions,
  WriteFunction,
  WriteThrough
} from './options.js'
export type { Awaitable, CacheId, IdObject, IdPart, LoadContext, StandardSchema, TenantId } from './ports.js'
export type { Lookup } from './tiers/request.js'
export type { RedisInput } from './redis/client.js'
export type {
  CacheHealth,
  MemoryHealth,
  RedisErrorClass,
  RedisHealth,
  SeenError,
  WakeUpHealth
} from './health.js'
export type { CacheStats, CollectionStats } from './stats.js'
