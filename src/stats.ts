/** Counts since the cache was made, in this process. */
export interface CollectionStats {
  /** Reads answered with a fresh value. */
  hits: number
  /** Of those, the ones that were answered from memory in front of Redis. */
  memoryHits: number
  /** Reads answered with a value past its `ttl`. */
  staleHits: number
  /** Reads that found nothing usable. */
  misses: number
  /** Runs of the loader that ended. */
  loads: number
  /** Of those, the ones that failed. */
  loadFailures: number
  /** Of those, the ones that found nothing. */
  notFound: number
  /** Milliseconds spent in loaders. */
  loadMs: number
  /** Loaded values that were stored. */
  fills: number
  /** Loaded values that were not stored; the event `fillRejected` says why. */
  rejectedFills: number
  /** Waits for another process's load. */
  waits: number
  /** Loads taken over from a process that was gone. */
  takeovers: number
  /** Leases that were lost while the loader ran. */
  leasesLost: number
  /** Entries declared wrong by their ids. */
  invalidations: number
  /** Writes that ended. */
  writes: number
  /** Of those, the ones that failed. */
  writeFailures: number
  /** Entries that could not be read, or failed the schema. */
  unreadable: number
}

/** What is written behind, by collection or name; counted in this process. */
export interface BehindStats {
  /** Operations that Redis acknowledged. */
  accepted: number
  /** Operations that got no answer in time. */
  unknown: number
  /** Calls to Redis that were made again because the answer did not come. */
  retriedAppends: number
  /** Times that a batch met a full shard. */
  timesFull: number
  /** Operations that this process's workers brought to the sink. */
  flushed: number
  /** The rows that they came to, after coalescing. */
  rows: number
  /** The transactions that it took. */
  batches: number
  /** The milliseconds that it took. */
  flushMs: number
  /** Batches that failed. */
  flushFailures: number
  /** Operations that were put aside for good. */
  deadLetters: number
  /**
   * What waits in each shard. `held`: a worker of this process has it, and this is how it is now; else it is what it was when this
   * process last appended to it.
   */
  readonly depth: { operations: number; bytes: number; ageMs: number; held: boolean }[]
}

export function newBehindStats(shards: number): BehindStats {
  return {
    accepted: 0,
    unknown: 0,
    retriedAppends: 0,
    timesFull: 0,
    flushed: 0,
    rows: 0,
    batches: 0,
    flushMs: 0,
    flushFailures: 0,
    deadLetters: 0,
    depth: Array.from({ length: shards }, () => ({ operations: 0, bytes: 0, ageMs: 0, held: false }))
  }
}

/** A snapshot of `cache.stats()`. */
export interface CacheStats {
  /** What is written behind, by collection or name. */
  readonly behind: Readonly<Record<string, Readonly<BehindStats>>>
  /** By the collection's name; `~` is what `getOrLoad` stores. */
  readonly collections: Readonly<Record<string, Readonly<CollectionStats>>>
  /** The sum of those. */
  readonly total: Readonly<CollectionStats>
  readonly redis: {
    readonly state: 'none' | 'starting' | 'ready' | 'away' | 'closed'
    /** Calls that Redis did not answer in time, or refused. */
    readonly failures: number
    /** Whether waiters are woken by Redis, or look by timer. */
    readonly pushes: boolean
  }
  /** Changes of the source that Redis could not be told of yet. */
  readonly pendingInvalidations: number
  /** Loads running and waiting for their turn now. */
  readonly loads: { readonly running: number; readonly queued: number }
}

export function newCollectionStats(): CollectionStats {
  return {
    hits: 0,
    memoryHits: 0,
    staleHits: 0,
    misses: 0,
    loads: 0,
    loadFailures: 0,
    notFound: 0,
    loadMs: 0,
    fills: 0,
    rejectedFills: 0,
    waits: 0,
    takeovers: 0,
    leasesLost: 0,
    invalidations: 0,
    writes: 0,
    writeFailures: 0,
    unreadable: 0
  }
}

export function sumOf(all: Iterable<CollectionStats>): CollectionStats {
  const sum = newCollectionStats()
  for (const one of all) {
    for (const name of Object.keys(sum) as (keyof CollectionStats)[]) sum[name] += one[name]
  }
  return sum
}
