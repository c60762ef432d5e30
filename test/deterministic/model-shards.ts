import { FIRST_ID, idOf, readRecords, type Id, type ModelRecord } from './shard-records.js'
import type { ScriptArgument } from './model-client.js'

/** An entry as a reader finds it: what it shows, and the operation that the source does not have yet. */
export interface ModelEntry {
  /** The record of the operation that made it. */
  readonly shows: ModelRecord
  /** Undefined once it is settled. */
  unflushed: Id | undefined
}

interface StreamItem {
  readonly id: Id
  readonly producer: string
  readonly batch: string
  readonly records: readonly ModelRecord[]
  /** Operations accepted up to and with this one. */
  readonly total: number
}

interface Shard {
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

/** What happens in the scripts, told as it happens. */
export interface ShardListener {
  accepted(records: readonly ModelRecord[]): void
  settled(): void
}

const READ_PAGE = 16

/**
 * The scripts over shards, for puts, deletions and events, on plain data: what the interleavings are played on. Held to the
 * scripts in Redis by test/deterministic/shard-scripts.test.ts. Increments and other hands' guards are not modelled.
 */
export class ModelShards {
  readonly #nowMs: () => number
  readonly #listener: ShardListener
  #shards = new Map<string, Shard>()
  #entries = new Map<string, ModelEntry>()
  readonly #workers = new Map<string, Map<string, number>>()
  readonly #agreed = new Map<string, string>()

  constructor(nowMs: () => number, listener: ShardListener) {
    this.#nowMs = nowMs
    this.#listener = listener
  }

  entry(key: string): ModelEntry | undefined {
    return this.#entries.get(key)
  }

