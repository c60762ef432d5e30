/** An Express API over PostgreSQL, with one cache or none, in a process of its own. */
import type { AddressInfo } from 'node:net'
import express from 'express'
import { Pool } from 'pg'
import { serveCommands } from '../../test/support/processes.js'
import type { Row } from '../support/rows.js'
import { definitionOf } from './contenders.js'
import { MEMORY_CONTENDERS } from './memory-contenders.js'

export interface HttpOpening {
  readonly name: string
  readonly kind: HttpKind
  readonly redisUrl: string
  readonly postgresUrl: string
  readonly namespace: string
  readonly keys: number
}

/** Where an answer comes from: the row by its key or what is counted anew each time, or a cache in front of the latter. */
export type HttpKind = 'row' | 'page' | 'redis' | 'memory'

const AN_HOUR_MS = 3_600_000
const CONNECTIONS = 10

const ROW = 'SELECT data FROM products WHERE id = $1'
/** A product with what its reviews say, as its page shows it. */
const PAGE =
  "SELECT p.data || jsonb_build_object('stars', r.stars, 'count', r.count) AS data FROM products p, LATERAL (" +
  'SELECT avg(stars)::float8 AS stars, count(*)::int AS count FROM reviews WHERE product_id = p.id) r WHERE p.id = $1'

let loads = 0

const commands = {
  /** Gives the port. */
  async open({ name, kind, redisUrl, postgresUrl, namespace, keys }: HttpOpening): Promise<number> {
    const pool = new Pool({ connectionString: postgresUrl, max: CONNECTIONS })
    const query = async (id: number): Promise<Row> => {
      loads++
      const text = kind === 'row' ? ROW : PAGE
      return (await pool.query<{ data: Row }>({ name: 'product', text, values: [id] })).rows[0]!.data
    }
    const get = await readerOf(kind, name, { redisUrl, namespace, keys, query })
    const app = express()
    app.disable('x-powered-by')
    app.get('/products/:id', async (request, response) => {
      response.json(await get(Number(request.params.id)))
    })
    const server = app.listen(0, '127.0.0.1')
    await new Promise((resolve) => server.once('listening', resolve))
    const { port } = server.address() as AddressInfo
    return port
  },

  /** Queries since the last time that it was asked. */
  loads(): number {
    const since = loads
    loads = 0
    return since
  }
}

export type HttpServerWorker = typeof commands

serveCommands(commands)

interface Sources {
  readonly redisUrl: string
  readonly namespace: string
  readonly keys: number
  readonly query: (id: number) => Promise<Row>
}

async function readerOf(
  kind: HttpKind,
  name: string,
  { redisUrl: url, namespace, keys, query }: Sources
): Promise<(id: number) => Promise<Row | undefined> | Row | undefined> {
  if (kind === 'row' || kind === 'page') return query
  if (kind === 'memory') {
    const definition = MEMORY_CONTENDERS.find((one) => one.name === name)!
    const cache = await definition.open({ url, namespace, keys, load: query })
    return (id) => cache.get(id)
  }
  const cache = await definitionOf(name).open({
    url,
    namespace,
    ttlMs: AN_HOUR_MS,
    staleMs: 0,
    load: query
  })
  return (id) => cache.get(id)
}
