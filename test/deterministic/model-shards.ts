import { ACCEPTED, NEEDS_BASE } from '../../src/redis/shard-stream.js'
import type { ScriptArgument } from './model-client.js'
import { counted, ModelEntries, valueOf, type ModelEntry, type ModelValue } from './model-entries.js'
import { copyOf, newShard, type Shard } from './model-shard.js'
import {
  idOf,
  isLater,
  readOperations,
  type Id,
  type ModelOperation,
  type ModelRecord
} from './shard-records.js'

/** What happens in the scripts, told as it happens. */
export interface ShardListener {
  accepted(records: readonly ModelRecord[]): void
  /** They came again, and were known. */
  cameAgain(records: readonly ModelRecord[]): void
  settled(): void
}

const READ_PAGE = 16

/** Of one operation in a batch: what its entry becomes, when it is accepted. */
interface Decided {
  readonly operation: ModelOperation
  readonly key: string | undefined
  readonly becomes: ModelValue | undefined
  readonly status: typeof ACCEPTED | typeof NEEDS_BASE
}

/**
 * The scripts over shards, for puts, deletions, increments and events, on plain data: what the interleavings are played on.
 * Held to the scripts in Redis by test/deterministic/shard-scripts.test.ts. Other hands' guards are not modelled.
 */
export class ModelShards {
  readonly #nowMs: () => number
  readonly #listener: ShardListener
  #shards = new Map<string, Shard>()
  readonly #entries: ModelEntries
  readonly #workers = new Map<string, Map<string, number>>()
  readonly #agreed = new Map<string, string>()

  constructor(nowMs: () => number, listener: ShardListener) {
    this.#nowMs = nowMs
    this.#listener = listener
    this.#entries = new ModelEntries(nowMs)
  }

  entry(key: string): ModelEntry | undefined {
    return this.#entries.get(key)
  }

  /** The entry as a reader gets it. */
  bytes(key: string): Buffer | null {
    return this.#entries.bytes(key)
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
    const restoreEntries = this.#entries.copy()
    return () => {
      this.#shards = shards
      restoreEntries()
    }
  }

  run(script: string, keys: readonly string[], args: readonly ScriptArgument[]): unknown {
    const text = args.map(String)
    switch (script) {
      case 'append-operations':
        return this.#append(this.#shardOf(keys[0]!), keys.slice(4), args)
      case 'settle-entries':
        return this.#settle(this.#shardOf(keys[0]!), keys.slice(4), text)
      case 'take-lease': {
        const isMarked = this.#shardOf(keys[1]!).unflushed.has(keys[0]!)
        return this.#entries.takeLease(keys[0]!, args[0] as Buffer, Number(text[1]), isMarked)
      }
      case 'fill-entry':
        return this.#entries.fill(keys[0]!, args[0] as Buffer, args[1] as Buffer, Number(text[2]))
      case 'read-stream':
        return this.#read(this.#shardOf(keys[0]!), Number(text[0]))
      case 'hold-shard':
        return this.#hold(this.#shardOf(prefixOf(keys[0]!)), text[0]!, Number(text[1]))
      case 'release-shard':
        return this.#release(this.#shardOf(prefixOf(keys[0]!)), text[0]!)
      // What becomes of a letter is not modelled: the ledger goes by what the table refused.
      case 'keep-letter': {
        const [id, producer, batch] = text
        const { stream } = this.#shardOf(keys[1]!)
        const isIt = (one: (typeof stream)[number]): boolean =>
          textOf(one.id) === id && one.producer === producer && one.batch === batch
        return stream.some(isIt) ? 1 : 0
      }
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
      shard = newShard()
      this.#shards.set(name, shard)
    }
    return shard
  }

