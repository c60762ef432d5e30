import type { Claim, Mark, Sink, SinkBatch, SinkOperation } from '../../src/sink.js'
import { COUNTER, type BehindLedger } from './behind-ledger.js'
import type { Shown } from './model-entries.js'
import type { Process, World } from './world.js'

/**
 * How a call of the sink goes. `reply-lost`: it is done, and its caller does not hear so. `stops`: its process stands still
 * before its transaction begins, and `stops-inside` in the middle of it, for longer than it may hold a shard.
 */
export type SinkMode = 'ok' | 'slow' | 'fails' | 'reply-lost' | 'stops' | 'stops-inside'

const SLOW_MS = 400
const STOPPED_MS = 1_500

/** What a sink answers when its database refuses, or does not answer. */
export class SinkError extends Error {}

/** What it answers where an operation can never be applied. */
class PoisonError extends SinkError {}

interface ShardRow {
  epoch: number
  readonly marks: Map<string, Mark>
  holder: Process | undefined
}

/** The database behind the sinks: tables, and the books of each shard, with the row lock that transactions take in turn. */
export class ModelDatabase {
  readonly #world: World
  readonly #ledger: BehindLedger
  readonly #modes: SinkMode[]
  readonly #shards = new Map<string, ShardRow>()
  readonly #table = new Map<string, number>()

  /** @param modes of the first calls; the rest go well */
  constructor(world: World, ledger: BehindLedger, modes: readonly SinkMode[]) {
    this.#world = world
    this.#ledger = ledger
    this.#modes = [...modes]
  }

  mend(): void {
    this.#modes.length = 0
  }

  row(key: string): Shown {
    return this.#table.get(key) ?? 'nothing'
  }

  /** A loader's query: what it brings home is decided when it runs. */
  async load(process: Process, key: string): Promise<Shown> {
    await this.#world.step(process, `a query of ${key} runs`)
    const row = this.row(key)
    await this.#world.step(process, `${process.name} reads ${key} = ${row}`)
    return row
  }

  /** The connections of a process end, and with them its transactions. */
  died(process: Process): void {
    for (const shard of this.#shards.values()) if (shard.holder === process) shard.holder = undefined
  }

  sinkOf(process: Process): Sink {
    return {
      name: 'model',
      kinds: ['put', 'delete', 'increment', 'append'],
      check: async () => undefined,
      take: (shard) => this.#take(process, shard),
      apply: (batch) => this.#apply(process, batch),
      isPoison: (error) => error instanceof PoisonError
    }
  }

  async #take(process: Process, name: string): Promise<Claim> {
    const mode = this.#modes.shift() ?? 'ok'
    const shard = await this.#lock(process, name)
    await this.#world.step(undefined, `${process.name} takes ${name}`)
    const claim = { epoch: ++shard.epoch, marks: new Map(shard.marks) }
    shard.holder = undefined
    this.#world.note(`${process.name} takes ${name}: epoch ${claim.epoch}`)
    await this.#answer(process, mode)
    return claim
  }

  async #apply(
    process: Process,
    { shard: name, epoch, operations, marks }: SinkBatch
  ): Promise<'applied' | 'fenced'> {
    const mode = this.#modes.shift() ?? 'ok'
    if (mode === 'stops') this.#stop(process)
    const shard = await this.#lock(process, name)
    if (mode === 'stops-inside') this.#stop(process)
    if (shard.epoch !== epoch) {
      shard.holder = undefined
      this.#world.count('fenced')
      this.#world.note(`${process.name} is fenced: epoch ${epoch} of ${shard.epoch}`)
      return 'fenced'
    }
    if (operations.some((operation) => this.#isPoison(operation))) {
      shard.holder = undefined
      this.#world.count('refused for good')
      this.#world.note(`${process.name} is refused ${operations.map(told).join(', ')}`)
      throw new PoisonError('the database will never take that')
    }
    // Statements go one by one: the transaction is open while its process is stopped.
    await this.#world.step(process, `${process.name} sends COMMIT`)
    if (mode === 'fails') {
      shard.holder = undefined
      throw new SinkError('the database refuses')
    }
    await this.#world.step(undefined, `${process.name} commits`)
    for (const [producer, mark] of marks) shard.marks.set(producer, mark)
    for (const operation of operations) this.#change(operation)
    this.#world.note(`${process.name} commits ${operations.map(told).join(', ')}`)
    this.#ledger.committed(operations, (key) => this.row(key))
    shard.holder = undefined
    await this.#answer(process, mode)
    return 'applied'
  }

  #isPoison(operation: SinkOperation): boolean {
    if (operation.kind === 'append' || operation.kind === 'delete' || operation.id !== COUNTER) return false
    const sum = operation.kind === 'put' ? (operation.value as number) : operation.by
    return this.#ledger.counter.hasPoison(sum)
  }

  #stop(process: Process): void {
    this.#world.note(`${process.name}: stopped`)
    process.stop()
    void this.#world.sleep(undefined, STOPPED_MS).then(() => process.goOn())
  }

  #change(operation: SinkOperation): void {
    if (operation.kind === 'put') this.#table.set(operation.id as string, operation.value as number)
    else if (operation.kind === 'delete') this.#table.delete(operation.id as string)
    else if (operation.kind === 'increment') {
      const key = operation.id as string
      this.#table.set(key, (this.#table.get(key) ?? 0) + operation.by)
    }
  }

  async #lock(process: Process, name: string): Promise<ShardRow> {
    await this.#world.step(process, `${process.name} asks for the row of ${name}`)
    let shard = this.#shards.get(name)
    if (shard === undefined)
      this.#shards.set(name, (shard = { epoch: 0, marks: new Map(), holder: undefined }))
    while (shard.holder !== undefined) {
      this.#world.count('waits for a transaction')
      await this.#world.sleep(process, 20)
      await this.#world.step(process, `${process.name} waits for the row of ${name}`)
    }
    shard.holder = process
    return shard
  }

  async #answer(process: Process, mode: SinkMode): Promise<void> {
    if (mode === 'slow') await this.#world.sleep(process, SLOW_MS)
    await this.#world.step(process, `${process.name} reads the database's answer`)
    if (mode === 'reply-lost' || mode === 'fails') throw new SinkError('no answer')
  }
}

function told(operation: SinkOperation): string {
  if (operation.kind === 'append') return `event ${String(operation.value)}`
  const what = `${operation.kind} ${operation.id as string}`
  if (operation.kind === 'put') return `${what} = ${String(operation.value)}`
  return operation.kind === 'increment' ? `${what} by ${operation.by}` : what
}
