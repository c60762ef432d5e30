import type { Cache } from 'corral'
import { renderMetrics } from './metrics.js'
import type { ApiAnswer, Route } from './routes.js'
import type { MovieStore } from './store/movie-store.js'

/** What those who run the service ask of each of its processes. */
export function createOperatorRoutes(cache: Cache, store: MovieStore): Route[] {
  return [
    { method: 'get', path: '/health', handle: getHealth },
    { method: 'get', path: '/metrics', handle: getMetrics }
  ]

  /** Without Redis the API is slower but serves; without the database it does not. */
  async function getHealth(): Promise<ApiAnswer> {
    const redis = cache.stats().redis.state
    try {
      await store.ping()
      return { json: { status: 'ok', database: 'ready', redis } }
    } catch {
      return { status: 503, json: { status: 'down', database: 'away', redis } }
    }
  }

  async function getMetrics(): Promise<ApiAnswer> {
    return {
      text: renderMetrics(cache.stats()),
      contentType: 'text/plain; version=0.0.4; charset=utf-8'
    }
  }
}
