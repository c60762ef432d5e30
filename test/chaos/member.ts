import { openSync, writeSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { Pool } from 'pg'
import { Cluster } from 'ioredis'
import {
  createCache,
  writeThrough,
  type Cache,
  type Collection,
  type CollectionOptions
} from '../../src/index.js'
import { serveCommands } from '../support/processes.js'
import { nowUs, type Kind, type Operation, type Row } from './history.js'
import { ROWS, type MemberCommands, type MemberOptions } from './member-options.js'

/** One process of the fleet: it reads and writes rows through the cache for as long as it is let, and notes what it saw. */

const LANES = 3

let cache: Cache
let pool: Pool
/** Where operations are noted as they begin and end, so that those of a killed process are known. */
let history: number
let isRunning = false
/** What is kept in memory is served there only if it is asked for again. */
let readsInARow = 1
let running: Promise<unknown> = Promise.resolve()
let operations = 0
/** By operation, when it began. */
const underWay = new Map<string, Operation>()
/** What Redis has: `steady` rows stay for long, `brief` ones go stale and are refreshed. */
const collections = new Map<string, Collection<number, Row>>()

type Noted = Omit<Operation, 'op' | 'process' | 'kind' | 'id' | 'startedAt' | 'endedAt'>

async function noted(kind: Kind, id: string, work: (op: string) => Promise<Noted>): Promise<void> {
  const op = `${process.pid}.${++operations}`
  const begun = { op, process: process.pid, kind, id, startedAt: nowUs() }
  // A read that is cut short matters to nobody.
  if (kind !== 'read') note(begun)
  underWay.set(op, begun)
  let end: Noted
  try {
    end = await work(op)
  } catch (error) {
    end = { error: `${(error as Error).name}: ${(error as Error).message}` }
  }
  underWay.delete(op)
  note({ ...begun, endedAt: nowUs(), ...end })
}

function note(operation: Operation): void {
  writeSync(history, `${JSON.stringify(operation)}\n`)
}

const CHANGE = `WITH changed AS (UPDATE rows SET version = version + 1, by = $2 WHERE id = $1 RETURNING id, version, by)
  INSERT INTO changes SELECT id, version, by FROM changed RETURNING id, version, by`

async function change(id: string, op: string): Promise<Row> {
  const { rows } = await pool.query<{ id: string; version: string; by: string }>(CHANGE, [id, op])
  return rowOf(rows[0]!)
}

const tagOf = (name: string, id: number): string => `${name}-${Math.ceil(id / 2)}`

function rowOf({ id, version, by }: { id: string; version: string; by: string }): Row {
  return { id, version: Number(version), by }
}

function openCollection(
  name: string,
  options: Omit<CollectionOptions<number, Row>, 'load' | 'write' | 'tenancy'>
): void {
  const keyOf = (id: number): string => `${name}:${id}`
  const reasons = new Map<string, string>()
  cache.on('load', ({ key, collection, reason }) => {
    if (collection === name) reasons.set(key.split(':').at(-1)!, reason)
  })
  const rows = cache.collection<number, Row>(name, {
    failedTtl: 50,
    loadTimeout: '2s',
    waitTimeout: '2s',
    writeTimeout: '3s',
    ...options,
    load: async (id: number) => {
      const load = {
        process: process.pid,
        startedAt: nowUs(),
        alone: reasons.get(String(id)) === 'redis-away'
      }
      const found = await pool.query('SELECT id, version, by FROM rows WHERE id = $1', [keyOf(id)])
      return { ...rowOf(found.rows[0] as { id: string; version: string; by: string }), load }
    },
    write: writeThrough((id: number, row: Row) => change(keyOf(id), row.by)),
    // Two rows share each.
    tags: (_row, id) => [tagOf(name, id)]
  })
  collections.set(name, rows)
}

async function read(name: string, id: number): Promise<void> {
  await noted('read', `${name}:${id}`, async () => {
    const { value, source } = await collections.get(name)!.lookup(id)
    // None is ever deleted.
    if (value === undefined) return { version: 0, by: 'nobody', source }
    const { load } = value
    const isAlone = source === 'loader' && load?.process === process.pid && load.alone
    return {
      version: value.version,
      by: value.by,
      source,
      ...(isAlone ? { aloneSince: load.startedAt } : {})
    }
  })
}

async function write(name: string, id: number): Promise<void> {
  await noted('write', `${name}:${id}`, async (op) => {
    const { value, cache: outcome } = await collections.get(name)!.put(id, { id: '', version: 0, by: op })
    return { version: value!.version, by: value!.by, outcome }
  })
}

/** A change past the cache, which is told afterwards: of the row, of a tag that it has, or of everything in its collection. */
async function changePast(name: string, id: number, tell: 'row' | 'tag' | 'collection'): Promise<void> {
  await noted('change', `${name}:${id}`, async (op) => {
    const { version, by } = await change(`${name}:${id}`, op)
    for (let left = 20; ; left--) {
      try {
        if (tell === 'row') return { version, by, outcome: await collections.get(name)!.invalidate(id), tell }
        if (tell === 'tag') await cache.invalidateTags([tagOf(name, id)])
        else await collections.get(name)!.clear({ clean: Math.random() < 0.1 })
        return { version, by, outcome: 'confirmed', tell }
      } catch (error) {
        if (left === 0) throw error
        await sleep(100)
      }
    }
  })
}

async function lane(): Promise<void> {
  const names = [...collections.keys()]
  while (isRunning) {
    const name = names[Math.floor(Math.random() * names.length)]!
    const id = 1 + Math.floor(Math.random() * ROWS)
    const draw = Math.random()
    if (draw < 0.72) for (let left = readsInARow; left > 0 && isRunning; left--) await read(name, id)
    else if (draw < 0.9) await write(name, id)
    else if (draw < 0.96) await changePast(name, id, 'row')
    else if (draw < 0.99) await changePast(name, id, 'tag')
    else await changePast(name, id, 'collection')
    await sleep(Math.random() * 4)
  }
}

const commands: MemberCommands = {
  async open(options: MemberOptions): Promise<void> {
    pool = new Pool({
      connectionString: options.databaseUrl,
      max: 6,
      connectionTimeoutMillis: 2_000,
      statement_timeout: 2_500
    })
    pool.on('error', () => undefined) // A connection that the server closed: the next query opens another.
    const { redis } = options
    if (options.memoryTtlMs > 0) readsInARow = 4
    cache = createCache({
      redis: redis.kind === 'cluster' ? new Cluster([...redis.nodes], CLUSTER_OPTIONS) : { ...redis.options },
      namespace: 'chaos',
      memory: options.memoryTtlMs > 0 && { maxBytes: 4_000_000, ttl: options.memoryTtlMs },
      ...options.limits
    })
    openCollection('steady', { ttl: options.ttlMs, jitter: 0 })
    openCollection('brief', {
      ttl: Math.min(options.ttlMs, 400),
      stale: 400,
      staleIfError: '1s',
      version: (row: Row) => row.version,
      whenRedisAway: 'remember'
    })
  },

  start(file: string): void {
    history = openSync(file, 'a')
    isRunning = true
    running = Promise.all(Array.from({ length: LANES }, lane))
  },

  async stop(): Promise<number> {
    isRunning = false
    await running
    return operations
  },

  underWay: () =>
    [...underWay.values()].map(({ op, kind, id, startedAt }) => {
      return `${kind} ${op} of ${id}, for ${Math.round((nowUs() - startedAt) / 1_000)} ms`
    }),

  async look(name: string, id: number): Promise<Row | undefined> {
    return collections.get(name)!.get(id)
  },

  pending: () => cache.stats().pendingInvalidations,

  redisState: () => cache.stats().redis.state
}

const CLUSTER_OPTIONS = {
  enableOfflineQueue: false,
  clusterRetryStrategy: () => 100,
  redisOptions: { connectTimeout: 1_000, maxRetriesPerRequest: 0 }
}

serveCommands(commands)
