/* What the compiler knows of tenants: with `tenancy: 'required'` a call without one does not compile. */
import { expectTypeOf } from 'vitest'
import {
  createCache,
  type Cache,
  type CacheOptions,
  type Collection,
  type CollectionOptions,
  type CollectionReads,
  type CollectionWrites,
  type CollectionTenants
} from '../../src/index.js'

const strict = createCache({ namespace: 'shop', tenancy: 'required' })
expectTypeOf(strict).toEqualTypeOf<Cache<'required'>>()
// @ts-expect-error -- no tenant
void strict.getOrLoad('k', () => 1, { ttl: 1 })
// @ts-expect-error -- no tenant
void strict.get('k')
// @ts-expect-error -- no tenant
void strict.set('k', 1, { ttl: 1 })
// @ts-expect-error -- no tenant
void strict.delete('k')
expectTypeOf(strict.tenant('acme').getOrLoad('k', () => 1, { ttl: 1 })).resolves.toEqualTypeOf<
  number | undefined
>()
expectTypeOf(strict.tenant('acme').get('k')).resolves.toBeUnknown()
strict.stats()
void strict.close()

// Collections are as their cache is …
const products = strict.collection('products', { ttl: 1, load: (id: number) => `${id}` })
expectTypeOf(products).toEqualTypeOf<
  CollectionTenants<number, string> & Pick<CollectionReads<number, string>, 'clear'>
>()
// @ts-expect-error -- no tenant
void products.get(1)
// @ts-expect-error -- no tenant
void products.getMany([1])
// @ts-expect-error -- no tenant
void products.invalidate(1)
// @ts-expect-error -- no tenant
void products.put(1, '1')
// @ts-expect-error -- no tenant
products.key(1)
expectTypeOf(products.tenant('acme')).toEqualTypeOf<
  CollectionReads<number, string> & CollectionWrites<number, string>
>()
expectTypeOf(products.tenant(7).get(1)).resolves.toEqualTypeOf<string | undefined>()
expectTypeOf(products.tenant(7n).getMany([1])).resolves.toEqualTypeOf<Map<number, string>>()
// @ts-expect-error -- a tenant of a tenant
products.tenant('acme').tenant('other')
// @ts-expect-error -- a header that may be missing is no tenant
products.tenant(undefined)
// @ts-expect-error -- a header that may be missing is no tenant
strict.tenant(undefined)

// … unless they say otherwise.
const countries = strict.collection('countries', {
  tenancy: 'optional',
  ttl: 1,
  load: (code: string) => code
})
expectTypeOf(countries.get('de')).resolves.toEqualTypeOf<string | undefined>()
expectTypeOf(countries.tenant('acme').get('de')).resolves.toEqualTypeOf<string | undefined>()

const loose = createCache({ namespace: 'shop' })
expectTypeOf(loose).toEqualTypeOf<Cache<'optional'>>()
const orders = loose.collection('orders', { tenancy: 'required', ttl: 1, load: (id: number) => id })
// @ts-expect-error -- no tenant
void orders.get(1)
expectTypeOf(orders.tenant('acme').get(1)).resolves.toEqualTypeOf<number | undefined>()

// @ts-expect-error -- neither of the two
createCache({ namespace: 'shop', tenancy: 'sometimes' })

// Options that are written as a type of their own say with it what the tenancy is; else a collection is as its cache.
declare const prepared: CollectionOptions<number, string>
expectTypeOf(loose.collection('prepared', prepared)).toEqualTypeOf<Collection<number, string, 'optional'>>()
expectTypeOf(strict.collection('prepared', prepared)).toEqualTypeOf<Collection<number, string, 'required'>>()
declare const shared: CollectionOptions<number, string, 'none'>
expectTypeOf(strict.collection('shared', shared)).toEqualTypeOf<Collection<number, string, 'none'>>()
const untold: CollectionOptions<number, string> = {
  ttl: 1,
  load: String,
  // @ts-expect-error -- the type does not say so
  tenancy: 'required'
}
loose.collection('untold', untold)
declare const ofCache: CacheOptions
expectTypeOf(createCache(ofCache)).toEqualTypeOf<Cache>()
declare const ofStrict: CacheOptions<'required'>
expectTypeOf(createCache(ofStrict)).toEqualTypeOf<Cache<'required'>>()
// @ts-expect-error -- the type does not say so
const untoldCache: CacheOptions = { namespace: 'shop', tenancy: 'required' }
createCache(untoldCache)
