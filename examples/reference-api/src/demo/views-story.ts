import type pg from 'pg'
import { createCatalogue } from '../catalogue.js'
import { startWorker, type WorkerProcess } from '../local-servers.js'
import { openDatabase } from '../store/database.js'
import { createMovieStore } from '../store/movie-store.js'
import { count, table } from './report.js'
import { step } from './step.js'
import type { WorkerCommands } from './worker-process.js'

export interface ViewsStage {
  readonly databaseUrl: string
  readonly redisUrl: string
  readonly database: pg.Client
  /** Told of each process as soon as it runs. */
  readonly started: (worker: WorkerProcess<WorkerCommands>) => void
}

/** Apart from the API's own, whose workers would help. */
export const VIEWS_NAMESPACE = 'views-story'

const SHOP = 'main'
const FILMS = 500
const DIRECT_VIEWS = 1_500
const VIEWS = 30_000
const VISITORS = 500
const CONNECTIONS = 10

interface Recorded {
  readonly how: string
  readonly views: number
  readonly perSecond: number
  readonly counted: number
  readonly events: number
}

/**
 * Visitors look at films, and each look is counted and kept: by two statements, as it is written by hand, and behind the
 * visitors' backs, where a worker is killed in the middle. Afterwards PostgreSQL is asked for the totals.
 */
export async function countViews(stage: ViewsStage): Promise<string> {
  const outcomes = [await directly(stage), await behind(stage)]
  return table(
    ['each view counted and kept', 'views', 'accepted a second', 'counted', 'events'],
    outcomes.map(({ how, views, perSecond, counted, events }) => [
      how,
      count(views),
      count(perSecond),
      count(counted),
      count(events)
    ])
  )
}

function directly({ databaseUrl, database }: ViewsStage): Promise<Recorded> {
  return step(`Two statements a view: ${count(DIRECT_VIEWS)} views`, async ({ done }) => {
    await empty(database)
    const pool = openDatabase(databaseUrl, { connections: CONNECTIONS, applicationName: 'demo' })
    try {
      const perSecond = await visit(DIRECT_VIEWS, async (film) => {
        await pool.query(
          `insert into movie_store.product_views values ($1, $2, 1)
           on conflict (shop_id, product_id) do update set views = product_views.views + 1`,
          [SHOP, film]
        )
        await pool.query('insert into movie_store.page_views values ($1, $2, $3, now())', [
          SHOP,
          film,
          'demo'
        ])
      })
      done(`Two statements a view: ${count(perSecond)} a second`)
      return { how: 'two statements', views: DIRECT_VIEWS, perSecond, ...(await totals(database)) }
    } finally {
      await pool.close()
    }
  })
}

function behind(stage: ViewsStage): Promise<Recorded> {
  const { databaseUrl, redisUrl, database } = stage
  return step(`Corral: ${count(VIEWS)} views, and a worker is killed in the middle`, async ({ done }) => {
    await empty(database)
    const pool = openDatabase(databaseUrl, { connections: 2, applicationName: 'demo' })
    const { cache, views } = createCatalogue(createMovieStore(pool), redisUrl, pool.pool, VIEWS_NAMESPACE)
    const workers = await Promise.all([startViewsWorker(stage), startViewsWorker(stage)])
    try {
      let seen = 0
      const perSecond = await visit(VIEWS, async (film) => {
        await views.record(SHOP, { productId: film, referrer: 'demo', seenAt: new Date() })
        if (++seen === VIEWS / 2) void workers[0]?.kill()
      })
      await cache.flush()
      done(`Corral: ${count(perSecond)} a second, and one worker less`)
      return { how: 'Corral', views: VIEWS, perSecond, ...(await totals(database)) }
    } finally {
      await Promise.all(workers.map((worker) => worker.kill()))
      await cache.close()
      await pool.close()
    }
  })
}

async function startViewsWorker({
  databaseUrl,
  redisUrl,
  started
}: ViewsStage): Promise<WorkerProcess<WorkerCommands>> {
  const worker = await startWorker<WorkerCommands>(new URL('./worker-process.ts', import.meta.url), {
    env: { DATABASE_URL: databaseUrl, REDIS_URL: redisUrl }
  })
  started(worker)
  await worker.call('start')
  return worker
}

/** Views a second, by visitors of whom each waits for its own. */
async function visit(views: number, look: (film: number) => Promise<void>): Promise<number> {
  let next = 0
  const visitor = async (): Promise<void> => {
    for (let view = next++; view < views; view = next++) await look(1 + (view % FILMS))
  }
  const startedAt = performance.now()
  await Promise.all(Array.from({ length: VISITORS }, visitor))
  return Math.round((views / (performance.now() - startedAt)) * 1000)
}

async function empty(database: pg.Client): Promise<void> {
  await database.query('truncate movie_store.product_views, movie_store.page_views')
}

async function totals(database: pg.Client): Promise<{ counted: number; events: number }> {
  const { rows } = await database.query<{ counted: string; events: string }>(
    `select (select coalesce(sum(views), 0) from movie_store.product_views) as counted,
            (select count(*) from movie_store.page_views) as events`
  )
  return { counted: Number(rows[0]?.counted), events: Number(rows[0]?.events) }
}
