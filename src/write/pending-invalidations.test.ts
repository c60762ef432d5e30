import { describe, expect, it } from 'vitest'
import { Cell } from '../tiers/generation.js'
import { LocalStore } from '../tiers/local-store.js'
import { tagKey } from '../keys/key-schema.js'
import { PendingInvalidations } from './pending-invalidations.js'

describe('what is delivered when only a part of it can be', () => {
  const store = {} as LocalStore
  const lost = new Error('a node does not answer')

  it('is every key but those that could not be told, from whatever page', async () => {
    const pending = new PendingInvalidations(10_000)
    const keys = Array.from({ length: 1_200 }, (_, id) => `key ${id}`)
    pending.add(keys, [], store)
    const isLost = (key: string): boolean => key.endsWith('7')
    const drop = async (page: readonly string[]): Promise<Map<string, Error>> =>
      new Map(page.filter(isLost).map((key) => [key, lost]))
    await expect(pending.deliver({ drop, move: async () => 1 })).rejects.toBe(lost)
    expect(keys.filter((key) => pending.has(key))).toEqual(keys.filter(isLost))
    await pending.deliver({ drop: async () => new Map(), move: async () => 1 })
    expect(pending.size).toBe(0)
    pending.close()
  })

  it('is no tag whose epoch could not be moved, and every other', async () => {
    const pending = new PendingInvalidations(10)
    const cells = ['one', tagKey('one', 'a'), 'two', tagKey('two', 'b')].map((key) => new Cell(key))
    pending.add([], cells, store)
    const moved: string[] = []
    const move = async (key: string): Promise<void> => {
      if (key === 'one') throw lost
      moved.push(key)
    }
    const drop = async (): Promise<Map<string, Error>> => new Map()
    await expect(pending.deliver({ drop, move })).rejects.toBe(lost)
    expect(moved).toEqual(['two', tagKey('two', 'b')])
    expect(cells.map(({ undelivered }) => undelivered)).toEqual([true, true, false, false])
    pending.close()
  })
})
