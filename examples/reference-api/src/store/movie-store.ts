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
  findShop(id: string, signal?: AbortSignal): Promise<Shop | undefined>
  buildHomepage(shop: string, signal?: AbortSignal): Promise<Homepage>
  ping(): Promise<void>
}

const SQL = {
  products: readSql('products'),
  shop: readSql('shop'),
  homepage: readSql('homepage')
}

export function createMovieStore(database: Database): MovieStore {
  return {
    findProducts: async (shop, ids, signal) => {
      const rows = await database.query<Product>(SQL.products, [shop, ids], signal)
      return new Map(rows.map((product) => [product.id, product]))
    },
    findShop: async (id, signal) => (await database.query<Shop>(SQL.shop, [id], signal))[0],
    buildHomepage: async (shop, signal) => {
      const [row] = await database.query<{ homepage: Homepage }>(SQL.homepage, [shop], signal)
      if (row === undefined) throw new Error('The query of the home page gave no row')
      return row.homepage
    },
    ping: async () => {
      await database.query('select 1', [])
    }
  }
}

export function readSql(name: string): string {
  return readFileSync(new URL(`./sql/${name}.sql`, import.meta.url), 'utf8')
}
