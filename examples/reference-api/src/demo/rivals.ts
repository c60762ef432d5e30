import { setTimeout as sleep } from 'node:timers/promises'
import type { Redis } from 'ioredis'
import type { ApiAnswer, Route } from '../routes.js'
import { type Homepage, MAIN_SHOP, type MovieStore } from '../store/movie-store.js'

/** A key of its own for each, so that a straggler of one round is no head start for the next. */
const BLOG_KEY = 'demo:blog:homepage'
const LOCKED_KEY = 'demo:locked:homepage'
const LOCK = 'demo:locked:homepage:lock'
const TTL_SECONDS = 60
const LOCK_MS = 30_000
const POLL_MS = 50

/**
 * The home page as it is written by hand: without a cache, with the cache of the blog posts, and with the lock that the
 * better ones add. They are kinder than most: when its client has left, a request gives its work up.
 */
export function createRivalRoutes(store: MovieStore, redis: Redis): Route[] {
  const load = (signal: AbortSignal): Promise<Homepage> => store.buildHomepage(MAIN_SHOP, signal)

  const read = async (key: string): Promise<Homepage | undefined> => {
    const text = await redis.get(key)
    return text === null ? undefined : (JSON.parse(text) as Homepage)
  }
  const write = async (key: string, page: Homepage): Promise<void> => {
    await redis.set(key, JSON.stringify(page), 'EX', TTL_SECONDS)
  }

  const withoutCache = async (signal: AbortSignal): Promise<ApiAnswer> => fromDatabase(await load(signal))

  const getElseLoadAndSet = async (signal: AbortSignal): Promise<ApiAnswer> => {
    const cached = await read(BLOG_KEY)
    if (cached !== undefined) return fromCache(cached)
    const page = await load(signal)
    await write(BLOG_KEY, page)
    return fromDatabase(page)
  }

  const lockAndPoll = async (signal: AbortSignal): Promise<ApiAnswer> => {
    for (;;) {
      const cached = await read(LOCKED_KEY)
      if (cached !== undefined) return fromCache(cached)
      if ((await redis.set(LOCK, '1', 'PX', LOCK_MS, 'NX')) === 'OK') {
        try {
          const page = await load(signal)
          await write(LOCKED_KEY, page)
          return fromDatabase(page)
        } finally {
          await redis.del(LOCK)
        }
      }
      await sleep(POLL_MS, undefined, { signal })
    }
  }

  return [
    { method: 'get', path: '/demo/no-cache/homepage', handle: ({ signal }) => withoutCache(signal) },
    { method: 'get', path: '/demo/blog/homepage', handle: ({ signal }) => getElseLoadAndSet(signal) },
    { method: 'get', path: '/demo/lock/homepage', handle: ({ signal }) => lockAndPoll(signal) }
  ]
}

function fromDatabase(page: Homepage): ApiAnswer {
  return { json: { source: 'database', data: page } }
}

function fromCache(page: Homepage): ApiAnswer {
  return { json: { source: 'cache', data: page } }
}
