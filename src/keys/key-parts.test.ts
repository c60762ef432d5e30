import { describe, expect, it } from 'vitest'
import { collectionPrefix, idPart } from './key-schema.js'
import { escapedGlob, isInternalKey, partsOfKey, scopePrefix } from './key-parts.js'

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
