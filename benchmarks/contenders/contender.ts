import type { Row } from '../support/rows.js'

/** A cache of rows by id, as its own documentation sets it up, with its tier in Redis alone. */
export interface Contender {
  /** The row, read through the cache. */
  get(id: number): Promise<Row | undefined>
  /** Many at once, where the library has that; the answer in whatever form it comes. */
  getMany?: ((ids: readonly number[]) => Promise<ManyRows>) | undefined
  /** Declares wrong what is cached, by the call that the library has for that. */
  invalidate(id: number): Promise<unknown>
  /** Puts a row into the cache and nowhere else, where the library has a call for that. */
  set?: ((id: number, row: Row) => Promise<unknown>) | undefined
  /** Changes the source and the cache in one call, where the library has that and `Setting.write` is given. */
  put?: ((id: number, row: Row) => Promise<Row>) | undefined
  close(): Promise<unknown>
}

export type ManyRows = readonly (Row | undefined | null)[] | ReadonlyMap<number, Row>

export interface Setting {
  readonly url: string
  /** Begins every key, so that contenders share a server and nothing else. */
  readonly namespace: string
  readonly ttlMs: number
  /** How long an old value may be served while it is refreshed; 0 never. */
  readonly staleMs: number
  readonly load: (id: number) => Promise<Row>
  /** Changes the row in the source, and gives it as it then is. */
  readonly write?: ((id: number, row: Row) => Promise<Row>) | undefined
  /** Folder of another build of Corral to take. */
  readonly corralFolder?: string | undefined
  /** Options of Corral's collection beside those above. */
  readonly corralOptions?: Readonly<Record<string, unknown>> | undefined
  /** Options of Corral's cache beside those above. */
  readonly corralCacheOptions?: Readonly<Record<string, unknown>> | undefined
  /** What Corral may keep of large values that it read lately; its own default when left out. */
  readonly maxRecentBytes?: number | undefined
}

export interface Definition {
  readonly name: string
  /** Whose versions decide. */
  readonly packages: readonly string[]
  /** What it does when many miss one key at once. */
  readonly stampede: 'nothing' | 'one load per process' | 'a lock in Redis' | 'one load in the fleet'
  /** Whether an old value can be served while it is refreshed. */
  readonly servesStale: boolean
  readonly open: (setting: Setting) => Promise<Contender>
}

export const CORRAL = 'Corral'
export const BASELINE = 'ioredis and JSON.parse'
