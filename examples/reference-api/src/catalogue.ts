import { type Cache, createCache, type LoadContext, type PgPool, type Written } from 'corral'
import {
  type GenrePage,
  type Homepage,
  MAIN_SHOP,
  type MovieStore,
  type Offer,
  type Product,
  type SavedOffer,
  type Shop
} from './store/movie-store.js'
import { createViews, type Views } from './views.js'

export interface Answer<Value> {
  readonly source: 'cache' | 'database'
  readonly data: Value | undefined
}

/** What the API reads and changes, through the cache. A tenant is a shop; without one it is the main shop. */
export interface Catalogue {
  readonly cache: Cache
  readonly views: Views
  product(id: number, tenant: string | undefined): Promise<Answer<Product>>
  products(ids: readonly number[], tenant: string | undefined): Promise<Map<number, Product>>
  homepage(tenant: string | undefined): Promise<Answer<Homepage>>
  genre(genre: string, page: number, tenant: string | undefined): Promise<Answer<GenrePage>>
  /** Throws what the store throws, and then nothing is cached of the product. */
  saveOffer(id: number, offer: Offer, tenant: string | undefined): Promise<Written<SavedOffer>>
  removeOffer(id: number, tenant: string | undefined): Promise<Written<undefined>>
  shop(id: string): Promise<Shop | undefined>
  /** After prices were changed past this API: all that is cached of a shop, or every listing of one of its genres. */
  clear(tenant: string | undefined): Promise<void>
  clearGenre(genre: string, tenant: string | undefined): Promise<void>
}

export function createCatalogue(
  store: MovieStore,
  redisUrl: string,
  pool: PgPool,
  namespace = 'shop'
): Catalogue {
  const cache = createCache({ redis: redisUrl, namespace })

  const products = cache.collection('products', {
    ttl: '1h',
    stale: '10m',
    notFoundTtl: '30s',
    load: async (id: number, { tenant, signal }) =>
      (await store.findProducts(shopOf(tenant), [id], signal)).get(id),
    loadMany: (ids, { tenant, signal }) => store.findProducts(shopOf(tenant), ids, signal),
    remove: (id, { tenant, signal }) => store.removeOffer(shopOf(tenant), id, signal),
    version: ({ version }) => version
  })

  const pages = cache.collection('pages', {
    ttl: '1m',
    stale: '10m',
    load: (_page: 'home', { tenant, signal }) => store.buildHomepage(shopOf(tenant), signal)
  })

  /** A film may stand on any page of its genre: one tag names them all, however many there are. */
  const genrePages = cache.collection('genre-pages', {
    ttl: '10m',
    stale: '1h',
    load: ({ genre, page }: { genre: string; page: number }, { tenant, signal }) =>
      store.listGenre(shopOf(tenant), genre, page, signal),
    tags: ({ genre }) => [`genre:${genre}`]
  })

  const shops = cache.collection('shops', {
    ttl: '5m',
    stale: '1h',
    load: (id: string, { signal }) => store.findShop(id, signal)
  })

  const tagsOf = (tenant: string | undefined): Pick<Cache, 'tag' | 'invalidateTags'> =>
    tenant === undefined ? cache : cache.tenant(tenant)

  /**
   * The home page and the listings of a genre show prices, so an offer that changes makes them wrong. Their `ttl` would
   * bound for how long, but a customer would see one price there and another on the film's own page: so they are dropped
   * with every change. Nobody waits for the writer to build them anew; the first reader who wants one does, once for all.
   * A shop that changes prices all day would leave them to the `ttl`.
   */
  const andPagesOf = async <Saved>(
    id: number,
    tenant: string | undefined,
    change: () => Promise<Written<Saved>>
  ): Promise<Written<Saved>> => {
    // A film never changes its genre. One that the shop does not have yet stands on no page, but will from now on.
    const genre = (await store.findGenre(id)) ?? 'Other'
    const pageRefs = [forTenant(pages, tenant).key('home'), tagsOf(tenant).tag(`genre:${genre}`)]
    const { value, cache: outcome } = await cache.write(pageRefs, change)
    return outcome === 'pending' ? { ...value, cache: 'pending' } : value
  }

  return {
    cache,
    views: createViews(cache, store, pool),
    product: async (id, tenant) => answerOf(await forTenant(products, tenant).lookup(id)),
    products: (ids, tenant) => forTenant(products, tenant).getMany(ids),
    homepage: async (tenant) => answerOf(await forTenant(pages, tenant).lookup('home')),
    genre: async (genre, page, tenant) =>
      answerOf(await forTenant(genrePages, tenant).lookup({ genre, page })),
    saveOffer: (id, offer, tenant) => {
      const product = forTenant(products, tenant).key(id)
      return andPagesOf(id, tenant, () =>
        cache.write([product], async ({ publish, signal }) => {
          const saved = await store.saveOffer(shopOf(tenant), id, offer, signal)
          publish(product, saved.product)
          return saved
        })
      )
    },
    removeOffer: (id, tenant) => andPagesOf(id, tenant, () => forTenant(products, tenant).delete(id)),
    shop: (id) => shops.get(id),
    clear: async (tenant) => {
      // Served to nobody from here on; what it took in Redis is removed in the background.
      await (tenant === undefined ? cache : cache.tenant(tenant)).clear()
    },
    clearGenre: (genre, tenant) => tagsOf(tenant).invalidateTags([`genre:${genre}`])
  }
}

function shopOf(tenant: LoadContext['tenant']): string {
  return tenant === undefined ? MAIN_SHOP : String(tenant)
}

/** A collection itself, or its part of one tenant. */
function forTenant<Reads>(
  collection: Reads & { tenant(tenant: string): Reads },
  tenant: string | undefined
): Reads {
  return tenant === undefined ? collection : collection.tenant(tenant)
}

function answerOf<Value>({ source, value }: { source: string; value: Value | undefined }): Answer<Value> {
  return { source: source === 'loader' ? 'database' : 'cache', data: value }
}
