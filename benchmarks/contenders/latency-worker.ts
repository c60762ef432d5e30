/** One way to a row, in a process of its own, with one caller who waits for each answer. */
import { setImmediate as turn } from 'node:timers/promises'
import { Redis } from 'ioredis'
import pg from 'pg'
import { createCache } from 'corral'
import { serveCommands } from '../../test/support/processes.js'
import type { Way } from '../reports/latency.js'
import { makeRow, type Row, type Shape } from '../support/rows.js'

export interface LatencyOpening {
  readonly way: Way
  readonly shape: Shape
  readonly redisUrl: string
  readonly postgresUrl: string
  readonly keys: number
}

export interface LatencyFigures {
  /** Of one answer, microseconds; of a hit in memory, of the mean of each 50. */
  readonly p50: number
  readonly p99: number
}

const AN_HOUR_MS = 3_600_000
/** One hit in memory is too short for the clock. */
const BATCH = 50

let ask: (id: number) => Promise<unknown>
let batch = 1
let keys = 0
let close: () => Promise<unknown>

const commands = {
  async open({ way, shape, redisUrl, postgresUrl, keys: count }: LatencyOpening): Promise<void> {
    keys = count
    const opened = await OPEN[way](shape, redisUrl, postgresUrl)
    ask = opened.ask
    close = opened.close
    batch = way === 'corralMemory' ? BATCH : 1
    if (way === 'aggregate') return
    for (let id = 0; id < keys; id++) {
      const row = (await ask(id)) as Row | undefined
      if (row?.id !== id) throw new Error(`${way}: asked for ${id}, got ${row?.id}`)
    }
  },

  async run(ms: number): Promise<LatencyFigures> {
    const all: number[] = []
    let id = 0
    for (const endAt = performance.now() + ms; performance.now() < endAt; ) {
      const startedAt = process.hrtime.bigint()
      for (let count = 0; count < batch; count++) {
        await ask(id)
        // Not in order: neither a page of the table nor a line of the processor's cache follows the last one.
        id = (id + 7_919) % keys
      }
      all.push(Number(process.hrtime.bigint() - startedAt) / batch / 1_000)
      // A server that answers from memory reads its sockets as well.
      if (batch > 1 && all.length % 40 === 0) await turn()
    }
    all.sort((a, b) => a - b)
    return { p50: all[Math.floor(all.length / 2)]!, p99: all[Math.floor(all.length * 0.99)]! }
  },

  close: () => close()
}

export type LatencyWorker = typeof commands

serveCommands(commands)

interface Opened {
  readonly ask: (id: number) => Promise<unknown>
  readonly close: () => Promise<unknown>
}

const OPEN: Readonly<Record<Way, (shape: Shape, redisUrl: string, postgresUrl: string) => Promise<Opened>>> =
  {
    async aggregate(_shape, _redisUrl, postgresUrl) {
      const pool = new pg.Pool({ connectionString: postgresUrl, max: 1 })
      const text =
        "SELECT data->>'brand' AS brand, count(*)::int AS products, avg((data->>'price')::numeric)::float8 AS price " +
        'FROM products GROUP BY 1 ORDER BY 3 DESC LIMIT 10'
      return { ask: () => pool.query({ name: 'brands', text }), close: () => pool.end() }
    },

    async select(_shape, _redisUrl, postgresUrl) {
      const pool = new pg.Pool({ connectionString: postgresUrl, max: 1 })
      const text = 'SELECT data FROM products WHERE id = $1'
      return {
        ask: async (id) =>
          (await pool.query<{ data: Row }>({ name: 'row', text, values: [id] })).rows[0]?.data,
        close: () => pool.end()
      }
    },

    async redis(shape, redisUrl) {
      const redis = new Redis(redisUrl)
      for (let id = 0; id < keys; id++) await redis.set(`row:${id}`, JSON.stringify(makeRow(shape, id)))
      return {
        async ask(id) {
          const text = await redis.get(`row:${id}`)
          return text === null ? undefined : JSON.parse(text)
        },
        close: () => redis.quit()
      }
    },

    async corralRedis(shape, redisUrl) {
      const cache = createCache({ redis: redisUrl, namespace: 'latency' })
      const rows = cache.collection('rows', {
        ttl: AN_HOUR_MS,
        load: async (id: number) => makeRow(shape, id)
      })
      return { ask: (id) => rows.get(id), close: () => cache.close() }
    },

    async corralMemory(shape, redisUrl) {
      const cache = createCache({
        redis: redisUrl,
        namespace: 'latency-memory',
        memory: { maxBytes: 2 ** 30, ttl: '1h' }
      })
      await cache.ready()
      const rows = cache.collection('rows', {
        ttl: AN_HOUR_MS,
        load: async (id: number) => makeRow(shape, id)
      })
      // What was just loaded is kept by the next read of it.
      const isWarm = (): boolean => {
        for (let id = 0; id < keys; id++) if (rows.peekMemory(id) === undefined) return false
        return true
      }
      while (!isWarm()) for (let id = 0; id < keys; id++) await rows.get(id)
      return { ask: (id) => rows.get(id), close: () => cache.close() }
    }
  }
