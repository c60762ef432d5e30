import { type Cache, createCache, type LoadContext } from 'corral'
import { type Homepage, MAIN_SHOP, type MovieStore, type Product, type Shop } from './store/movie-store.js'

export interface Answer<Value> {
  readonly source: 'cache' | 'database'
  readonly data: Value | undefined
}

/** What the API reads, through the cache. A tenant is a shop; without one it is the main shop. */
export interface Catalogue {
  readonly cache: Cache
  product(id: number, tenant: string | undefined): Promise<Answer<Product>>
  products(ids: readonly number[], tenant: string | undefined): Promise<Map<number, Product>>
  homepage(tenant: string | undefined): Promise<Answer<Homepage>>
  shop(id: string): Promise<Shop | undefined>
}

export function createCatalogue(store: MovieStore, redisUrl: string, namespace = 'shop'): Catalogue {
  const cache = createCache({ redis: redisUrl, namespace })

  const products = cache.collection('products', {
    ttl: '1h',
    stale: '10m',
    notFoundTtl: '30s',
    load: async (id: number, { tenant, signal }) =>
      (await store.findProducts(shopOf(tenant), [id], signal)).get(id),
    loadMany: (ids, { tenant, signal }) => store.findProducts(shopOf(tenant), ids, signal)
  })

  const pages = cache.collection('pages', {
    ttl: '1m',
    stale: '10m',
    load: (_page: 'home', { tenant, signal }) => store.buildHomepage(shopOf(tenant), signal)
  })

  const shops = cache.collection('shops', {
    ttl: '5m',
    stale: '1h',
    load: (id: string, { signal }) => store.findShop(id, signal)
  })

  return {
    cache,
    product: async (id, tenant) => answerOf(await forTenant(products, tenant).lookup(id)),
    products: (ids, tenant) => forTenant(products, tenant).getMany(ids),
    homepage: async (tenant) => answerOf(await forTenant(pages, tenant).lookup('home')),
    shop: (id) => shops.get(id)
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