  #append(shard: Shard, entryKeys: readonly string[], args: readonly ScriptArgument[]): unknown {
    const [producer, batch, shards] = args.map(String) as [string, string, string]
    const most = Number(args[3])
    const operations = readOperations(args[7] as Buffer, args[8] as Buffer)
    const nowMs = Math.floor(this.#nowMs())
    const known = shard.producers.get(producer)
    if (known !== undefined && known.batch > Number(batch)) return [4]
    if (known?.batch === Number(batch)) {
      this.#listener.cameAgain(operations.map(({ record }) => record))
      return [1, textOf(known.id), known.statuses, this.#numbersNow(operations), 0, 0, 0, 0]
    }
    if (shard.shards !== undefined && shard.shards !== shards) return [3, Number(shard.shards)]
    const waiting = shard.total - shard.done
    if (most > 0 && waiting >= most) return [2, waiting, 0, 0, nowMs]
    let at = 0
    const decided = operations.map((operation) =>
      this.#decided(operation, operation.record.kind === 'append' ? undefined : entryKeys[at++]!, nowMs)
    )
    const id = this.#accept(shard, shards, { producer, batch }, decided)
    const statuses = decided.map(({ status }) => status).join('')
    shard.producers.set(producer, { batch: Number(batch), statuses, id })
    const numbers = decided
      .filter(({ operation }) => operation.increment !== undefined)
      .map(({ becomes }) => (becomes === undefined ? 0 : (becomes.shows as number)))
    return [1, textOf(id), statuses, doubles(numbers), shard.total - shard.done, 0, 1, nowMs]
  }

  #decided(operation: ModelOperation, key: string | undefined, nowMs: number): Decided {
    const { frame, increment } = operation
    if (key === undefined) return { operation, key, becomes: undefined, status: ACCEPTED }
    const becomes =
      increment === undefined
        ? valueOf(key, frame!, nowMs)
        : counted(this.#entries.get(key), increment, nowMs)
    return { operation, key, becomes, status: becomes === undefined ? NEEDS_BASE : ACCEPTED }
  }

  /** Answers the id that they have in the stream; none when none of them is accepted. */
  #accept(
    shard: Shard,
    shards: string,
    { producer, batch }: { producer: string; batch: string },
    decided: readonly Decided[]
  ): Id | undefined {
    const accepted = decided.filter(({ status }) => status === ACCEPTED)
    if (accepted.length === 0) return undefined
    const records = accepted.map(({ operation }) => operation.record)
    const id = idOf(Math.max(shard.lastId.ms, Math.floor(this.#nowMs())), shard.lastId)
    shard.lastId = id
    shard.shards = shards
    shard.total += records.length
    shard.stream.push({ id, producer, batch, records, total: shard.total })
    for (const { operation, key, becomes } of accepted) {
      if (key === undefined) continue
      const token = operation.increment === undefined ? becomes!.token : tokenOf(id)
      this.#entries.set(key, { ...becomes!, token, unflushed: id, untilMs: Number.POSITIVE_INFINITY })
      shard.unflushed.set(key, id)
    }
    this.#listener.accepted(records)
    return id
  }

  /** What the counters of a batch that is known already show by now. */
  #numbersNow(operations: readonly ModelOperation[]): Buffer {
    const increments = operations.filter(({ increment }) => increment !== undefined)
    return doubles(
      increments.map(({ record }) => {
        const entry = this.#entries.get(record.key)
        return entry?.is === 'value' && entry.isCounter ? (entry.shows as number) : Number.NaN
      })
    )
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
      this.#settleEntry(key, item.id, fates[index] === '0', Number(keepMs))
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

  #settleEntry(key: string, id: Id, isDropped: boolean, keepMs: number): void {
    const entry = this.#entries.get(key)
    if (entry?.is !== 'value' || entry.unflushed === undefined) {
      if (isDropped) this.#entries.delete(key)
      return
    }
    if (isLater(entry.unflushed, id)) {
      if (isDropped && entry.isCounter) this.#entries.set(key, { ...entry, isDoomed: true })
      return
    }
    const untilMs = entry.storedAtMs + entry.freshMs + keepMs
    if (isDropped || entry.isDoomed || untilMs <= this.#nowMs()) this.#entries.delete(key)
    else this.#entries.set(key, { ...entry, unflushed: undefined, untilMs })
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

/** All keys of a shard are one prefix and what it is. */
const prefixOf = (key: string): string => key.slice(0, key.lastIndexOf(':') + 1)
const textOf = (id: Id | undefined): string => (id === undefined ? '0-0' : `${id.ms}-${id.seq}`)
/** Of an entry that a script made: its last operation's id. */
const tokenOf = ({ ms, seq }: Id): string =>
  ms.toString(16).padStart(12, '0') + (seq % 65_536).toString(16).padStart(4, '0')

function doubles(numbers: readonly number[]): Buffer {
  const bytes = Buffer.alloc(8 * numbers.length)
  for (const [index, number] of numbers.entries()) bytes.writeDoubleBE(number, 8 * index)
  return bytes
}
