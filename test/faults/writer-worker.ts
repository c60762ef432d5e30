import { appendFileSync, openSync, writeSync } from 'node:fs'
import { Pool } from 'pg'
import { createCache, RedisUnavailableError, writeThrough, type Collection } from '../../src/index.js'
import { serveCommands } from '../support/processes.js'

/** One of several processes that read and write the same few rows through the cache, and note what they saw. */

export interface WriterOptions {
  readonly redisUrl: string
  readonly databaseUrl: string
  /** Whether rows tell their version to the cache. */
  readonly versioned: boolean
  readonly writeLeaseMs: number
  /** Where operations are noted as they end, so that those of a killed process are known. */
  readonly history: string
}

export interface VersionedRow {
  readonly id: number
  readonly version: number
}

/** Times are of the machine's monotonic clock, which all processes share. */
export interface Operation {
  readonly kind: 'read' | 'write'
  readonly id: number
  readonly version: number
  readonly startedAt: number
  readonly endedAt: number
}

let rows: Collection<number, VersionedRow>
let pool: Pool
let close: () => Promise<void>
let history: number

const now = (): number => Number(process.hrtime.bigint() / 1000n)

async function note<T extends VersionedRow | undefined>(
  kind: Operation['kind'],
  id: number,
  work: Promise<T>
): Promise<void> {
  const startedAt = now()
  const row = await work
  const operation: Operation = { kind, id, version: row?.version ?? 0, startedAt, endedAt: now() }
  writeSync(history, `${JSON.stringify(operation)}\n`)
}

export const commands = {
  async open({
    redisUrl,
    databaseUrl,
    versioned,
    writeLeaseMs,
    history: file
  }: WriterOptions): Promise<void> {
    appendFileSync(file, '')
    history = openSync(file, 'a')
    pool = new Pool({ connectionString: databaseUrl, max: 8 })
    pool.on('error', () => undefined) // A connection that the server closed: the next query opens another.
    const cache = createCache({
      redis: redisUrl,
      namespace: 'race',
      commandTimeout: '2s',
      writeLease: writeLeaseMs
    })
    close = async () => {
      await cache.close()
      await pool.end()
    }
    const asRow = ({ rows: [row] }: { rows: { id: number; version: string }[] }): VersionedRow | undefined =>
      row && { id: row.id, version: Number(row.version) }
    rows = cache.collection('rows', {
      ttl: '1h',
      failedTtl: 0,
      load: async (id: number) => asRow(await pool.query('SELECT id, version FROM race WHERE id = $1', [id])),
      write: writeThrough(
        async (id: number, _row: VersionedRow) =>
          asRow(
            await pool.query('UPDATE race SET version = version + 1 WHERE id = $1 RETURNING id, version', [
              id
            ])
          )!
      ),
      ...(versioned ? { version: (row: VersionedRow) => row.version } : {})
    })
  },

  /**
   * `lanes` loops of reads and writes on `keys` rows, until `operations` are done. A write that is refused while Redis is
   * away is left out where `refusable`; it is not known what became of it, so it says nothing about what must be read.
   */
  async run(
    operations: number,
    keys: number,
    lanes: number,
    writeShare: number,
    refusable = false
  ): Promise<void> {
    let left = operations
    await Promise.all(
      Array.from({ length: lanes }, async () => {
        while (left-- > 0) {
          const id = 1 + Math.floor(Math.random() * keys)
          if (Math.random() < writeShare)
            await note(
              'write',
              id,
              rows.put(id, { id, version: 0 }).then(({ value }) => value)
            ).catch((error: unknown) => {
              if (!(refusable && error instanceof RedisUnavailableError)) throw error
            })
          else await note('read', id, rows.get(id))
        }
      })
    )
  },

  async put(id: number): Promise<VersionedRow> {
    return (await rows.put(id, { id, version: 0 })).value
  },
  async get(id: number): Promise<VersionedRow | undefined> {
    return rows.get(id)
  },
  close: () => close()
}

export type WriterCommands = typeof commands

serveCommands(commands)
