import { describe, expect, it } from 'vitest'
import { notAskedYet, readAccount, scanOrder, slotsThatMoved, type SlotAccount } from './slot-account.js'

const account = (id: string, has: Partial<SlotAccount> = {}): SlotAccount => ({
  id,
  epoch: 1,
  owns: new Set(),
  gives: new Map(),
  takes: new Map(),
  ...has
})
const idsOf = (accounts: readonly { id: string }[]): string => accounts.map(({ id }) => id).join(' ')

describe('what a node of a Cluster says', () => {
  it('is read from CLUSTER NODES: of itself all, of others what they have', () => {
    const reply = [
      'a1 10.0.0.1:6379@16379 myself,master - 0 0 7 connected 0-2 5 [2->-b2] [9-<-c3]',
      'b2 10.0.0.2:6379@16379,redis-b.local master - 0 1 8 connected 6-7 [2-<-a1]',
      'c3 ::1:6380@16380,,shard-id=f0 master,fail - 1 1 3 disconnected 9',
      'd4 10.0.0.4:6379@16379 slave a1 0 1 7 connected',
      'e5 :0@0 master,noaddr - 1 1 0 disconnected',
      ''
    ].join('\n')
    const { own, others } = readAccount(reply)
    expect(own).toEqual({
      id: 'a1',
      epoch: 7,
      owns: new Set([0, 1, 2, 5]),
      gives: new Map([[2, 'b2']]),
      takes: new Map([[9, 'c3']])
    })
    expect(
      others.map(({ id, address, epoch, owns, isLost }) => [id, address, epoch, [...owns], isLost])
    ).toEqual([
      ['b2', 'redis-b.local:6379', 8, [6, 7], false],
      ['c3', '::1:6380', 3, [9], true],
      ['d4', '10.0.0.4:6379', 7, [], false],
      ['e5', ':0', 0, [], true]
    ])
    expect(() => readAccount('')).toThrow('which node')
  })

  it('a replica claims nothing', () => {
    const { own } = readAccount('a1 10.0.0.1:6379@16379 myself,slave b2 0 0 7 connected')
    expect([...own.owns]).toEqual([])
  })
})

describe('who has to be asked', () => {
  const heard = (id: string, owns: number[], epoch = 1, isLost = false) => ({
    id,
    address: `${id}:1`,
    epoch,
    owns: new Set(owns),
    isLost
  })

  it('is whoever is said to have what nobody claims, lost or not', () => {
    const accounts = [account('a', { owns: new Set([1]) })]
    expect(idsOf(notAskedYet(accounts, [heard('a', [1]), heard('b', [2]), heard('c', [3], 1, true)]))).toBe(
      'b c'
    )
  })

  it('is whoever took over from one that does not know it yet; and not one that somebody has taken over from', () => {
    const accounts = [account('a', { owns: new Set([1]), epoch: 5 })]
    expect(idsOf(notAskedYet(accounts, [heard('newer', [1], 6), heard('older', [1], 4)]))).toBe('newer')
  })

  it('is whoever is being given a slot, but not one that is gone', () => {
    const gives = new Map([
      [1, 'b'],
      [2, 'gone']
    ])
    const accounts = [account('a', { owns: new Set([1, 2]), gives })]
    expect(idsOf(notAskedYet(accounts, [heard('b', []), heard('gone', [], 1, true)]))).toBe('b')
  })
})

describe('the order of a search', () => {
  const a = account('a', { owns: new Set([1, 2]), gives: new Map([[1, 'b']]) })
  const b = account('b', { owns: new Set([3]), takes: new Map([[1, 'a']]), gives: new Map([[3, 'c']]) })
  const c = account('c', { owns: new Set([4]), takes: new Map([[3, 'b']]) })

  it('is from who gives to who takes, and once more where both do', () => {
    expect(idsOf(scanOrder([c, b, a]))).toBe('a c b c')
  })

  it('leaves out who has nothing to do with the slots', () => {
    expect(idsOf(scanOrder([c, b, a], new Set([1])))).toBe('a b')
    expect(idsOf(scanOrder([c, b, a], new Set([4])))).toBe('c')
  })
})

describe('what moved between two looks', () => {
  const before = [account('a', { owns: new Set([1, 2]) }), account('b', { owns: new Set([3]) })]

  it('is nothing when all is as it was, in whatever order they answer', () => {
    expect(slotsThatMoved(before, before.toReversed()).size).toBe(0)
  })

  it.each([
    ['another has it', [account('a', { owns: new Set([2]) }), account('b', { owns: new Set([1, 3]) })], [1]],
    [
      'its move has begun',
      [account('a', { owns: new Set([1, 2]), gives: new Map([[2, 'b']]) }), before[1]!],
      [2]
    ],
    [
      'its owner was another meanwhile',
      [account('a', { owns: new Set([1, 2]), epoch: 9 }), before[1]!],
      [1, 2]
    ],
    ['nobody has it', [before[0]!], [3]]
  ])('is a slot when %s', (_, after, slots) => {
    expect([...slotsThatMoved(before, after)]).toEqual(slots)
  })
})
