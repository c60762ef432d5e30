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
  /** Runs of the loader that ended; of those, failed ones and ones that found nothing. */
  loads: number
  loadFailures: number
  notFound: number
  /** Milliseconds spent in loaders. */
  loadMs: number
  /** Loaded values stored, and ones not stored. */
  fills: number
  rejectedFills: number
  /** Waits for another process's load, and loads taken over from a process that was gone. */
  waits: number
  takeovers: number
  leasesLost: number
  invalidations: number
  /** Writes that ended; of those, ones that failed. */
  writes: number
  writeFailures: number
  /** Entries that could not be read, or failed the schema. */
  unreadable: number
}

export interface CacheStats {
  readonly collections: Readonly<Record<string, Readonly<CollectionStats>>>
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
