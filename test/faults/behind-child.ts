/**
 * One process of the storm: a writer or a worker. What a writer begins and what is acknowledged goes to a file with
 * synchronous writes, so that nothing of it is lost when it is killed.
 */
import { openSync, writeSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { createCache, CorralError, postgresSink, writeBehind, type Cache } from '../../src/index.js'

const [role, redisUrl, postgresUrl, logFile, name] = process.argv.slice(2) as [
  string,
  string,
  string,
  string,
  string
]

const pool = new pg.Pool({ connectionString: postgresUrl, max: 6, connectionTimeoutMillis: 5_000 })
pool.on('error', () => undefined)
const cache: Cache = createCache({ redis: redisUrl, namespace: 'storm', commandTimeout: '1s' })

const common = { flushEvery: '100ms', maxBatch: 2_000, shards: 3, writeTimeout: '20s' } as const
const sinkOptions = { timeout: '10s' } as const
const read = async (text: string, id: unknown): Promise<number | undefined> => {
  const { rows } = await pool.query(text, [id])
  return rows[0] && Number(rows[0].n)
}
const events = cache.ingest<string>('events', {
  ...common,
  sink: postgresSink<never, string>(pool, { table: 'events', value: 'id', ...sinkOptions })
})
const counters = cache.collection('counters', {
  ttl: '1h',
  load: (id: number) => read('SELECT n FROM counters WHERE id = $1', id),
  write: writeBehind({
    ...common,
    sink: postgresSink(pool, { table: 'counters', key: 'id', value: 'n', ...sinkOptions })
  })
})
const rows = cache.collection('rows', {
  ttl: '1h',
  load: (id: string) => read('SELECT n FROM rows WHERE id = $1', id),
  write: writeBehind({
    ...common,
    sink: postgresSink(pool, { table: 'rows', key: 'id', value: 'n', ...sinkOptions })
  })
})

/** `E` event, `C` counter, `R` row: `+` begun, `!` acknowledged, `?` refused with certainty; then what and with which value. */
const log = role === 'writer' ? openSync(logFile, 'a') : 0
const note = (line: string): void => void writeSync(log, `${line}\n`)

/** Whether an error says that nothing was done. */
const isRefusal = (error: unknown): boolean =>
  error instanceof CorralError && ['REDIS_UNAVAILABLE', 'BACKLOG_FULL'].includes(error.code)

async function attempt(what: string, work: () => Promise<unknown>): Promise<boolean> {
  note(`+${what}`)
  try {
    await work()
    note(`!${what}`)
    return true
  } catch (error) {
    note(isRefusal(error) ? `?${what}` : `# ${what} ${String(error)}`)
    await sleep(20)
    return false
  }
}

async function writeEvents(lane: number): Promise<never> {
  for (let n = 0; ; n++) await attempt(`E ${name}/${lane}/${n}`, () => events.append(`${name}/${lane}/${n}`))
}

async function addToCounters(lane: number): Promise<never> {
  for (let n = 0; ; n++) {
    const id = (lane + n * 7) % 20
    await attempt(`C ${id} ${name}/${lane}/${n}`, () => counters.increment(id))
  }
}

/** Each row has one writer, which waits for each write: then the order of its writes is known. Every seventh is a deletion. */
async function writeRows(lane: number): Promise<never> {
  const id = `${name}-${lane}`
  for (let n = 1; ; n++) {
    const isDone = await attempt(`R ${id} ${n}`, () => (n % 7 === 0 ? rows.delete(id) : rows.put(id, n)))
    if (!isDone || n % 5 !== 0) continue
    const seen = await rows.lookup(id).catch(() => undefined)
    // Without Redis a read goes to the source, which may not have it yet.
    if (seen === undefined || seen.source !== 'redis') continue
    const expected = n % 7 === 0 ? undefined : n
    if (seen.value !== expected) note(`X ${id} ${n} read back as ${seen.value}`)
  }
}

if (role === 'worker') {
  cache.worker({ lease: '600ms' })
  process.once('SIGTERM', () => void cache.close({ timeout: '5s' }).then(() => process.exit(0)))
} else {
  for (let lane = 0; lane < 10; lane++) {
    void writeEvents(lane)
    void addToCounters(lane)
    void writeRows(lane)
  }
}
process.once('disconnect', () => process.exit(0))
process.send?.('ready')
