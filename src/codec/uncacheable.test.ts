import { expect, it } from 'vitest'
import { formatPath, reasonToRefuse } from './uncacheable.js'

it('writes a path as one would in code', () => {
  const containers = [{}, [], {}, {}, new Map(), new Set()]
  const steps = ['books', 3, 'unit price', 'größe', 0, 2]
  expect(formatPath(containers, steps, 6)).toBe('$.books[3]["unit price"].größe.entries[0].values[2]')
  expect(formatPath(containers, steps, 2)).toBe('$.books[3]')
  expect(formatPath(containers, ['books', undefined], 2)).toBe('$.books')
  expect(formatPath([], [], 0)).toBe('$')
})

it('names the class of an instance, if it has a name', () => {
  expect(reasonToRefuse(new URL('http://a.example'))).toContain('an instance of URL')
  expect(reasonToRefuse(Object.create({ constructor: 1 }))).toContain('an instance of an unnamed class')
  expect(reasonToRefuse(Object.create(Object.create(null)))).toContain('an instance of an unnamed class')
})
