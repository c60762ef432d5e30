import { readFileSync } from 'node:fs'
import type { Database } from './database.js'

/** The shop of whoever names none. */
export const MAIN_SHOP = 'main'

export interface Product {
  readonly id: number
  readonly title: string
  readonly genre: string | null
  readonly releasedOn: string | null
  readonly mpaaRating: string | null
  readonly runningMinutes: number | null
  readonly distributor: string | null
  readonly director: string | null
  readonly basedOn: string | null
  readonly worldwideGross: number | null
  readonly criticsPercent: number | null
  readonly imdbRating: number | null
  readonly imdbVotes: number | null
  readonly priceCents: number
  readonly stock: number
  /** Grows with every change of price or stock. */
  readonly version: number
}

/** A page of one genre, as a shop lists it. */
export interface GenrePage {
  readonly genre: string
  readonly page: number
  readonly films: readonly Pick<Product, 'id' | 'title' | 'priceCents' | 'stock' | 'imdbRating'>[]
}

/** What a shop decides for itself about a film. */
export interface Offer {
  readonly priceCents: number
  readonly stock: number
  /** The version that it was edited from; undefined overwrites whatever is there. */
  readonly version: number | undefined
}

export interface SavedOffer {
  readonly product: Product
  /** The shop had no such offer before. */
  readonly created: boolean
}

/** There is no film, or no offer of it in this shop, with this id. */
export class UnknownProductError extends Error {
  constructor(id: number) {
    super(`There is no product ${id}.`)
  }
}

/** Somebody else has changed or removed the offer since it was read. */
export class OutdatedOfferError extends Error {
  constructor(id: number, version: number) {
    super(`Product ${id} is not at version ${version} any more: read it again.`)
  }
}

export interface Shop {
  readonly id: string
  readonly name: string
}

export interface Homepage {
  readonly topByGenre: Readonly<Record<string, readonly { id: number; title: string; sold: number }[]>>
  readonly revenueByMonth: readonly { month: string; revenueCents: number; customers: number }[]
  readonly newest: readonly { id: number; title: string; releasedOn: string }[]
  readonly bestRated: readonly { id: number; title: string; imdbRating: number; priceCents: number }[]
}

/** Everything this service asks PostgreSQL, and nothing about caching. */
export interface MovieStore {
  findProducts(shop: string, ids: readonly number[], signal?: AbortSignal): Promise<Map<number, Product>>
  /** Commits, and gives the row as it was saved. Throws `UnknownProductError` and `OutdatedOfferError`. */
  saveOffer(shop: string, id: number, offer: Offer, signal?: AbortSignal): Promise<SavedOffer>
  /** Throws `UnknownProductError`. */
  removeOffer(shop: string, id: number, signal?: AbortSignal): Promise<void>
  /** Undefined for a film without one, and for one that there is not. */
  findGenre(id: number, signal?: AbortSignal): Promise<string | undefined>
  /** Best rated first; undefined beyond the last page, and for a genre that there is not. Pages count from 1. */
  listGenre(shop: string, genre: string, page: number, signal?: AbortSignal): Promise<GenrePage | undefined>
  findShop(id: string, signal?: AbortSignal): Promise<Shop | undefined>
  buildHomepage(shop: string, signal?: AbortSignal): Promise<Homepage>
  /** Undefined when nobody has looked at the film in this shop yet. */
  countViews(shop: string, id: number, signal?: AbortSignal): Promise<number | undefined>
  /** Rejects when the database does not answer, and never waits behind what others ask it. */
  ping(): Promise<void>
}

const FILMS_A_PAGE = 20

const SQL = {
  products: readSql('products'),
  saveOffer: readSql('save-offer'),
  editOffer: readSql('edit-offer'),
  removeOffer: readSql('remove-offer'),
  film: readSql('film'),
  genre: readSql('genre'),
  shop: readSql('shop'),
  homepage: readSql('homepage'),
  productViews: readSql('product-views')
}

export function createMovieStore(database: Database): MovieStore {
  return {
    findProducts: async (shop, ids, signal) => {
      const rows = await database.query<Product>(SQL.products, [shop, ids], signal)
      return new Map(rows.map((product) => [product.id, product]))
    },
    saveOffer: async (shop, id, { priceCents, stock, version }, signal) => {
      const [sql, edited] = version === undefined ? [SQL.saveOffer, []] : [SQL.editOffer, [version]]
      const parameters = [shop, id, priceCents, stock, ...edited]
      const [row] = await database.query<Product & { created: boolean }>(sql, parameters, signal)
      if (row !== undefined) {
        const { created, ...product } = row
        return { product, created }
      }
      const isFilm = (await database.query(SQL.film, [id], signal)).length > 0
      throw isFilm && version !== undefined
        ? new OutdatedOfferError(id, version)
        : new UnknownProductError(id)
    },
    removeOffer: async (shop, id, signal) => {
      const removed = await database.query(SQL.removeOffer, [shop, id], signal)
      if (removed.length === 0) throw new UnknownProductError(id)
    },
    findGenre: async (id, signal) => {
      const [film] = await database.query<{ genre: string | null }>(SQL.film, [id], signal)
      return film?.genre ?? undefined
    },
    listGenre: async (shop, genre, page, signal) => {
      const offset = (page - 1) * FILMS_A_PAGE
      const films = await database.query<GenrePage['films'][number]>(
        SQL.genre,
        [shop, genre, FILMS_A_PAGE, offset],
        signal
      )
      return films.length === 0 ? undefined : { genre, page, films }
    },
    findShop: async (id, signal) => (await database.query<Shop>(SQL.shop, [id], signal))[0],
    buildHomepage: async (shop, signal) => {
      const [row] = await database.query<{ homepage: Homepage }>(SQL.homepage, [shop], signal)
      if (row === undefined) throw new Error('The query of the home page gave no row')
      return row.homepage
    },
    countViews: async (shop, id, signal) => {
      const [row] = await database.query<{ views: string }>(SQL.productViews, [shop, id], signal)
      return row && Number(row.views)
    },
    ping: () => database.ping()
  }
}

/** The statement of a file, with what other files it includes. */
export function readSql(name: string): string {
  const sql = readFileSync(new URL(`./sql/${name}.sql`, import.meta.url), 'utf8')
  return sql.replaceAll(/^ *-- @include ([a-z-]+)$/gm, (_, included: string) => readSql(included).trimEnd())
}
