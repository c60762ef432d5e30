import { openSync, writeSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { Pool } from 'pg'
import {
  CorralError,
  createCache,
  postgresSink,
  writeBehind,
  type Cache,
  type Collection,
  type Ingest,
  type Worker
} from '../../src/index.js'
import { serveCommands } from '../support/processes.js'
import {
  COUNTERS,
  counterOf,
  GENERATIONS,
  LANES,
  rowOf,
  WRITERS,
  type BehindCommands,
  type BehindMemberOptions,
  type WriterTask
} from './behind-member-options.js'
import { nowUs } from './history.js'

/** One process of those that write behind: a writer, or a worker. */

const LONGEST_PAUSE_MS = 20
/** Every so many writes of a row one deletes it, as the model in test/faults/behind-model.ts has it. */
const DELETED_EVERY = 7

let cache: Cache
let pool: Pool
let worker: Worker
let events: Ingest<string>
let counters: Collection<number, number>
let rows: Collection<string, number>
let log: number
let isRunning = false
let running: Promise<unknown> = Promise.resolve()

/** Loads without Redis, by key: what they bring may lack what waits in Redis. */
class LoneLoads {
  readonly #underWay = new Map<string, number>()
  readonly #endedAt = new Map<string, number>()
  readonly #announced = new Map<string, string>()

  announce(key: string, reason: string): void {
    this.#announced.set(key, reason)
  }

  async run<T>(key: string, load: () => Promise<T>): Promise<T> {
    if (this.#announced.get(key) !== 'redis-away') return load()
    this.#underWay.set(key, (this.#underWay.get(key) ?? 0) + 1)
    try {
      return await load()
    } finally {
      this.#underWay.set(key, this.#underWay.get(key)! - 1)
      this.#endedAt.set(key, nowUs())
    }
  }

  hadOneSince(key: string, us: number): boolean {
    return (this.#underWay.get(key) ?? 0) > 0 || (this.#endedAt.get(key) ?? 0) >= us
  }
}

const lone = new LoneLoads()

const note = (line: string): void => void writeSync(log, `${line}\n`)

/** Whether an error says that nothing was done. */
const isRefusal = (error: unknown): boolean =>
  error instanceof CorralError && ['REDIS_UNAVAILABLE', 'BACKLOG_FULL'].includes(error.code)

async function attempt(what: string, work: () => Promise<unknown>): Promise<void> {
  note(`+${what} ${nowUs()} ${process.pid}`)
  try {
    await work()
    note(`!${what} ${nowUs()}`)
  } catch (error) {
    note(isRefusal(error) ? `?${what} ${nowUs()}` : `# ${what} ${String(error)}`)
  }
}

async function look(kind: 'R' | 'C', id: string): Promise<void> {
  const startedAt = nowUs()
  const read = kind === 'R' ? rows.lookup(id) : counters.lookup(Number(id))
  const seen = await read.catch(() => undefined)
  if (seen === undefined) return
  const isLone = seen.source === 'loader' && lone.hadOneSince(`${kind} ${id}`, startedAt)
  note(
    `= ${kind} ${id} ${seen.value} ${startedAt} ${nowUs()} ${isLone ? 'lone' : seen.source} ${process.pid}`
  )
}

const below = (most: number): number => Math.floor(Math.random() * most)
const pause = (): Promise<void> => sleep(LONGEST_PAUSE_MS * Math.random())

async function writeEvents({ round, place, generation }: WriterTask, lane: number): Promise<void> {
  for (let n = 0; isRunning; n++) {
    const event = `${round}-${place}-${generation}-${lane}-${n}`
    await attempt(`E ${event}`, () => events.append(event))
    await pause()
  }
}

async function addToCounters({ round, place, generation }: WriterTask, lane: number): Promise<void> {
  for (let n = 0; isRunning; n++) {
    const id = counterOf(round, below(COUNTERS))
    await attempt(`C ${id} ${place}-${generation}-${lane}-${n}`, () => counters.increment(id))
    if (n % 3 === 0) await look('C', String(counterOf(round, below(COUNTERS))))
    await pause()
  }
}

async function writeRows({ round, place, generation }: WriterTask, lane: number): Promise<void> {
  const id = rowOf(round, place, generation, lane)
  for (let n = 1; isRunning; n++) {
    await attempt(`R ${id} ${n}`, () => (n % DELETED_EVERY === 0 ? rows.delete(id) : rows.put(id, n)))
    if (n % 3 === 0) await look('R', id)
    await look('R', rowOf(round, below(WRITERS), below(GENERATIONS), below(LANES)))
    await pause()
  }
}

async function loadNumber(table: 'rows' | 'counters', id: string | number): Promise<number | undefined> {
  const { rows: found } = await pool.query<{ n: string }>(`SELECT n FROM ${table} WHERE id = $1`, [id])
  return found[0] && Number(found[0].n)
}

const commands: BehindCommands = {
  async open({ redisPort, databaseUrl, keepsInMemory }: BehindMemberOptions): Promise<void> {
    pool = new Pool({
      connectionString: databaseUrl,
      max: 6,
      connectionTimeoutMillis: 2_000,
      statement_timeout: 4_000
    })
    pool.on('error', () => undefined) // A connection that the server closed: the next query opens another.
    cache = createCache({
      redis: `redis://127.0.0.1:${redisPort}`,
      namespace: 'behind',
      commandTimeout: 250,
      memory: keepsInMemory && { maxBytes: 4_000_000 }
    })
    const common = { flushEvery: 100, maxBatch: 500, shards: 3, writeTimeout: '4s' } as const
    const sinkOptions = { timeout: '3s' } as const
    events = cache.ingest<string>('events', {
      ...common,
      sink: postgresSink<never, string>(pool, { table: 'events', value: 'id', ...sinkOptions })
    })
    const caching = { ttl: '1h', loadTimeout: '2s', waitTimeout: '2s', failedTtl: 50 } as const
    const sinkOf = (table: string) => postgresSink(pool, { table, key: 'id', value: 'n', ...sinkOptions })
    counters = cache.collection<number, number>('counters', {
      ...caching,
      load: (id: number) => lone.run(`C ${id}`, () => loadNumber('counters', id)),
      write: writeBehind({ ...common, sink: sinkOf('counters') })
    })
    rows = cache.collection<string, number>('rows', {
      ...caching,
      load: (id: string) => lone.run(`R ${id}`, () => loadNumber('rows', id)),
      write: writeBehind({ ...common, sink: sinkOf('rows') })
    })
    cache.on('load', ({ key, collection, reason }) => {
      lone.announce(`${collection === 'rows' ? 'R' : 'C'} ${key.split(':').at(-1)}`, reason)
    })
  },

  write(task: WriterTask): void {
    log = openSync(task.file, 'a')
    isRunning = true
    const lanes = Array.from({ length: LANES }, (_, lane) => lane)
    running = Promise.all(
      lanes.flatMap((lane) => [writeEvents(task, lane), addToCounters(task, lane), writeRows(task, lane)])
    )
  },

  async stop(): Promise<void> {
    isRunning = false
    await running
  },

  work(): void {
    worker = cache.worker({ lease: 600 })
  },

  async drain(): Promise<void> {
    await worker.stop({ drain: '2s' })
    worker = cache.worker({ lease: 600 })
  },

  flush: () => cache.flush({ timeout: '120s' }),

  look: async (kind: 'R' | 'C', id: string) => (kind === 'R' ? rows.get(id) : counters.get(Number(id))),

  redisState: () => cache.stats().redis.state
}

serveCommands(commands)
