import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, describe, expect, it } from 'vitest'
import { lateAfter } from '../support/late-after.js'
import { until } from '../support/until.js'
import { startFleet, type Fleet } from './fleet.js'

const LEASE_MS = 2_000
const LOAD_MS = 300
/** What the schedule of a busy machine may add to what is stated. Counts are exact all the same. */
const SLACK_MS = 400

let fleet: Fleet

const start = async (size: number): Promise<Fleet> => {
  fleet = await startFleet(size, {
    loadMs: LOAD_MS,
    limits: { lease: LEASE_MS, commandTimeout: '2s' },
    entries: { ttl: '1m', jitter: 0, earlyRefresh: 0 }
  })
  return fleet
}

afterEach(() => fleet[Symbol.asyncDispose]())

describe('the process that loads', () => {
  it('is killed: another takes over within the lease, and there are two loads in all (#7)', async () => {
    const { members, loads } = await start(4)
    const [leader, ...others] = members
    const lost = leader!.call('get', 1).catch((error: unknown) => error)
    await until('the leader loads', async () => (await loads()) === 1)
    const waiting = others.map((member) => member.call('getAtOnce', 1, 200))
    await sleep(50)
    const tooLate = lateAfter(LEASE_MS + LOAD_MS + 50 + SLACK_MS)
    await leader!.kill('SIGKILL')
    const answers = await Promise.race([Promise.all(waiting), tooLate])
    if (answers === 'late') throw new Error('Nobody took over in time.')
    expect(await lost).toBeInstanceOf(Error)
    expect(answers.every(({ values, errors }) => values === 200 && errors.length === 0)).toBe(true)
    expect(await loads()).toBe(2)
    const seen = await Promise.all(others.map((member) => member.call('seen')))
    expect(seen.reduce((sum, one) => sum + (one['takeover'] ?? 0), 0)).toBe(1)
  })

  it('is stopped past its lease and goes on: it cannot overwrite the newer value (#8)', async () => {
    const { members, loads, database } = await start(2)
    const [stopped, other] = members
    const early = stopped!.call('getAtOnce', 1, 1)
    await until('the first loads', async () => (await loads()) === 1)
    stopped!.signal('SIGSTOP')
    await database.set('version:1', 2)
    const newer = await other!.call('get', 1)
    expect(newer).toMatchObject({ version: 2 })
    stopped!.signal('SIGCONT')
    expect((await early).values).toBe(1)
    for (const member of members) expect(await member.call('get', 1)).toEqual(newer)
    const seen = await stopped!.call('seen')
    expect(seen['fillRejected']).toBe(1)
    expect(await loads()).toBe(2)
  })

  it('is slower than its lease: it keeps it by renewing', async () => {
    // It is renewed at a third of its life; a process that stands still for the other two has lost it by right.
    fleet = await startFleet(3, {
      loadMs: 5_000,
      limits: { lease: '2s', commandTimeout: '5s' },
      entries: { ttl: '1m', jitter: 0 }
    })
    const answers = await Promise.all(fleet.members.map((member) => member.call('getAtOnce', 1, 100)))
    expect(answers.every(({ values }) => values === 100)).toBe(true)
    expect(await fleet.loads()).toBe(1)
  })
})

describe('an invalidation in another process while a load runs', () => {
  it('keeps the old value out of the cache and from every later caller, in both processes: 0 of 200 stale (#4, #32)', async () => {
    fleet = await startFleet(2, {
      loadMs: 15,
      limits: { commandTimeout: '2s' },
      entries: { ttl: '1m', jitter: 0, earlyRefresh: 0 }
    })
    const { members, database, loads } = fleet
    const [loading, invalidating] = members
    const stale: string[] = []
    for (let version = 1; version <= 200; version++) {
      const before = await loads()
      const early = loading!.call('getAtOnce', 1, 1)
      await until('the load runs', async () => (await loads()) > before)
      await database.set('version:1', version)
      await invalidating!.call('invalidate', 1)
      const [here, there] = await Promise.all([loading!.call('get', 1), invalidating!.call('get', 1)])
      if (here?.version !== version) stale.push(`loading process, round ${version}: ${here?.version}`)
      if (there?.version !== version) stale.push(`other process, round ${version}: ${there?.version}`)
      await early
      const after = await invalidating!.call('get', 1)
      if (after?.version !== version) stale.push(`afterwards, round ${version}: ${after?.version}`)
      await invalidating!.call('invalidate', 1)
    }
    expect(stale).toEqual([])
  })
})
