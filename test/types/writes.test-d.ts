/* What the compiler knows of writes. */
import { expectTypeOf } from 'vitest'
import { createCache, writeThrough, type EntryRef, type LoadContext, type Written } from '../../src/index.js'

interface Product {
  readonly id: number
  readonly price: number
}
declare const findProduct: (id: number) => Promise<Product | undefined>
declare const saveProduct: (id: number, product: Product) => Promise<Product>

const cache = createCache({ namespace: 'shop' })
const products = cache.collection('products', {
  ttl: 1,
  load: (id: number) => findProduct(id),
  write: (id, product, context) => {
    expectTypeOf(id).toEqualTypeOf<number>()
    expectTypeOf(product).toEqualTypeOf<Product>()
    expectTypeOf(context).toEqualTypeOf<LoadContext>()
    return saveProduct(id, product)
  },
  remove: async (id) => {
    expectTypeOf(id).toEqualTypeOf<number>()
  },
  version: (row) => {
    expectTypeOf(row).toEqualTypeOf<Product>()
    return row.price
  }
})
expectTypeOf(products.put(1, { id: 1, price: 2 })).resolves.toEqualTypeOf<Written<Product>>()
expectTypeOf(products.putMany([[1, { id: 1, price: 2 }]])).resolves.toEqualTypeOf<
  Map<number, Written<Product>>
>()
expectTypeOf(products.delete(1)).resolves.toEqualTypeOf<Written<undefined>>()
expectTypeOf(products.key(1)).toEqualTypeOf<EntryRef<Product>>()
// @ts-expect-error -- half a product
void products.put(1, { id: 1 })
// @ts-expect-error -- an id of another type
void products.put('1', { id: 1, price: 2 })

cache.collection('through', {
  ttl: 1,
  load: (id: number) => findProduct(id),
  write: writeThrough(async (id: number, product: Product) => saveProduct(id, product))
})
cache.collection('other-value', {
  ttl: 1,
  load: (id: number) => findProduct(id),
  // @ts-expect-error -- names instead of products
  write: writeThrough(async (_id: number, name: string) => name)
})
cache.collection('other-version', {
  ttl: 1,
  load: (id: number) => findProduct(id),
  // @ts-expect-error -- a number is needed
  version: (row: Product) => `${row.price}`
})
// @ts-expect-error -- neither of the two
cache.collection('away', { ttl: 1, whenRedisAway: 'ignore', load: () => 1 })

// A change of one's own.
const written = cache.write([products.key(1)], async ({ publish, signal }) => {
  expectTypeOf(signal).toEqualTypeOf<AbortSignal>()
  publish(products.key(1), { id: 1, price: 3 })
  publish(products.key(1), undefined)
  // @ts-expect-error -- a row of something else
  publish(products.key(1), { name: 'x' })
  return 'done' as const
})
expectTypeOf(written).resolves.toEqualTypeOf<Written<'done'>>()
// @ts-expect-error -- a key as text says nothing of what it holds
void cache.write(['shop:products:1'], async () => undefined)
