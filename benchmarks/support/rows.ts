/** The values that are cached: rows as an API over a product table has them, plain JSON unless the name says otherwise. */
export interface Row {
  readonly id: number
  readonly [column: string]: unknown
}

export type Shape = '200 B' | '2 KiB' | '50 KiB' | '50 KiB with dates'

export const SHAPES: readonly Shape[] = ['200 B', '2 KiB', '50 KiB', '50 KiB with dates']

/** The same row for the same id in every process. */
export function makeRow(shape: Shape, id: number): Row {
  switch (shape) {
    case '200 B':
      return product(id, 2)
    case '2 KiB':
      return {
        ...product(id, 145),
        attributes: Object.fromEntries(ATTRIBUTES.map((name, index) => [name, word(id + index * 7)])),
        images: times(
          4,
          (index) => `https://cdn.example.com/products/${id}/${word(id + index)}-${index}.webp`
        ),
        reviews: times(4, (index) => ({
          id: id * 10 + index,
          author: `${word(id + index)} ${word(id * 3 + index)}`,
          stars: 1 + ((id + index) % 5),
          text: words(id + index, 8)
        }))
      }
    case '50 KiB':
      return {
        id,
        category: word(id),
        page: 1,
        total: 4_000 + id,
        rows: times(262, (index) => product(id + index, 2))
      }
    case '50 KiB with dates':
      return {
        id,
        category: word(id),
        page: 1,
        total: 4_000 + id,
        rows: times(195, (index) => dated(id + index))
      }
  }
}

function product(id: number, descriptionWords: number): Row {
  return {
    id,
    name: `${word(id)} ${word(id * 7 + 3)}`,
    brand: `${word(id % 40)} & Sons`,
    price: 5 + ((id * 137) % 9_000) / 100,
    currency: 'EUR',
    stock: (id * 31) % 500,
    active: id % 9 !== 0,
    discount: id % 4 === 0 ? ((id * 13) % 50) / 100 : null,
    tags: [word(id % 23), word(id % 31)],
    description: words(id, descriptionWords)
  }
}

function dated(id: number): Row {
  return {
    ...product(id, 2),
    createdAt: new Date(1_700_000_000_000 + id * 1_234_567),
    updatedAt: new Date(1_710_000_000_000 + id * 7_654_321)
  }
}

const ATTRIBUTES = ['material', 'colour', 'size', 'origin', 'season', 'care']
const WORDS = (
  'amber basket candle drawer ember fabric garden hollow island jacket kettle ladder marble needle orchard pillow ' +
  'quartz ribbon saddle timber umbrella velvet walnut yellow zephyr anchor bottle copper dapper engine'
).split(' ')

function word(seed: number): string {
  return WORDS[(Math.imul(seed + 1, 0x9e37_79b1) >>> 8) % WORDS.length]!
}

function words(seed: number, count: number): string {
  return times(count, (index) => word(seed * 31 + index * 17)).join(' ')
}

function times<T>(count: number, make: (index: number) => T): T[] {
  return Array.from({ length: count }, (_, index) => make(index))
}
