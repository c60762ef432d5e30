/*
 * What the compiler knows of reads. Compiled by `npm run check:types`, never run: a line that should be an error and is
 * none fails by its `@ts-expect-error`.
 */
import { Redis } from 'ioredis'
import * as v from 'valibot'
import { expectTypeOf } from 'vitest'
import { z } from 'zod'
import { createCache, type Cache, type Collection, type Lookup, type TenantId } from '../../src/index.js'

interface Product {
  readonly id: number
  readonly name: string
}
declare const findProduct: (id: number) => Promise<Product | undefined>
declare const findProducts: (ids: readonly number[]) => Promise<Map<number, Product>>

const cache = createCache({ namespace: 'shop' })
expectTypeOf(cache).toEqualTypeOf<Cache>()
expectTypeOf(cache).not.toBeAny()

// Id and Value come from `load`.
const products = cache.collection('products', { ttl: '1h', load: (id: number) => findProduct(id) })
expectTypeOf(products).toEqualTypeOf<Collection<number, Product>>()
expectTypeOf<Parameters<typeof products.get>[0]>().toEqualTypeOf<number>()
expectTypeOf(products.get(1)).resolves.toEqualTypeOf<Product | undefined>()
expectTypeOf(products.lookup(1)).resolves.toEqualTypeOf<Lookup<Product>>()
expectTypeOf(products.refresh(1)).resolves.toEqualTypeOf<Product | undefined>()
expectTypeOf(products.getMany([1])).resolves.toEqualTypeOf<Map<number, Product>>()
expectTypeOf(products.getMany(new Set([1]))).resolves.toEqualTypeOf<Map<number, Product>>()
expectTypeOf(products.invalidate(1)).resolves.toEqualTypeOf<'confirmed' | 'pending'>()
expectTypeOf(products.peek(1)).resolves.toEqualTypeOf<Product | undefined>()
expectTypeOf(products.set(1, { id: 1, name: 'a' })).resolves.toEqualTypeOf<boolean>()
expectTypeOf(products.name).toEqualTypeOf<string>()
// @ts-expect-error -- an id of another type
void products.get('1')
// @ts-expect-error -- half a product
void products.set(1, { id: 1 })
// @ts-expect-error -- one of them is of another type
void products.getMany([1, '2'])
// @ts-expect-error -- ids in a list
void products.getMany(1)
// @ts-expect-error -- no such option
void products.get(1, { timeout: 5 })
void products.get(1, { signal: AbortSignal.timeout(5) })

// `undefined` means "not found" and is no part of Value; `null` is.
const sometimes = cache.collection('sometimes', {
  ttl: 1,
  load: (id: string) => (id === '' ? undefined : id.length)
})
expectTypeOf(sometimes).toEqualTypeOf<Collection<string, number>>()
const nullable = cache.collection('nullable', {
  ttl: 1,
  load: async (id: string) => (id === '' ? null : id.length)
})
expectTypeOf(nullable.get('a')).resolves.toEqualTypeOf<number | null | undefined>()

// What the loader is told.
cache.collection('told', {
  ttl: 1,
  load: (id: number, context) => {
    expectTypeOf(context.signal).toEqualTypeOf<AbortSignal>()
    expectTypeOf(context.tenant).toEqualTypeOf<TenantId | undefined>()
    return id
  }
})

// `loadMany` answers what `load` answers.
const batched = cache.collection('batched', {
  ttl: 1,
  load: (id: number) => findProduct(id),
  loadMany: (ids, context) => {
    expectTypeOf(ids).toEqualTypeOf<readonly number[]>()
    expectTypeOf(context.signal).toEqualTypeOf<AbortSignal>()
    return findProducts(ids)
  }
})
expectTypeOf(batched).toEqualTypeOf<Collection<number, Product>>()
cache.collection('as-a-list', {
  ttl: 1,
  load: (id: number) => findProduct(id),
  loadMany: async (ids) => Promise.all(ids.map(findProduct))
})
cache.collection('other-value', {
  ttl: 1,
  load: (id: number) => findProduct(id),
  // @ts-expect-error -- names instead of products
  loadMany: async (ids: readonly number[]) => new Map(ids.map((id) => [id, 'name']))
})
cache.collection('other-id', {
  ttl: 1,
  load: (id: number) => findProduct(id),
  // @ts-expect-error -- ids as strings
  loadMany: async () => new Map<string, Product>()
})

