import type pg from 'pg'
import { connectClient } from '../store/database.js'
import { readSql } from '../store/movie-store.js'
import { readMovies } from './movies.js'
import { generateSales, type SalesSize, SHOPS } from './sales.js'

export interface LoadSummary {
  readonly products: number
  readonly orders: number
  readonly orderItems: number
}

/** The history that makes the home page a heavy query: about 250,000 order items. */
export const FULL_SIZE: SalesSize = { customers: 20_000, orders: 100_000 }

const ROWS_PER_STATEMENT = 20_000

/** Creates the store's tables and fills them, all or nothing. */
export async function loadStore(
  url: string,
  size: SalesSize = FULL_SIZE,
  onProgress: (done: string) => void = () => undefined
): Promise<LoadSummary> {
  const movies = await readMovies()
  const { offers, customers, orders, items } = generateSales(movies, size)
  const client = await connectClient({ connectionString: url })
  try {
    const insert = async <Row extends object>(
      table: string,
      types: Readonly<Record<string, string>>,
      rows: readonly Row[]
    ): Promise<void> => {
      for (let done = 0; done < rows.length; done += ROWS_PER_STATEMENT) {
        await insertBatch(client, table, types, rows.slice(done, done + ROWS_PER_STATEMENT))
        onProgress(`${table}: ${Math.min(done + ROWS_PER_STATEMENT, rows.length)} of ${rows.length} rows`)
      }
    }
    await client.query('begin')
    await client.query(readSql('schema'))
    await client.query(readSql('views'))
    await insert('shops', { id: 'text', name: 'text' }, SHOPS)
    await insert('products', PRODUCT_TYPES, movies)
    await insert('offers', { shopId: 'text', productId: 'int', priceCents: 'int', stock: 'int' }, offers)
    await insert('customers', { id: 'int', country: 'text' }, customers)
    await insert('orders', { id: 'int', shopId: 'text', customerId: 'int', orderedAt: 'timestamptz' }, orders)
    await insert(
      'order_items',
      { orderId: 'int', productId: 'int', quantity: 'int', priceCents: 'int' },
      items
    )
    onProgress('indexes')
    await client.query(readSql('constraints'))
    await client.query('commit')
  } finally {
    await client.end()
  }
  return { products: movies.length, orders: orders.length, orderItems: items.length }
}

/** Whether a database has the store's tables already. */
export async function isLoaded(url: string): Promise<boolean> {
  const client = await connectClient({ connectionString: url })
  try {
    const { rows } = await client.query<{ found: boolean }>(
      "select to_regclass('movie_store.order_items') is not null and to_regclass('movie_store.page_views') is not null as found"
    )
    return rows[0]?.found === true
  } finally {
    await client.end()
  }
}

const PRODUCT_TYPES = {
  id: 'int',
  title: 'text',
  genre: 'text',
  releasedOn: 'date',
  mpaaRating: 'text',
  runningMinutes: 'int',
  distributor: 'text',
  director: 'text',
  basedOn: 'text',
  worldwideGross: 'bigint',
  criticsPercent: 'int',
  imdbRating: 'numeric',
  imdbVotes: 'int'
}

/** One statement for many rows: a column is sent as one array, and `unnest` puts the rows together again. */
async function insertBatch<Row extends object>(
  client: pg.Client,
  table: string,
  types: Readonly<Record<string, string>>,
  rows: readonly Row[]
): Promise<void> {
  const names = Object.keys(types)
  const columns = names.map(toSnakeCase).join(', ')
  const arrays = Object.values(types).map((type, index) => `$${index + 1}::${type}[]`)
  const values = names.map((name) => rows.map((row) => row[name as keyof Row]))
  await client.query(
    `insert into movie_store.${table} (${columns}) select * from unnest(${arrays.join(', ')})`,
    values
  )
}

function toSnakeCase(name: string): string {
  return name.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)
}
