import type { CacheId, TenantId } from './ports.js'

/*
 * Where written-behind operations end: a database that can do two things in one transaction, apply a batch and note
 * how far it got. `postgresSink` is one; `sinkContract` of `corral/testing` holds any other to the same promises.
 *
 *   take    the epoch of a shard grows, and whoever had an older one can apply nothing any more
 *   apply   in ONE transaction: lock the shard's row · compare the epoch · apply · store the marks · commit
 *
 * With both kept, an operation takes effect once: whether a worker died, was stopped and came back, applied a batch and
 * never heard so, or Redis gave it the same operation again.
 */

/** One change of one thing, or one event. Of a key there is at most one in a batch, but for the puts of a sink with `versioned`. */
export type SinkOperation<Id extends CacheId = CacheId, Value = unknown> =
  /** The row is this now. `replaces`: it was deleted before, so nothing of an older row may remain. */
  | {
      readonly kind: 'put'
      readonly id: Id
      readonly tenant: TenantId | undefined
      readonly value: Value
      readonly replaces: boolean
    }
  /** The number is larger by so much; where there is no row, it is so much. */
  | {
      readonly kind: 'increment'
      readonly id: Id
      readonly tenant: TenantId | undefined
      readonly by: number
    }
  /** There is no such row. */
  | { readonly kind: 'delete'; readonly id: Id; readonly tenant: TenantId | undefined }
  /** One more event. */
  | { readonly kind: 'append'; readonly tenant: TenantId | undefined; readonly value: Value }

/**
 * How far operations of one producer have been applied: up to and including number `index` of its batch `batch`, but for those
 * of this batch that Redis had refused. A sink keeps all of it and reads none of it.
 */
export interface Mark {
  readonly batch: number
  readonly index: number
  /** Numbers below `index` of operations that were not in the stream; almost always none. */
  readonly without: readonly number[]
}

/** What `take` answers: the right to apply to a shard, and how far each producer's operations are applied. */
export interface Claim {
  /** Larger than every one before it. */
  readonly epoch: number
  readonly marks: ReadonlyMap<string, Mark>
}

/** What is to be applied to a shard in one transaction. */
export interface SinkBatch<Id extends CacheId = CacheId, Value = unknown> {
  /** Namespace, queue and number of the shard: `shop/views/3`. */
  readonly shard: string
  /** The one that `take` answered. A batch with another one is fenced. */
  readonly epoch: number
  /** In the order in which they were accepted, coalesced. May be empty, when only marks are to be stored. */
  readonly operations: readonly SinkOperation<Id, Value>[]
  /** To be stored in the same transaction; they replace what `take` would answer for these producers. */
  readonly marks: ReadonlyMap<string, Mark>
}

/** Where written-behind operations end. `sinkContract` of `corral/testing` holds one to what stands here. */
export interface Sink<Id extends CacheId = CacheId, Value = unknown> {
  /** For messages and events, such as `postgres:product_views`. */
  readonly name: string
  /** False: operations that carry a tenant are refused when they are made. Default true. */
  readonly tenants?: boolean
  /**
   * True: of several puts of a row the one with the highest version counts, whichever was accepted last. So `apply` gets all of
   * them, in their order. Default false.
   */
  readonly versioned?: boolean
  /** Kinds it can apply; an operation of another kind is refused when it is made. */
  readonly kinds: readonly SinkOperation['kind'][]
  /** Whether everything is there that it needs. Rejects with what is missing and how to make it. */
  check(): Promise<void>
  /**
   * Takes a shard over. Waits for a transaction on the shard that is under way, so that its outcome is in the marks, and
   * then fences it: no batch with an older epoch commits after this resolved.
   */
  take(shard: string): Promise<Claim>
  /**
   * Applies a batch and stores its marks in one transaction. `applied-in-part`: some rows stayed as they were, because they are
   * newer; what was put meanwhile is not served any more. `fenced`: the epoch is not the shard's any more; nothing was
   * done. When it rejects nobody knows what happened: the worker takes the shard again and reads the marks.
   */
  apply(batch: SinkBatch<Id, Value>): Promise<'applied' | 'applied-in-part' | 'fenced'>
  /** Whether this rejection of `apply` lies in an operation itself, so that it would fail alone and for ever. */
  isPoison(error: unknown): boolean
  /**
   * One operation at once, outside of any shard: for `whenFull: 'write-through'`. Resolves with `'applied-in-part'` when the row
   * stayed as it was; with anything else the row is written.
   */
  write?(operation: SinkOperation<Id, Value>): Promise<unknown>
}
