import fc from 'fast-check'

export type Kind = 'put' | 'delete' | 'append' | Count

/** An increment. */
export interface Count {
  /** Whether it says what to add to, and of which entry: of the one that is there, or another. */
  readonly base: 'none' | 'right' | 'wrong'
  readonly isNew: boolean
  readonly stamp: number
  /** What it makes is fresh for hardly any time. */
  readonly isShort: boolean
}

/** A step that both take. */
export type Step =
  | {
      readonly do: 'append'
      readonly producer: number
      /** Its next batch, the last one again, or one before that. */
      readonly batch: 'next' | 'again' | 'old'
      readonly kinds: readonly Kind[]
      readonly shards: number
      readonly most: number
    }
  | {
      readonly do: 'settle'
      /** Which of the stream's entries, or one that is not there, or is another producer's. */
      readonly which: number | 'none' | 'other'
      readonly fates: string
      readonly isLast: boolean
    }
  | { readonly do: 'read'; readonly most: number }
  | { readonly do: 'hold'; readonly worker: number; readonly isShort: boolean }
  | { readonly do: 'release'; readonly worker: number }
  | { readonly do: 'delete'; readonly key: number }
  /** Somebody loads an entry: its lease, and what it brings home. */
  | { readonly do: 'lease' | 'fill'; readonly key: number; readonly loader: number }

export const KEYS = 2
const two = fc.nat(1)

const count: fc.Arbitrary<Count> = fc.record({
  base: fc.constantFrom('none' as const, 'right' as const, 'right' as const, 'wrong' as const),
  isNew: fc.boolean(),
  stamp: fc.constantFrom(0, 0, 1),
  isShort: fc.constantFrom(false, false, false, true)
})

const append: fc.Arbitrary<Step> = fc.record({
  do: fc.constant('append' as const),
  producer: two,
  batch: fc.constantFrom('next' as const, 'next' as const, 'next' as const, 'again' as const, 'old' as const),
  kinds: fc.array(
    fc.oneof(
      {
        arbitrary: fc.constantFrom('put' as const, 'put' as const, 'delete' as const, 'append' as const),
        weight: 1
      },
      { arbitrary: count, weight: 1 }
    ),
    { minLength: 1, maxLength: 3 }
  ),
  shards: fc.constantFrom(3, 3, 3, 3, 3, 4),
  most: fc.constantFrom(0, 0, 0, 4)
})

export const step: fc.Arbitrary<Step> = fc.oneof(
  { arbitrary: append, weight: 6 },
  {
    arbitrary: fc.record({
      do: fc.constant('settle' as const),
      which: fc.constantFrom(0, 0, 1, 2, 'none' as const, 'other' as const),
      fates: fc.constantFrom('11', '11', '01', '10'),
      isLast: fc.constantFrom(true, true, false)
    }),
    weight: 4
  },
  { arbitrary: fc.record({ do: fc.constant('read' as const), most: fc.constantFrom(1, 3, 100) }), weight: 2 },
  {
    arbitrary: fc.record({
      do: fc.constant('hold' as const),
      worker: two,
      isShort: fc.constantFrom(false, false, true)
    }),
    weight: 2
  },
  { arbitrary: fc.record({ do: fc.constant('release' as const), worker: two }), weight: 1 },
  { arbitrary: fc.record({ do: fc.constant('delete' as const), key: two }), weight: 1 },
  {
    arbitrary: fc.record({
      do: fc.constantFrom('lease' as const, 'fill' as const),
      key: two,
      loader: two
    }),
    weight: 3
  }
)
