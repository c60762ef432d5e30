import { type Cache, type PgPool, type PostgresSink, postgresSink, type Worker, writeBehind } from 'corral'
import type { MovieStore } from './store/movie-store.js'

export interface PageView {
  readonly productId: number
  readonly referrer: string | undefined
  readonly seenAt: Date
}

/** What visitors look at: counted for each film, and kept as events. A visitor waits for Redis alone. */
export interface Views {
  /** Resolves with the number of views of the film, this one among them. */
  record(shop: string, view: PageView): Promise<number>
  of(shop: string, productId: number): Promise<number>
  /** Brings to PostgreSQL what this process and others have recorded. */
  worker(): Worker
  /** The two tables that Corral keeps its books in. */
  migrate(): Promise<void>
}

const SCHEMA = 'movie_store'

export function createViews(cache: Cache, store: MovieStore, pool: PgPool): Views {
  const counts: PostgresSink<number, number> = postgresSink(pool, {
    table: 'movie_store.product_views',
    key: 'product_id',
    value: 'views',
    tenant: 'shop_id',
    schema: SCHEMA
  })
  const views = cache.collection('views', {
    ttl: '1d',
    load: (id: number, { tenant, signal }) => store.countViews(String(tenant), id, signal),
    write: writeBehind({ sink: counts, flushEvery: '2s' }),
    tenancy: 'required'
  })
  const events = cache.ingest<PageView>('page_views', {
    sink: postgresSink<never, PageView>(pool, {
      table: 'movie_store.page_views',
      columns: {
        product_id: ({ productId }) => productId,
        referrer: ({ referrer }) => referrer,
        seen_at: ({ seenAt }) => seenAt
      },
      tenant: 'shop_id',
      schema: SCHEMA
    }),
    flushEvery: '2s'
  })

  return {
    record: async (shop, view) => {
      const [count] = await Promise.all([
        views.tenant(shop).increment(view.productId),
        events.tenant(shop).append(view)
      ])
      return count
    },
    of: async (shop, productId) => (await views.tenant(shop).get(productId)) ?? 0,
    worker: () => cache.worker(),
    migrate: () => counts.migrate()
  }
}
