/** One process of a fleet that reads hot keys at a steady rate, whether the reads before are answered or not. */
import { setTimeout as sleep } from 'node:timers/promises'
import { Pool } from 'pg'
import { serveCommands } from '../../test/support/processes.js'
import { openLoop, type OpenLoop } from '../support/open-loop.js'
import { makeRow, type Row } from '../support/rows.js'
import { randomOf, zipfIds } from '../support/zipf.js'
import { definitionOf, type Contender } from './contenders.js'

export interface StormOpening {
  readonly name: string
  readonly url: string
  readonly postgresUrl: string
  readonly connections: number
  readonly namespace: string
  readonly ttlMs: number
  readonly staleMs: number
  readonly loadMs: number
}

export interface StormReads {
  readonly keys: number
  readonly skew: number
  readonly perSecond: number
  /** On the wall clock, which all processes of one machine share. */
  readonly fromMs: number
  readonly untilMs: number
  readonly seed: number
}

export interface StormFigures extends OpenLoop {
  /** Begin and end of each load, in turn; on the machine's monotonic clock, ms. */
  readonly loads: Float64Array
}

/** From the last load that is under way until what a library stores behind its answer is stored. */
const SETTLE_MS = 200

let contender: Contender
let pool: Pool
let isPriming = false
let loads: number[] = []
let running = 0

const commands = {
  async open(opening: StormOpening): Promise<void> {
    const { name, url, postgresUrl, connections, namespace, ttlMs, staleMs, loadMs } = opening
    pool = new Pool({ connectionString: postgresUrl, max: connections })
    await Promise.all(Array.from({ length: connections }, () => pool.query('SELECT pg_sleep(0.01)')))
    const query = async (id: number): Promise<Row> => {
      const text = 'SELECT data, pg_sleep($2) FROM products WHERE id = $1'
      const { rows } = await pool.query<{ data: Row }>({ name: 'load', text, values: [id, loadMs / 1_000] })
      return rows[0]!.data
    }
    contender = await definitionOf(name).open({
      url,
      namespace,
      ttlMs,
      staleMs,
      async load(id) {
        // As long as a load takes, but all at the same moment, for which there are not connections enough.
        if (isPriming) return sleep(loadMs, makeRow('2 KiB', id))
        const startedAt = monotonicMs()
        running++
        try {
          return await query(id)
        } finally {
          running--
          loads.push(startedAt, monotonicMs())
        }
      }
    })
  },

  /** Stores all keys as good as at once. */
  async prime(keys: number): Promise<void> {
    isPriming = true
    await Promise.all(Array.from({ length: keys }, (_, id) => contender.get(id)))
    isPriming = false
  },

  async read({ keys, skew, perSecond, fromMs, untilMs, seed }: StormReads): Promise<StormFigures> {
    const count = Math.floor(((untilMs - fromMs) / 1_000) * perSecond)
    const ids = zipfIds(keys, skew, count, randomOf(seed))
    loads = []
    await sleep(Math.max(0, fromMs - Date.now()))
    const read = await openLoop(count, perSecond, async (request) => {
      const row = await contender.get(ids[request]!)
      if (row?.id !== ids[request]) throw new Error(`asked for ${ids[request]}, got ${row?.id}`)
    })
    await untilQuiet()
    return { ...read, loads: Float64Array.from(loads) }
  },

  async close(): Promise<void> {
    await contender.close()
    await pool.end()
  }
}

export type StormWorker = typeof commands

serveCommands(commands)

/** A refresh behind an old value goes on when all are answered. */
async function untilQuiet(): Promise<void> {
  do await sleep(SETTLE_MS)
  while (running > 0)
}

function monotonicMs(): number {
  return Number(process.hrtime.bigint()) / 1e6
}
