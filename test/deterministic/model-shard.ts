import { FIRST_ID, type Id, type ModelRecord } from './shard-records.js'

export interface StreamItem {
  readonly id: Id
  readonly producer: string
  readonly batch: string
  readonly records: readonly ModelRecord[]
  /** Operations accepted up to and with this one. */
  readonly total: number
}

/** What a shard has in Redis, beside its entries. */
export interface Shard {
  stream: StreamItem[]
  lastId: Id
  total: number
  done: number
  flushes: number
  shards: string | undefined
  /** By producer: its last batch, and what became of it. */
  producers: Map<string, { batch: number; statuses: string; id: Id | undefined }>
  /** Keys with something unflushed, by the id of the last. */
  unflushed: Map<string, Id>
  owner: { name: string; untilMs: number } | undefined
}

export function newShard(): Shard {
  return {
    stream: [],
    lastId: FIRST_ID,
    total: 0,
    done: 0,
    flushes: 0,
    shards: undefined,
    producers: new Map(),
    unflushed: new Map(),
    owner: undefined
  }
}

export function copyOf(shard: Shard): Shard {
  const { stream, producers, unflushed } = shard
  return { ...shard, stream: [...stream], producers: new Map(producers), unflushed: new Map(unflushed) }
}
