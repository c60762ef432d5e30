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
export type { ClearAllOptions, ClearOptions } from './invalidation/clearing.js'
export type { Usage } from './tenants/usage.js'
export type { Ingest, IngestAppends, IngestTenants } from './cache.js'
export type { DeadLetters } from './behind/dead-letters.js'
export type { DeadLetter } from './behind/letter.js'
export type { Worker, WorkerOptions } from './behind/worker.js'
export {
  writeBehind,
  type BehindLimits,
  type BehindOptions,
  type Durability,
  type WhenFull,
  type WriteBehind
} from './behind-options.js'
export type { Claim, Mark, Sink, SinkBatch, SinkOperation } from './sink.js'
export type { PostgresSinkOptions } from './sinks/postgres-options.js'
export { postgresSink, type PostgresSink } from './sinks/postgres-sink.js'
export type { PgClient, PgPool, PgQuery, PgResult } from './sinks/postgres-tables.js'
export { writeThrough } from './write/write-through.js'
export type { Duration } from './durations.js'
export {
  BacklogFullError,
  ClosedError,
  CorralError,
  CorruptEntryError,
  DurabilityUnmetError,
  InvalidKeyError,
  InvalidLoaderResultError,
  InvalidOptionError,
  LoadFailedElsewhereError,
  LoadTimeoutError,
  NotFlushedError,
  NotWritableError,
  OverloadedError,
  RecursiveLoadError,
  RedisUnavailableError,
  TenantlessError,
  ShardsDifferError,
  SinkNotReadyError,
  SinkRefusesError,
  TenantRequiredError,
  UncacheableValueError,
  UnflushedError,
  UnknownOptionError,
  ValueTooLargeError,
  WritesFailedError,
  WriteUnknownError,
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
  ShardFact,
  StaleReason,
  WaitOutcome,
  WriteOutcome
} from './events.js'
export type {
  CacheLimits,
  CollectionOptions,
  EntryOptions,
  MemoryOptions,
  Tenancy,
  TenantBudgetOptions,
  WaitForReplicas,
  WriteFunction,
  WriteThrough
} from './options.js'
export type {
  Awaitable,
  CacheId,
  IdObject,
  IdPart,
  LoadContext,
  StandardResult,
  StandardSchema,
  TenantId
} from './ports.js'
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
export type { BehindStats, CacheStats, CollectionStats } from './stats.js'
