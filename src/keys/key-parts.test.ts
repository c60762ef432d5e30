import { describe, expect, it } from 'vitest'
import { collectionPrefix, idPart } from './key-schema.js'
import { escapedGlob, isInternalKey, mayBeInternalKey, partsOfKey, scopePrefix } from './key-parts.js'

describe('the parts of a key', () => {
  it('are those it was made of', () => {
    expect(partsOfKey(collectionPrefix('shop', 'products') + idPart(42))).toEqual({
      namespace: 'shop',
      tenant: undefined,
      collection: 'products',
      id: '42'
    })
    expect(partsOfKey(collectionPrefix('shop', 'products', 'a:c*') + idPart('x:y'))).toEqual({
      namespace: 'shop',
      tenant: 'a%3Ac%2A',
      collection: 'products',
      id: 'x%3Ay'
    })
  })

  it('are none for keys that hold no entry, and for other programs’ keys', () => {
    for (const key of ['shop:#gen:c:products', 'shop', 'shop:a:b:c', 'shop:tenant:acme:#gen:1', ':a:b', '']) {
      expect(partsOfKey(key), key).toBeUndefined()
    }
    expect(isInternalKey('shop:#behind:orders:0')).toBe(true)
    expect(isInternalKey('shop:products:#hash')).toBe(false)
  })

  it('show Corral’s own keys also behind the prefix of a driver, and take no hash for one', () => {
    for (const key of ['shop:#gen', 'shop:#behind:{views.3}:stream', 'app:shop:#tag:~:red', 'shop:#usage'])
      expect(mayBeInternalKey(key), key).toBe(true)
    const long = 'x'.repeat(300)
    for (const key of [
      collectionPrefix('shop', 'products', long) + idPart(7),
      collectionPrefix('shop', 'products') + idPart(long),
      collectionPrefix('shop', 'products') + idPart('#gen')
    ])
      expect(mayBeInternalKey(key), key).toBe(false)
  })

  it('make the prefix of a scope, which is the prefix of its keys and of no other tenant’s', () => {
    const prefix = scopePrefix({ namespace: 'shop', tenant: '1' })
    expect(`${collectionPrefix('shop', 'products', 1)}7`.startsWith(prefix)).toBe(true)
    expect(`${collectionPrefix('shop', 'products', 10)}7`.startsWith(prefix)).toBe(false)
    expect(scopePrefix({ namespace: 'shop', tenant: '1', collection: 'a' })).toBe(
      collectionPrefix('shop', 'a', 1)
    )
    expect(scopePrefix({ namespace: 'shop', collection: 'a' })).toBe(collectionPrefix('shop', 'a'))
  })

  it('stand for themselves in a pattern', () => {
    expect(escapedGlob('a*b?c[d]e\\f')).toBe('a\\*b\\?c\\[d\\]e\\\\f')
  })
})
