import { describe, expect, it } from 'vitest'
import { keySlot } from './key-slot.js'

describe('the slot of a key', () => {
  // What CLUSTER KEYSLOT of a Redis 7.0.15 answers.
  it.each([
    ['', 0],
    ['123456789', 12_739],
    ['foo', 12_182],
    ['shop:products:42', 15_758],
    ['shop:views:{views.3}:42', 14_828],
    ['{views.3}', 14_828],
    ['foo{}{bar}', 8_363],
    ['foo{{bar}}zap', 4_015],
    ['f{oo', 4_335],
    ['käse:1', 3_737]
  ])('of %j is %d', (key, slot) => {
    expect(keySlot(key)).toBe(slot)
  })
})
