import type { RedisOptions } from 'ioredis'
import type { Row } from './history.js'

/** What the lab and its members agree on. */

export type RedisAddress =
  | { readonly kind: 'options'; readonly options: RedisOptions }
  | { readonly kind: 'cluster'; readonly nodes: readonly { host: string; port: number }[] }

export interface MemberOptions {
  readonly redis: RedisAddress
  readonly databaseUrl: string
  readonly limits: { readonly commandTimeout: number; readonly lease: number; readonly writeLease: number }
  /** The life of a steady entry. */
  readonly ttlMs: number
  /** For how long at most values are kept in this process; 0 keeps none. */
  readonly memoryTtlMs: number
}

/** `steady` rows stay for long, `brief` ones go stale and are refreshed. */
export const COLLECTIONS = ['steady', 'brief'] as const
/** In each of them. */
export const ROWS = 6

/** What a member can be asked to do. */
export type MemberCommands = {
  open(options: MemberOptions): Promise<void>
  /** @param file where what begins from now on is noted */
  start(file: string): void
  /** Ends what it does in order; answers how many operations it began. */
  stop(): Promise<number>
  /** The calls that are under way, and for how long. */
  underWay(): string[]
  /** What a caller gets now. */
  look(name: string, id: number): Promise<Row | undefined>
  /** Invalidations that Redis has not been told of. */
  pending(): number
  redisState(): string
}
