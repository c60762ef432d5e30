import { MAIN_SHOP, type Shop } from '../store/movie-store.js'
import type { Movie } from './movies.js'

/** Shops with prices and stocks of their own; all but the first are reached by their `X-Tenant`. */
export const SHOPS: readonly (Shop & { readonly shareOfOrders: number; readonly priceFactor: number })[] = [
  { id: MAIN_SHOP, name: 'The Main Shop', shareOfOrders: 0.7, priceFactor: 1 },
  { id: 'acme', name: 'Acme Films', shareOfOrders: 0.15, priceFactor: 1.1 },
  { id: 'globex', name: 'Globex Pictures', shareOfOrders: 0.1, priceFactor: 0.85 },
  { id: 'initech', name: 'Initech Video', shareOfOrders: 0.05, priceFactor: 1.25 }
]

const COUNTRIES = ['AT', 'BR', 'CA', 'DE', 'ES', 'FR', 'GB', 'IN', 'IT', 'JP', 'NL', 'PL', 'SE', 'US']

/** The last order of the generated history, and how far it goes back. Fixed, so that every run has the same data. */
const LAST_ORDER_AT = Date.UTC(2026, 5, 30, 20)
const HISTORY_DAYS = 730
const DAY_MS = 86_400_000

export interface Offer {
  readonly shopId: string
  readonly productId: number
  readonly priceCents: number
  readonly stock: number
}

export interface Customer {
  readonly id: number
  readonly country: string
}

export interface Order {
  readonly id: number
  readonly shopId: string
  readonly customerId: number
  readonly orderedAt: Date
}

export interface OrderItem {
  readonly orderId: number
  readonly productId: number
  readonly quantity: number
  readonly priceCents: number
}

export interface Sales {
  readonly offers: readonly Offer[]
  readonly customers: readonly Customer[]
  readonly orders: readonly Order[]
  readonly items: readonly OrderItem[]
}

export interface SalesSize {
  readonly customers: number
  readonly orders: number
}

/** A history of sales made up from a seed: the same seed and size give the same rows on every machine. */
export function generateSales(movies: readonly Movie[], size: SalesSize, seed = 20_260_630): Sales {
  const random = seededRandom(seed)
  const customers = Array.from({ length: size.customers }, (_, index) => ({
    id: index + 1,
    country: pick(COUNTRIES, random())
  }))

  const listPrices = movies.map(() => 499 + 100 * Math.floor(random() * 16))
  const offers = SHOPS.flatMap((shop) =>
    movies.map((movie, index) => ({
      shopId: shop.id,
      productId: movie.id,
      priceCents: Math.round((listPrices[index] ?? 0) * shop.priceFactor),
      // One film in ten is sold out.
      stock: random() < 0.1 ? 0 : 1 + Math.floor(random() * 200)
    }))
  )
  const prices = new Map(offers.map((offer) => [`${offer.shopId}/${offer.productId}`, offer.priceCents]))

  const pickMovie = byPopularity(movies)
  const orders: Order[] = []
  const items: OrderItem[] = []
  for (let id = 1; id <= size.orders; id++) {
    const shop = pickShop(random())
    orders.push({
      id,
      shopId: shop.id,
      customerId: 1 + Math.floor(random() * size.customers),
      // The square root lets sales grow over the years.
      orderedAt: new Date(LAST_ORDER_AT - Math.floor((1 - Math.sqrt(random())) * HISTORY_DAYS * DAY_MS))
    })
    const bought = new Set<number>()
    const wanted = 1 + Math.floor(random() * 4)
    while (bought.size < wanted) bought.add(pickMovie(random()).id)
    for (const productId of bought) {
      items.push({
        orderId: id,
        productId,
        quantity: random() < 0.85 ? 1 : 2 + Math.floor(random() * 3),
        priceCents: prices.get(`${shop.id}/${productId}`) ?? 0
      })
    }
  }
  return { offers, customers, orders, items }
}

/** Films that many people rated are bought by many. */
function byPopularity(movies: readonly Movie[]): (share: number) => Movie {
  let total = 0
  const upTo = movies.map((movie) => {
    total += Math.sqrt(movie.imdbVotes ?? 0) + 10
    return total
  })
  return (share) => {
    const target = share * total
    let low = 0
    let high = movies.length - 1
    while (low < high) {
      const middle = (low + high) >> 1
      if ((upTo[middle] ?? 0) <= target) low = middle + 1
      else high = middle
    }
    return movies[low] as Movie
  }
}

function pickShop(share: number): (typeof SHOPS)[number] {
  let rest = share
  for (const shop of SHOPS) {
    rest -= shop.shareOfOrders
    if (rest < 0) return shop
  }
  return SHOPS[0] as (typeof SHOPS)[number]
}

function pick<T>(list: readonly T[], share: number): T {
  return list[Math.floor(share * list.length)] as T
}

/** mulberry32: small, fast, and enough for made-up sales. Gives numbers from 0 up to 1. */
function seededRandom(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}
