import { setTimeout as sleep } from 'node:timers/promises'
import type { Redis } from 'ioredis'
import { type ApiRequest, offerOf, productIdOf } from '../requests.js'
import type { ApiAnswer, Route } from '../routes.js'
import { type Homepage, MAIN_SHOP, type MovieStore, type Product } from '../store/movie-store.js'

/** A key of its own for each, so that a straggler of one round is no head start for the next. */
const BLOG_KEY = 'demo:blog:homepage'
const BLOG_FILM_KEY = 'demo:blog:film'
const LOCKED_KEY = 'demo:locked:homepage'
const LOCK = 'demo:locked:homepage:lock'
const TTL_SECONDS = 60
const LOCK_MS = 30_000
const POLL_MS = 50

/**
 * The home page as it is written by hand: without a cache, with the cache of the blog posts, and with the lock that the
 * better ones add. They are kinder than most: when its client has left, a request gives its work up. And a film as the
 * blog posts keep it: what was saved is put into the cache after the row, so that the next reader has it.
 */
export function createRivalRoutes(store: MovieStore, redis: Redis): Route[] {
  const load = (signal: AbortSignal): Promise<Homepage> => store.buildHomepage(MAIN_SHOP, signal)

  const read = async <Value>(key: string): Promise<Value | undefined> => {
    const text = await redis.get(key)
    return text === null ? undefined : (JSON.parse(text) as Value)
  }
  const write = async (key: string, value: unknown): Promise<void> => {
    await redis.set(key, JSON.stringify(value), 'EX', TTL_SECONDS)
  }

  const withoutCache = async (signal: AbortSignal): Promise<ApiAnswer> => fromDatabase(await load(signal))

  const getElseLoadAndSet = async (signal: AbortSignal): Promise<ApiAnswer> => {
    const cached = await read<Homepage>(BLOG_KEY)
    if (cached !== undefined) return fromCache(cached)
    const page = await load(signal)
    await write(BLOG_KEY, page)
    return fromDatabase(page)
  }

  const lockAndPoll = async (signal: AbortSignal): Promise<ApiAnswer> => {
    for (;;) {
      const cached = await read<Homepage>(LOCKED_KEY)
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

  const getFilm = async (request: ApiRequest): Promise<ApiAnswer> => {
    const id = productIdOf(request)
    const cached = await read<Product>(`${BLOG_FILM_KEY}:${id}`)
    if (cached !== undefined) return fromCache(cached)
    const product = (await store.findProducts(MAIN_SHOP, [id])).get(id)
    await write(`${BLOG_FILM_KEY}:${id}`, product)
    return fromDatabase(product)
  }

  const putFilm = async (request: ApiRequest): Promise<ApiAnswer> => {
    const id = productIdOf(request)
    const { product } = await store.saveOffer(MAIN_SHOP, id, offerOf(request))
    await write(`${BLOG_FILM_KEY}:${id}`, product)
    return { json: { data: product } }
  }

  /** Through the connections of all the others, so its answer comes after all that was queued for one. */
  const drained = async (): Promise<ApiAnswer> => {
    await store.findShop(MAIN_SHOP)
    return { json: {} }
  }

  return [
    { method: 'get', path: '/demo/drained', handle: drained },
    { method: 'get', path: '/demo/no-cache/homepage', handle: ({ signal }) => withoutCache(signal) },
    { method: 'get', path: '/demo/blog/homepage', handle: ({ signal }) => getElseLoadAndSet(signal) },
    { method: 'get', path: '/demo/lock/homepage', handle: ({ signal }) => lockAndPoll(signal) },
    { method: 'get', path: '/demo/blog/products/:id', handle: getFilm },
    { method: 'put', path: '/demo/blog/products/:id', handle: putFilm }
  ]
}

function fromDatabase(data: unknown): ApiAnswer {
  return { json: { source: 'database', data } }
}

function fromCache(data: unknown): ApiAnswer {
  return { json: { source: 'cache', data } }
}
