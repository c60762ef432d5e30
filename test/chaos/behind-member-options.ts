/** What the lab and the processes that write behind agree on. */

export interface BehindMemberOptions {
  readonly redisPort: number
  readonly databaseUrl: string
  readonly keepsInMemory: boolean
}

/** Of each kind of operation, in one process. */
export const LANES = 3
export const COUNTERS = 6
/** Processes that write. */
export const WRITERS = 2
/** How often one is replaced by another in a round, as far as the others look for its rows. */
export const GENERATIONS = 3

/** Counters of one round. */
export const counterOf = (round: number, index: number): number => round * COUNTERS + index
/** Each row has one writer, which waits for each of its writes: so their order is known. */
export const rowOf = (round: number, place: number, generation: number, lane: number): string =>
  `${round}-${place}-${generation}-${lane}`

export interface WriterTask {
  /** Where operations are noted as they begin and end; see behind-log.ts. */
  readonly file: string
  readonly round: number
  readonly place: number
  readonly generation: number
}

/** What such a process can be asked to do. */
export type BehindCommands = {
  open(options: BehindMemberOptions): Promise<void>
  /** Writes and reads until it is told to stop. */
  write(task: WriterTask): void
  /** Ends what it does in order. */
  stop(): Promise<void>
  /** Brings operations to the tables. */
  work(): void
  /** Flushes what waits in its shards, gives them to the others, and begins anew. */
  drain(): Promise<void>
  /** Resolves when all that was acknowledged is committed. */
  flush(): Promise<void>
  /** What a caller gets now. */
  look(kind: 'R' | 'C', id: string): Promise<number | undefined>
  redisState(): string
}
