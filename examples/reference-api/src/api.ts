import { createCatalogue } from './catalogue.js'
import { createOperatorRoutes } from './operator-routes.js'
import { createRoutes, type Route } from './routes.js'
import { type ApiServer, serve, type ServeOptions } from './server.js'
import { openDatabase } from './store/database.js'
import { createMovieStore, type MovieStore } from './store/movie-store.js'

export interface ApiOptions extends ServeOptions {
  readonly databaseUrl: string
  readonly redisUrl: string
  /** Whoever sends it may clear caches; nobody may without one. */
  readonly adminToken?: string | undefined
  /** Connections to PostgreSQL. Default 10. */
  readonly connections?: number
  /** Whether this process brings recorded views to PostgreSQL. Default true; false when processes of their own do. */
  readonly worker?: boolean
  /** Routes beside the API's own. */
  readonly moreRoutes?: (store: MovieStore) => readonly Route[]
}

/** One process of the API: database, cache and HTTP server joined, and closed in the opposite order. */
export async function startApi(options: ApiOptions): Promise<ApiServer> {
  const database = openDatabase(options.databaseUrl, options)
  const store = createMovieStore(database)
  const catalogue = createCatalogue(store, options.redisUrl, database.pool)
  const routes = [
    ...createRoutes(catalogue, options.adminToken),
    ...createOperatorRoutes(catalogue.cache, store),
    ...(options.moreRoutes?.(store) ?? [])
  ]
  await catalogue.views.migrate()
  if (options.worker ?? true) catalogue.views.worker()
  const server = await serve(routes, options)
  return {
    url: server.url,
    close: async () => {
      await server.close()
      await catalogue.cache.close()
      await database.close()
    }
  }
}
