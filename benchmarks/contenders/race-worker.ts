/** One of two processes that read and change the same rows of PostgreSQL through a cache. */
import { Pool } from 'pg'
import { serveCommands } from '../../test/support/processes.js'
import type { Row } from '../support/rows.js'
import { definitionOf, type Contender } from './contenders.js'

export interface RaceOpening {
  readonly name: string
  readonly url: string
  readonly postgresUrl: string
  readonly namespace: string
}

/** How a change of the row reaches the cache: by one call for both, or by a second step after the row. */
export type WayToWrite = 'put' | 'set' | 'delete'

const AN_HOUR_MS = 3_600_000

let contender: Contender
let pool: Pool
/** By id: a load that is to stop after it has read the row, until it is told to go on. */
const stops = new Map<number, { readonly isRead: () => void; readonly goesOn: Promise<void> }>()
/** By id: what tells it so, and the read that began it. */
const stopped = new Map<number, { readonly goOn: () => void; readonly read: Promise<Row | undefined> }>()

const save = async (id: number): Promise<Row> => {
  const text = 'UPDATE race SET version = version + 1 WHERE id = $1 RETURNING id, version'
  return (await pool.query<Row>({ name: 'save', text, values: [id] })).rows[0]!
}

const commands = {
  async open({ name, url, postgresUrl, namespace }: RaceOpening): Promise<WayToWrite[]> {
    pool = new Pool({ connectionString: postgresUrl, max: 20 })
    contender = await definitionOf(name).open({
      url,
      namespace,
      ttlMs: AN_HOUR_MS,
      staleMs: 0,
      async load(id) {
        const text = 'SELECT id, version FROM race WHERE id = $1'
        const { rows } = await pool.query<Row>({ name: 'load', text, values: [id] })
        const stop = stops.get(id)
        stops.delete(id)
        stop?.isRead()
        await stop?.goesOn
        return rows[0]!
      },
      write: save
    })
    if (contender.put !== undefined) return ['put']
    return contender.set === undefined ? ['delete'] : ['set', 'delete']
  },

  /** Begins to read a row that is not cached. Returns when its loader has read it, which then stops there. */
  async beginRead(id: number): Promise<void> {
    let goOn!: () => void
    const goesOn = new Promise<void>((resolve) => (goOn = resolve))
    const isRead = new Promise<void>((resolve) => stops.set(id, { isRead: resolve, goesOn }))
    stopped.set(id, { goOn, read: contender.get(id) })
    await isRead
  },

  /** Lets the loader go on, and waits for its read. */
  async endRead(id: number): Promise<void> {
    const { goOn, read } = stopped.get(id)!
    stopped.delete(id)
    goOn()
    await read
  },

  async get(id: number): Promise<number> {
    return versionOf(await contender.get(id))
  },

  async invalidate(id: number): Promise<void> {
    await contender.invalidate(id)
  },

  /** Changes the row and the cache; gives the row's new version and how long both took. */
  async write(id: number, way: WayToWrite): Promise<{ version: number; tookMs: number }> {
    const startedAt = performance.now()
    const row = way === 'put' ? await contender.put!(id, { id }) : await save(id)
    if (way === 'set') await contender.set!(id, row)
    if (way === 'delete') await contender.invalidate(id)
    return { version: versionOf(row), tookMs: performance.now() - startedAt }
  }
}

export type RaceWorker = typeof commands

serveCommands(commands)

function versionOf(row: Row | undefined): number {
  if (typeof row?.['version'] !== 'number') throw new Error(`not a row: ${JSON.stringify(row)}`)
  return row['version']
}
