/** A process that brings to PostgreSQL what others wrote behind. */
import pg from 'pg'
import { createCache, postgresSink } from 'corral'
import { serveCommands } from '../../test/support/processes.js'

const commands = {
  async open(redisUrl: string, postgresUrl: string): Promise<void> {
    const pool = new pg.Pool({ connectionString: postgresUrl, max: 10 })
    const cache = createCache({ redis: redisUrl, namespace: 'bench', commandTimeout: '5s' })
    cache.ingest('events', { sink: postgresSink(pool, { table: 'events', columns: ['id', 'at', 'path'] }) })
    await cache.worker().ready()
  }
}

export type SinkWorker = typeof commands
serveCommands(commands)