// Ids.
cache.collection('by-object', { ttl: 1, load: (id: { brand: string; page?: number }) => id.brand })
cache.collection('by-tuple', {
  ttl: 1,
  load: ([country, id]: readonly [string, number]) => `${country}${id}`
})
cache.collection('by-bigint', { ttl: 1, load: (id: bigint) => id })
cache.collection('by-literal', { ttl: 1, load: (page: 'home' | 'about') => page })
// @ts-expect-error -- a date has more than one text
cache.collection('by-date', { ttl: 1, load: (at: Date) => at.getTime() })
// @ts-expect-error -- neither has a function
cache.collection('by-function', { ttl: 1, load: (id: () => void) => id })
// @ts-expect-error -- undefined is no id
void products.get(undefined)

// An interface has no index signature, so an id with names is a `type`.
type Search = { readonly brand: string; readonly page?: number }
interface SearchInterface {
  readonly brand: string
}
cache.collection('by-type', { ttl: 1, load: (id: Search) => id.brand })
// @ts-expect-error -- an interface
cache.collection('by-interface', { ttl: 1, load: (id: SearchInterface) => id.brand })

// What may be there is passed on as it is.
declare const perhaps: '1s' | undefined
void cache.ready({ timeout: perhaps })
void cache.flush({ timeout: perhaps })
void cache.close({ timeout: perhaps })
void cache.write([products.key(1)], async () => 1, { timeout: perhaps, whenRedisAway: undefined })

// Durations.
cache.collection('ms', { ttl: '250ms', stale: '0.5s', notFoundTtl: 0, load: () => 1 })
cache.collection('days', { ttl: '7d', load: () => 1 })
// @ts-expect-error -- not a unit
cache.collection('words', { ttl: '5 minutes', load: () => 1 })
// @ts-expect-error -- no unit
cache.collection('bare', { ttl: '5', load: () => 1 })
// @ts-expect-error -- a ttl is required
cache.collection('none', { load: () => 1 })
// @ts-expect-error -- misspelt
cache.collection('misspelt', { ttl: 1, tll: 1, load: () => 1 })

// Schemas of several libraries.
cache.collection('zod', { ttl: 1, schema: z.object({ id: z.number() }), load: (id: number) => ({ id }) })
cache.collection('valibot', { ttl: 1, schema: v.object({ id: v.number() }), load: (id: number) => ({ id }) })
// @ts-expect-error -- not a schema
cache.collection('no-schema', { ttl: 1, schema: (value: unknown) => value, load: () => 1 })

// Without a collection.
expectTypeOf(cache.getOrLoad('k', () => 1, { ttl: 1 })).resolves.toEqualTypeOf<number | undefined>()
expectTypeOf(cache.getOrLoad('k', async () => findProduct(1), { ttl: 1 })).resolves.toEqualTypeOf<
  Product | undefined
>()
expectTypeOf(cache.tenant('acme').getOrLoad('k', () => 'v', { ttl: 1 })).resolves.toEqualTypeOf<
  string | undefined
>()
void cache.getOrLoad('k', ({ signal }) => signal.aborted, { ttl: 1, signal: AbortSignal.timeout(1) })
// @ts-expect-error -- a ttl is required
void cache.getOrLoad('k', () => 1)
expectTypeOf(cache.get('k')).resolves.toBeUnknown()
expectTypeOf(cache.set('k', 1, { ttl: 1 })).resolves.toEqualTypeOf<boolean>()
// @ts-expect-error -- a ttl is required
void cache.set('k', 1)
// @ts-expect-error -- a date is no key
void cache.getOrLoad(new Date(), () => 1, { ttl: 1 })

// Connections.
createCache({ namespace: 'a', redis: 'redis://127.0.0.1' })
createCache({ namespace: 'a', redis: { host: 'h', port: 1, tls: {} } })
createCache({ namespace: 'a', redis: { sentinels: [{ host: 'h', port: 1 }], name: 'main' } })
createCache({ namespace: 'a', redis: new Redis() })
createCache({ namespace: 'a', redis: process.env['REDIS_URL'] })
// @ts-expect-error -- a namespace is required
createCache({ redis: 'redis://127.0.0.1' })
// @ts-expect-error -- misspelt
createCache({ namespace: 'a', comandTimeout: 1 })
