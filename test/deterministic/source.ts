import type { Committed, NewRow } from '../../src/write/writer.js'
import type { Ledger, Row, Untold } from './ledger.js'
import { keyOf } from './names.js'
import type { Process, World } from './world.js'

/** How a run of a loader goes. */
export type LoadMode = 'ok' | 'late' | 'slow' | 'fails' | 'fails-late' | 'hangs'
/** How a change of the source goes; `late` commits after its deadline. */
export type WriteMode = 'ok' | 'slow' | 'slow-answer' | 'fails' | 'reply-lost' | 'late'

export const LOAD_TIMEOUT_MS = 3_000
export const WRITE_TIMEOUT_MS = 3_000
const SLOW_MS = 1_500
const LATE_MS = 100

/** What the database answers when it refuses, or when its answer is lost. */
export class SourceError extends Error {}

/** The database of the modelled fleet: what a query sees is decided when it runs, not when its answer is read. */
export class Source {
  readonly #world: World
  readonly #ledger: Ledger
  readonly #loadModes: LoadMode[]
  readonly #writeModes: WriteMode[]
  #loads = 0
  #writes = 0

  /** @param loadModes of the first runs; the rest go well. So for the writes. */
  constructor(
    world: World,
    ledger: Ledger,
    loadModes: readonly LoadMode[],
    writeModes: readonly WriteMode[]
  ) {
    this.#world = world
    this.#ledger = ledger
    this.#loadModes = [...loadModes]
    this.#writeModes = [...writeModes]
  }

  /** From now on everything goes well. */
  mend(): void {
    this.#loadModes.length = 0
    this.#writeModes.length = 0
  }

  /** @param isUnheard as the ledger has it, for each key */
  async load(process: Process, keys: readonly string[], isUnheard: (key: string) => boolean): Promise<Row[]> {
    const by = `load ${++this.#loads}`
    const mode = this.#loadModes.shift() ?? 'ok'
    for (const key of keys) this.#ledger.loadBegins(by, key, isUnheard(key))
    this.#world.note(`${process.name}: ${by} of ${keys.join(', ')} begins (${mode})`)
    if (mode === 'slow' && this.#world.random() < 0.5) await this.#world.sleep(process, SLOW_MS)
    await this.#world.step(process, `${by} is run`)
    const rows = keys.map((key) => ({ version: this.#ledger.committed(key), by }))
    this.#world.note(
      `${by} sees ${rows.map(({ version }, index) => `${keys[index]} v${version}`).join(', ')}`
    )
    if (mode === 'hangs') return new Promise(() => undefined)
    if (mode === 'slow') await this.#world.sleep(process, SLOW_MS)
    if (mode === 'late' || mode === 'fails-late') await this.#world.sleep(process, LATE_MS)
    await this.#world.step(process, `${by} is answered`)
    if (mode === 'fails' || mode === 'fails-late') throw new SourceError(`${by} failed`)
    return rows
  }

  /** A change of rows through the cache. A statement that was sent is run, whether or not its sender lives. */
  async write(
    process: Process,
    keys: readonly string[],
    isVersioned: boolean,
    guard: () => string | undefined,
    onCommit: (key: string, version: number) => void
  ): Promise<Committed<ReadonlyMap<string, number>>> {
    const by = `write ${++this.#writes}`
    const mode = this.#writeModes.shift() ?? 'ok'
    this.#world.note(`${process.name}: ${by} of ${keys.join(', ')} begins (${mode})`)
    if (mode === 'slow') await this.#world.sleep(process, SLOW_MS)
    await this.#world.step(process, `${by} is sent`)
    if (mode === 'late') await this.#world.sleep(undefined, WRITE_TIMEOUT_MS + SLOW_MS)
    await this.#world.step(undefined, `${by} commits`)
    if (mode === 'fails') {
      await this.#world.step(process, `${by} is refused`)
      throw new SourceError(`${by} failed`)
    }
    const versions = new Map<string, number>()
    for (const key of keys) {
      const version = this.#ledger.commit(key)
      versions.set(key, version)
      this.#ledger.committedByWriter(key, guard(), process)
      onCommit(key, version)
      this.#world.note(`${by} commits ${key} v${version}`)
    }
    if (mode === 'slow-answer') await this.#world.sleep(process, SLOW_MS)
    await this.#world.step(process, `${by} is answered`)
    if (mode === 'reply-lost') throw new SourceError(`${by}: the reply of COMMIT was lost`)
    const rows = new Map<string, NewRow>()
    for (const [key, version] of versions)
      rows.set(keyOf(key), { value: { version, by }, version: isVersioned ? version : undefined })
    return { result: versions, rows }
  }

  /** A change that goes past the cache, as by psql. */
  async change(key: string, process: Process): Promise<Untold> {
    await this.#world.step(undefined, `a change of ${key} past the cache`)
    const change = this.#ledger.commitUntold(key, process)
    this.#world.note(`${key} v${change.version} is committed past the cache by ${process.name}`)
    return change
  }
}
