import { expect, it } from 'vitest'
import { ObjectShape, ShapeCache } from './object-shape.js'

const counting = () => {
  let next = 0
  return { read: () => next++ }
}

it('builds the same object before and after it is compiled', () => {
  const keys = ['a', '__proto__', 'b c', '"]}), process.exit(1), ({"', '\u2028', '${x}', '0']
  const shape = new ObjectShape(JSON.stringify(keys), false)
  const expected = Object.fromEntries(keys.map((key, index) => [key, index]))
  for (let use = 0; use < 100; use++) {
    const built = use % 2 === 0 ? shape.build(counting()) : shape.buildFrozen(counting())
    expect(Object.entries(built)).toEqual(Object.entries(expected))
    expect(Object.getPrototypeOf(built)).toBe(Object.prototype)
    expect(Object.isFrozen(built)).toBe(use % 2 === 1)
  }
})

it('builds objects without a prototype', () => {
  const shape = new ObjectShape('["a","__proto__"]', true)
  for (let use = 0; use < 100; use++) {
    const built = shape.build(counting())
    expect(Object.getPrototypeOf(built)).toBeNull()
    expect(Object.entries(built)).toEqual([
      ['a', 0],
      ['__proto__', 1]
    ])
  }
})

it('refuses key lists that no object has', () => {
  for (const keys of ['["a","a"]', '[1]', '{"a":1}', 'null', '["a"', '[["a"]]', '']) {
    expect(() => new ObjectShape(keys, false)).toThrow()
  }
})

it('remembers the shapes in use, and forgets the others', () => {
  const cache = new ShapeCache()
  const rows = cache.get('["id","name"]', false)
  const once = cache.get('["once"]', false)
  for (let other = 0; other < 5000; other++) {
    cache.get(`["k${other}"]`, false)
    expect(cache.get('["id","name"]', false)).toBe(rows)
  }
  expect(cache.get('["once"]', false)).not.toBe(once)
})

it('tells apart key lists that differ in the prototype only', () => {
  const cache = new ShapeCache()
  expect(cache.get('["a"]', true)).not.toBe(cache.get('["a"]', false))
})
