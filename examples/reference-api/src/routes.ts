import type { Catalogue } from './catalogue.js'
import { Problem } from './problems.js'
import {
  type ApiRequest,
  assertAdmin,
  genreOf,
  offerOf,
  pageOf,
  productIdOf,
  productIdsOf,
  referrerOf,
  tenantOf
} from './requests.js'
import { MAIN_SHOP } from './store/movie-store.js'

/** An answer as plain data: `json` for the API, `text` for the metrics. */
export type ApiAnswer =
  | { readonly status?: number; readonly json: unknown }
  | { readonly status?: number; readonly text: string; readonly contentType: string }

export interface Route {
  readonly method: 'get' | 'put' | 'post' | 'delete'
  readonly path: string
  readonly handle: (request: ApiRequest) => Promise<ApiAnswer>
}

/** What the shop's visitors and its administrators ask. @param adminToken without it nobody is an administrator */
export function createRoutes(catalogue: Catalogue, adminToken?: string): Route[] {
  return [
    { method: 'get', path: '/api/products/:id', handle: getProduct },
    { method: 'get', path: '/api/products', handle: getProducts },
    { method: 'put', path: '/api/products/:id', handle: putProduct },
    { method: 'delete', path: '/api/products/:id', handle: deleteProduct },
    { method: 'post', path: '/api/products/:id/views', handle: postView },
    { method: 'get', path: '/api/products/:id/views', handle: getViews },
    { method: 'get', path: '/api/homepage', handle: getHomepage },
    { method: 'get', path: '/api/genres/:genre', handle: getGenre },
    { method: 'delete', path: '/api/admin/cache', handle: clearCache }
  ]

  async function getProduct(request: ApiRequest): Promise<ApiAnswer> {
    const id = productIdOf(request)
    const { source, data } = await catalogue.product(id, await knownTenantOf(request))
    if (data === undefined) throw new Problem(404, `There is no product ${id}.`)
    return { json: { source, data } }
  }

  async function getProducts(request: ApiRequest): Promise<ApiAnswer> {
    const ids = productIdsOf(request)
    const found = await catalogue.products(ids, await knownTenantOf(request))
    return { json: { data: [...found.values()], missing: ids.filter((id) => !found.has(id)) } }
  }

  async function putProduct(request: ApiRequest): Promise<ApiAnswer> {
    const [id, offer] = [productIdOf(request), offerOf(request)]
    const { value, cache } = await catalogue.saveOffer(id, offer, await knownTenantOf(request))
    return { status: value.created ? 201 : 200, json: { cache, data: value.product } }
  }

  async function deleteProduct(request: ApiRequest): Promise<ApiAnswer> {
    const { cache } = await catalogue.removeOffer(productIdOf(request), await knownTenantOf(request))
    return { json: { cache } }
  }

  /** The view is in Redis when this answers, and in PostgreSQL a moment later. */
  async function postView(request: ApiRequest): Promise<ApiAnswer> {
    const [productId, referrer] = [productIdOf(request), referrerOf(request)]
    const shop = await shopWith(productId, request)
    const views = await catalogue.views.record(shop, { productId, referrer, seenAt: new Date() })
    return { status: 202, json: { data: { views } } }
  }

  async function getViews(request: ApiRequest): Promise<ApiAnswer> {
    const productId = productIdOf(request)
    const shop = await shopWith(productId, request)
    return { json: { data: { views: await catalogue.views.of(shop, productId) } } }
  }

  /** The shop that is asked, which has the film. */
  async function shopWith(productId: number, request: ApiRequest): Promise<string> {
    const tenant = await knownTenantOf(request)
    const { data } = await catalogue.product(productId, tenant)
    if (data === undefined) throw new Problem(404, `There is no product ${productId}.`)
    return tenant ?? MAIN_SHOP
  }

  async function getHomepage(request: ApiRequest): Promise<ApiAnswer> {
    return { json: await catalogue.homepage(await knownTenantOf(request)) }
  }

  async function getGenre(request: ApiRequest): Promise<ApiAnswer> {
    const [genre, page] = [genreOf(request.params['genre']), pageOf(request)]
    const { source, data } = await catalogue.genre(genre, page, await knownTenantOf(request))
    if (data === undefined) throw new Problem(404, `There is no page ${page} of "${genre}".`)
    return { json: { source, data } }
  }

  /** After a change past this API, such as a price list that was loaded by SQL: one shop's cache, or one genre's listings. */
  async function clearCache(request: ApiRequest): Promise<ApiAnswer> {
    assertAdmin(request, adminToken)
    const tenant = await knownTenantOf(request)
    const { genre } = request.query
    if (genre === undefined) await catalogue.clear(tenant)
    else await catalogue.clearGenre(genreOf(genre), tenant)
    return { json: { cleared: { tenant: tenant ?? 'all', ...(genre === undefined ? {} : { genre }) } } }
  }

  /** Whether a shop exists is cached like anything else: made-up names do not reach the database twice. */
  async function knownTenantOf(request: ApiRequest): Promise<string | undefined> {
    const tenant = tenantOf(request)
    // The main shop by its own name has the same entries as without one.
    if (tenant === undefined || tenant === MAIN_SHOP) return undefined
    if ((await catalogue.shop(tenant)) === undefined)
      throw new Problem(404, `There is no tenant "${tenant}".`)
    return tenant
  }
}