  /** Whether readers that find no entry wait for the flush. */
  isMarked(key: string): boolean {
    return [...this.#shards.values()].some(({ unflushed }) => unflushed.has(key))
  }

  get waiting(): number {
    return [...this.#shards.values()].reduce((sum, { stream }) => sum + stream.length, 0)
  }

  /** Somebody deletes an entry past the library, or Redis evicts it. */
  evict(key: string): void {
    this.#entries.delete(key)
  }

  /** Everything as it is now, for `restore`: as a replica has it that hears no more. */
  copy(): () => void {
    const shards = new Map([...this.#shards].map(([name, shard]) => [name, copyOf(shard)]))
    const entries = new Map([...this.#entries].map(([key, entry]) => [key, { ...entry }]))
    return () => {
      this.#shards = shards
      this.#entries = entries
    }
  }

  run(script: string, keys: readonly string[], args: readonly ScriptArgument[]): unknown {
    const text = args.map(String)
    switch (script) {
      case 'append-operations':
        return this.#append(this.#shardOf(keys[0]!), keys.slice(4), args)
      case 'settle-entries':
        return this.#settle(this.#shardOf(keys[0]!), keys.slice(4), text)
      case 'read-stream':
        return this.#read(this.#shardOf(keys[0]!), Number(text[0]))
      case 'hold-shard':
        return this.#hold(this.#shardOf(prefixOf(keys[0]!)), text[0]!, Number(text[1]))
      case 'release-shard':
        return this.#release(this.#shardOf(prefixOf(keys[0]!)), text[0]!)
      case 'announce-worker':
        return this.#announce(keys[0]!, text[0]!, Number(text[1]))
      case 'agree-on-shards':
        this.#agreed.set(keys[0]!, this.#agreed.get(keys[0]!) ?? text[0]!)
        return Buffer.from(this.#agreed.get(keys[0]!)!)
      default:
        throw new Error(`The modelled shards have no script ${script}`)
    }
  }

  #shardOf(key: string): Shard {
    const name = prefixOf(key)
    let shard = this.#shards.get(name)
    if (shard === undefined) {
      shard = {
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
      this.#shards.set(name, shard)
    }
    return shard
  }

  #append(shard: Shard, entryKeys: readonly string[], args: readonly ScriptArgument[]): unknown {
    const [producer, batch, shards] = args.map(String) as [string, string, string]
    const most = Number(args[3])
    const records = readRecords(args[7] as Buffer)
    const known = shard.producers.get(producer)
    if (known !== undefined && known.batch > Number(batch)) return [4]
    if (known?.batch === Number(batch))
      return [1, textOf(known.id), known.statuses, Buffer.alloc(0), 0, 0, 0, 0]
    if (shard.shards !== undefined && shard.shards !== shards) return [3, Number(shard.shards)]
    const waiting = shard.total - shard.done
    if (most > 0 && waiting >= most) return [2, waiting, 0, 0, this.#nowMs()]
    const id = idOf(Math.max(shard.lastId.ms, Math.floor(this.#nowMs())), shard.lastId)
    shard.lastId = id
    shard.shards = shards
    shard.total += records.length
    shard.stream.push({ id, producer, batch, records, total: shard.total })
    let at = 0
    for (const record of records) {
      if (record.kind === 'append') continue
      const key = entryKeys[at++]!
      this.#entries.set(key, { shows: record, unflushed: id })
      shard.unflushed.set(key, id)
    }
    const statuses = '1'.repeat(records.length)
    shard.producers.set(producer, { batch: Number(batch), statuses, id })
    this.#listener.accepted(records)
    return [
      1,
      textOf(id),
      statuses,
      Buffer.alloc(0),
      shard.total - shard.done,
      0,
      1,
      Math.floor(this.#nowMs())
    ]
  }

  #settle(shard: Shard, entryKeys: readonly string[], args: readonly string[]): unknown {
    const [id, producer, batch, keepMs, fates, isLast] = args as [
      string,
      string,
      string,
      string,
      string,
      string
    ]
    const item = shard.stream.find((one) => textOf(one.id) === id)
    if (item === undefined || item.producer !== producer || item.batch !== batch) return 0
    for (const [index, key] of entryKeys.entries()) {
      const entry = this.#entries.get(key)
      const isDropped = fates[index] === '0' || Number(keepMs) < 0
      if (entry?.unflushed === undefined) {
        if (isDropped) this.#entries.delete(key)
      } else if (!isLater(entry.unflushed, item.id)) {
        if (isDropped) this.#entries.delete(key)
        else entry.unflushed = undefined
      }
      const mark = shard.unflushed.get(key)
      if (mark !== undefined && !isLater(mark, item.id)) shard.unflushed.delete(key)
    }
    if (isLast === '1') {
      shard.stream = shard.stream.filter((one) => isLater(one.id, item.id))
      shard.done = item.total
    }
    this.#listener.settled()
    return 1
  }

  #read({ stream }: Shard, most: number): unknown {
    const flat: (string | Buffer)[] = []
    let first: number | undefined
    for (let from = 0; from < stream.length; from += READ_PAGE) {
      for (const { id, producer, batch, records, total } of stream.slice(from, from + READ_PAGE)) {
        flat.push(textOf(id), producer, batch, Buffer.concat(records.map(({ bytes }) => bytes)))
        first ??= total
        if (total - first >= most) return flat
      }
    }
    return flat
  }

  #hold(shard: Shard, worker: string, lifeMs: number): unknown {
    const nowMs = this.#nowMs()
    const { owner } = shard
    const isMine = owner === undefined || owner.name === worker || owner.untilMs <= nowMs
    if (isMine) shard.owner = { name: worker, untilMs: nowMs + lifeMs }
    const oldest = shard.stream[0]?.id.ms ?? 0
    return [isMine ? 1 : 0, shard.total - shard.done, 0, oldest, Math.floor(nowMs), shard.flushes]
  }

  #release(shard: Shard, worker: string): unknown {
    if (shard.owner?.name !== worker) return 0
    shard.owner = undefined
    return 1
  }

  #announce(key: string, worker: string, lifeMs: number): unknown {
    const workers = this.#workers.get(key) ?? new Map<string, number>()
    this.#workers.set(key, workers)
    if (lifeMs > 0) workers.set(worker, this.#nowMs() + lifeMs)
    else workers.delete(worker)
    for (const [name, untilMs] of workers) if (untilMs <= this.#nowMs()) workers.delete(name)
    return [...workers.keys()].map((name) => Buffer.from(name))
  }
}

function copyOf(shard: Shard): Shard {
  const { stream, producers, unflushed } = shard
  return { ...shard, stream: [...stream], producers: new Map(producers), unflushed: new Map(unflushed) }
}

/** All keys of a shard are one prefix and what it is. */
const prefixOf = (key: string): string => key.slice(0, key.lastIndexOf(':') + 1)
const textOf = (id: Id | undefined): string => (id === undefined ? '0-0' : `${id.ms}-${id.seq}`)
const isLater = (one: Id, other: Id): boolean =>
  one.ms > other.ms || (one.ms === other.ms && one.seq > other.seq)
