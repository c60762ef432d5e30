import { expect, it } from 'vitest'
import { readMovies } from './movies.js'
import { generateSales, SHOPS } from './sales.js'

const SIZE = { customers: 100, orders: 2000 }

it('gives the same sales for the same seed, and others for another', async () => {
  const movies = await readMovies()
  const sales = generateSales(movies, SIZE)
  expect(generateSales(movies, SIZE)).toEqual(sales)
  expect(generateSales(movies, SIZE, 1)).not.toEqual(sales)
})

it('sells every film in every shop, and nothing twice in one order', async () => {
  const movies = await readMovies()
  const { offers, orders, items } = generateSales(movies, SIZE)
  expect(offers).toHaveLength(movies.length * SHOPS.length)
  expect(new Set(items.map(({ orderId, productId }) => `${orderId}/${productId}`)).size).toBe(items.length)
  expect(new Set(items.map(({ orderId }) => orderId)).size).toBe(orders.length)
  expect(new Set(orders.map(({ shopId }) => shopId))).toEqual(new Set(SHOPS.map(({ id }) => id)))
})
