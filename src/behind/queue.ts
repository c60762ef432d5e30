import type { Clock } from '../clock.js'
import type { PayloadCodec } from '../codec/codec.js'
import { ClosedError, RedisUnavailableError, SinkRefusesError, WriteUnknownError } from '../errors.js'
import type { Events } from '../events.js'
import { queueKeys, shardKeys, type ShardKeys } from '../keys/key-schema.js'
import type { TenantId } from '../ports.js'
import type { SinkOperation } from '../sink.js'
import type { BehindStats } from '../stats.js'
import type { EntryStore } from '../tiers/entry-store.js'
import type { ShardStreams, StreamEntry } from '../redis/shard-stream.js'
import type { BehindPolicy } from '../behind-options.js'
import { Producer, type Outcome, type ProducerFact, type ProducerParts } from './producer.js'
import { assertRecordable, type Outgoing } from './record.js'
import type { Readiness } from './readiness.js'

export interface QueueParts {
  readonly namespace: string
  readonly streams: ShardStreams
  readonly store: EntryStore
  readonly readiness: Readiness
  readonly codec: PayloadCodec
  readonly events: Events
  readonly clock: Clock
}

/** Operations of one collection, or events of one name, on their way to a sink, in shards. */
export class Queue {
  readonly name: string
  readonly policy: BehindPolicy
  readonly stats: BehindStats
  readonly shards: readonly ShardKeys[]
  readonly keys: { readonly workers: string; readonly shards: string }
  /** For how long an entry may be served after it is not fresh any more. */
  readonly keepMs: number
  readonly #producers: readonly Producer[]
  readonly #parts: QueueParts
  #closed = false
  #next = 0

  constructor(name: string, policy: BehindPolicy, stats: BehindStats, keepMs: number, parts: QueueParts) {
    const { namespace } = parts
    this.name = name
    this.policy = policy
    this.stats = stats
    this.keepMs = keepMs
    this.keys = queueKeys(namespace, name)
    this.shards = Array.from({ length: policy.shards }, (_, shard) => shardKeys(namespace, name, shard))
    this.#parts = parts
    this.#producers = this.shards.map((_, shard) => new Producer(this.#producerParts(shard)))
  }

  #producerParts(shard: number): ProducerParts {
    const { streams, store, readiness, clock } = this.#parts
    const { sink, shards, limits, whenFull, writeTimeoutMs } = this.policy
    return {
      queue: this.name,
      keys: this.shards[shard]!,
      shards,
      shardsKey: this.keys.shards,
      limits,
      whenFull,
      everyPut: sink.versioned === true,
      timeoutMs: writeTimeoutMs,
      clock,
      prepare: () => readiness.of(this, shard),
      append: (request, send) => store.changing(request.entryKeys, () => streams.append(request, send)),
      reported: (fact) => this.#reported(shard, fact)
    }
  }

  /** Under a name that stands for this very operation: whoever sends it again does nothing. */
  async resubmit(shard: number, name: string, operation: Outgoing): Promise<void> {
    await new Producer({ ...this.#producerParts(shard), whenFull: 'wait' }, name).submit(operation)
  }

  /** As safe as what is accepted: once a mark has passed it, the letter is all that is left of an operation. */
  async bury(shard: number, entry: StreamEntry, letter: string, content: Buffer): Promise<boolean> {
    const { streams, readiness } = this.#parts
    return streams.bury(this.shards[shard]!, entry, letter, content, await readiness.of(this, shard))
  }

  /** Whether the sink can take such an operation; throws before anything is accepted otherwise. */
  assertTakes(kind: SinkOperation['kind'], tenant: TenantId | undefined): void {
    if (this.#closed) throw new ClosedError()
    const { sink } = this.policy
    if (!sink.kinds.includes(kind)) {
      throw new SinkRefusesError(sink.name, `takes ${sink.kinds.join(', ')}, and no ${kind}`)
    }
    if (tenant !== undefined && sink.tenants === false) {
      throw new SinkRefusesError(
        sink.name,
        'has no place for a tenant; name its column in the option "tenant"'
      )
    }
  }

  submit(shard: number, operation: Outgoing): Promise<Outcome> {
    assertRecordable(operation)
    return this.#producers[shard]!.submit(operation)
  }

  /** One more event; the shards take turns, so that each gets events in batches. */
  async append(value: unknown, tenant: TenantId | undefined): Promise<void> {
    this.assertTakes('append', tenant)
    const { codec } = this.#parts
    const { flags, bytes } = await codec.encode(value)
    const event: Outgoing = { kind: 'append', id: undefined, tenant, flags, payload: bytes }
    const outcome = await this.submit(this.#shardOfEvent(), event)
    if (outcome.kind !== 'full') return
    // As it was given: its caller may have changed it since.
    await this.writeThrough({ kind: 'append', tenant, value: await codec.decode(flags, bytes) })
  }

  /**
   * One operation past the queue, in its caller's time; false when the row stayed as it was. Rejects with the sink's own error
   * when that lies in the operation, and with `WriteUnknownError` when nobody knows whether it was committed.
   */
  async writeThrough(operation: SinkOperation): Promise<boolean> {
    const { sink } = this.policy
    try {
      return (await sink.write!(operation)) !== 'applied-in-part'
    } catch (cause) {
      if (sink.isPoison(cause)) throw cause
      throw new WriteUnknownError(this.name, { cause })
    }
  }

  /**
   * A worker with fewer shards would leave what lies in the others. While Redis is away nobody knows; the first write will
   * tell.
   */
  async assertShards(): Promise<void> {
    try {
      await this.#parts.readiness.assertShards(this)
    } catch (error) {
      if (!(error instanceof RedisUnavailableError)) throw error
    }
  }

  /** Refuses new operations. */
  close(): void {
    this.#closed = true
  }

  /** Resolves when nothing waits for Redis' answer. */
  async drain(): Promise<void> {
    await Promise.all(this.#producers.map((producer) => producer.drain()))
  }

  // The one whose turn it is until its batch has gone; so events of one moment go together, and all shards get some.
  #shardOfEvent(): number {
    for (let tried = 0; tried < this.#producers.length; tried++) {
      const shard = (this.#next + tried) % this.#producers.length
      if (this.#producers[shard]!.takesMore) {
        this.#next = shard
        return shard
      }
    }
    this.#next = (this.#next + 1) % this.#producers.length
    return this.#next
  }

  #reported(shard: number, fact: ProducerFact): void {
    const { stats } = this
    switch (fact.kind) {
      case 'accepted':
        stats.accepted += fact.operations
        if (fact.backlog !== undefined) Object.assign(stats.depth[shard]!, fact.backlog)
        return
      case 'retried':
        stats.retriedAppends++
        return
      case 'unknown':
        stats.unknown += fact.operations
        return
      case 'full': {
        stats.timesFull++
        Object.assign(stats.depth[shard]!, fact.backlog)
        const { operations, bytes, ageMs } = fact.backlog
        this.#parts.events.emit('backlogFull', { queue: this.name, shard, operations, bytes, ageMs })
      }
    }
  }
}
