import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { lateAfter } from '../support/late-after.js'
import { until } from '../support/until.js'
import { startFleet, type Fleet } from './fleet.js'

const LOAD_MS = 200

let fleet: Fleet

beforeAll(async () => {
  fleet = await startFleet(4, {
    loadMs: LOAD_MS,
    // Generous, so that a busy machine makes nobody go to the source past Redis.
    limits: { commandTimeout: '2s' },
    entries: { ttl: '3s', stale: '20s', failedTtl: '3s', jitter: 0, earlyRefresh: 0 }
  })
})
beforeEach(() => fleet.reset())
afterAll(() => fleet[Symbol.asyncDispose]())

/** How often each command was called since `CONFIG RESETSTAT`, those inside scripts included. */
async function commandsUntilNow(): Promise<Record<string, number>> {
  const info = await fleet.database.info('commandstats')
  return Object.fromEntries(
    [...info.matchAll(/cmdstat_(\S+?):calls=(\d+)/g)].map(([, name, calls]) => [name, Number(calls)])
  )
}

const PAST_THE_CACHE = [
  'info',
  'config|resetstat',
  'rpush',
  'llen',
  'flushall',
  'client|tracking',
  'client|id',
  'subscribe'
]

describe('a cold key and 5,000 callers in four processes', () => {
  it('is loaded once, and everybody gets the value (#1)', async () => {
    for (let round = 0; round < 10; round++) {
      await fleet.reset()
      const answers = await Promise.all(fleet.members.map((member) => member.call('getAtOnce', 1, 1_250)))
      expect(answers.map(({ values, errors }) => [values, errors])).toEqual(
        Array.from({ length: 4 }, () => [1_250, []])
      )
      const loaders = new Set(answers.flatMap(({ distinct }) => distinct.map((row) => row?.pid)))
      expect(loaders.size).toBe(1)
      expect(await fleet.loads()).toBe(1)
    }
  })

  it('costs at most 10 Redis commands per process, those inside scripts included (#11)', async () => {
    // Scripts known to the server, as after a first second of service.
    await Promise.all(fleet.members.map((member) => member.call('getAtOnce', 1, 10)))
    await fleet.reset()
    // Once in the life of a namespace the counters of what can be cleared are made: another key's first load does that,
    // when it does not take a copy from before the flush for good.
    await sleep(10)
    await fleet.members[0]!.call('getAtOnce', 2, 1)
    await fleet.database.config('RESETSTAT')
    await Promise.all(fleet.members.map((member) => member.call('getAtOnce', 1, 1_250)))
    const calls = Object.entries(await commandsUntilNow()).filter(([name]) => !PAST_THE_CACHE.includes(name))
    const queries = 3 // the loader's own: two GETs, and whether it is held
    // Each heartbeat is a PING, and a GET over the other connection of the pair.
    const heartbeats = 2 * (calls.find(([name]) => name === 'ping')?.[1] ?? 0)
    const total = calls.reduce((sum, [, count]) => sum + count, 0) - queries - heartbeats
    expect(total, JSON.stringify(calls)).toBeLessThanOrEqual(4 * 10)
    expect(total).toBeGreaterThan(4)
  })

  it('whose load fails: one load, and all hear of it promptly; the next only after the failure’s life (#9)', async () => {
    await fleet.database.set('failing', 'no route to host')
    const startedAt = performance.now()
    const asking = Promise.all(fleet.members.map((member) => member.call('getAtOnce', 2, 1_250)))
    const answers = await Promise.race([asking, lateAfter(2_500)])
    if (answers === 'late') throw new Error('Not all heard of it in time.')
    expect(answers.every(({ values }) => values === 0)).toBe(true)
    const errors = answers.flatMap((answer) => answer.errors)
    expect(errors.filter((error) => error === 'Error: no route to host')).toHaveLength(1)
    expect(
      errors.filter((error) => /^LoadFailedElsewhereError: .*no route to host/.test(error))
    ).toHaveLength(3)
    await Promise.all(fleet.members.map((member) => member.call('getAtOnce', 2, 100)))
    expect(await fleet.loads()).toBe(1)

    await fleet.database.del('failing')
    await until(
      'the failure is forgotten',
      async () => (await fleet.members[0]!.call('getAtOnce', 2, 1)).values === 1
    )
    expect(performance.now() - startedAt).toBeGreaterThan(2_400)
    expect(await fleet.loads()).toBe(2)
  })
})

describe('a value that goes stale', () => {
  it('is refreshed once in the fleet, and no caller waits', async () => {
    await fleet.members[0]!.call('get', 3)
    await sleep(3_050)
    await fleet.database.mset('version:3', 1, 'held', 1)
    const answers = await Promise.all(fleet.members.map((member) => member.call('getAtOnce', 3, 1_250)))
    for (const { sources, values } of answers) expect([values, sources]).toEqual([1_250, ['stale']])
    await fleet.database.del('held')
    await until('the new value is there', async () => (await fleet.members[1]!.call('get', 3))?.version === 1)
    expect(await fleet.loads()).toBe(2)
  })
})
