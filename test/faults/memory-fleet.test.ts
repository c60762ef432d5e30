import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startWorker, type WorkerProcess } from '../support/processes.js'
import { startRedisServer, type RedisServer } from '../support/redis-server.js'
import { until } from '../support/until.js'
import type { Change, MemoryCommands, Watched } from './memory-worker.js'

const TWO_HEARTBEATS_MS = 2_000

let server: RedisServer
let database: Redis
let members: WorkerProcess<MemoryCommands>[]

beforeAll(async () => {
  server = await startRedisServer()
  database = new Redis(server.url, { db: 1 })
  const file = new URL('./memory-worker.ts', import.meta.url)
  members = await Promise.all(Array.from({ length: 4 }, () => startWorker<MemoryCommands>(file)))
  await Promise.all(members.map((member) => member.call('open', server.url)))
})
afterAll(async () => {
  await Promise.all(members.map((member) => member.kill()))
  database.disconnect()
  await server.stop()
})

interface Done {
  readonly id: number
  readonly version: number
  readonly atMs: number
}

/** How long after the change to a version was done somebody began to read and got an older one, in ms. */
function staleness(watched: readonly Watched[], changes: readonly Done[]): number[] {
  const all: number[] = []
  for (const { id, version, atMs } of changes) {
    for (const { rows } of watched) {
      const lastSeenMs = rows.find((row) => row.id === id)!.lastSeenMs
      for (const [seen, lastMs] of Object.entries(lastSeenMs))
        if (Number(seen) < version && lastMs > atMs) all.push(lastMs - atMs)
    }
  }
  return all.sort((a, b) => a - b)
}

describe('four processes that keep values in memory', () => {
  const ids = Array.from({ length: 20 }, (_, id) => id)
  const changes: readonly Change[] = ['invalidate', 'put', 'delete', 'tag', 'invalidate', 'put', 'clear']

  it('hear of each other’s changes at once, and never serve what has expired', async () => {
    const [writer, ...readers] = members
    const watching = readers.map((reader) => reader.call('watch', ids, 4_000))
    await sleep(300)
    const done: Done[] = []
    const version = new Map<number, number>()
    const untilMs = performance.now() + 3_000
    for (let round = 0; performance.now() < untilMs; round++) {
      const id = ids[(round * 7) % ids.length]!
      const atMs = await writer!.call('change', id, changes[round % changes.length]!)
      version.set(id, (version.get(id) ?? 0) + 1)
      done.push({ id, version: version.get(id)!, atMs })
      await sleep(5)
    }
    const watched = await Promise.all(watching)
    const reads = watched.reduce((sum, one) => sum + one.reads, 0)
    const fromMemory = watched.reduce((sum, one) => sum + one.fromMemory, 0)
    expect(done.length).toBeGreaterThan(20)
    expect(reads).toBeGreaterThan(200)
    expect(fromMemory).toBeGreaterThan(100)
    expect(staleness(watched, done).filter((ms) => ms > TWO_HEARTBEATS_MS)).toEqual([])
    for (const { mostExpiredMs } of watched) expect(mostExpiredMs).toBeLessThan(TWO_HEARTBEATS_MS)
    for (const member of members)
      for (const id of ids)
        expect(await member.call('versionOf', id)).toSatisfy(
          (seen: number | undefined) => seen === undefined || seen === version.get(id)
        )
  })

  it('of which one is stopped in the middle: when it goes on it serves nothing from before', async () => {
    const [writer, stopped] = members
    for (let round = 0; round < 3; round++) {
      const id = 100 + round
      await database.set(`version:${id}`, 1)
      await writer!.call('versionOf', id)
      const watching = stopped!.call('watch', [id], 4_500)
      await sleep(400)
      stopped!.signal('SIGSTOP')
      const atMs = await writer!.call('change', id, 'invalidate')
      await sleep(TWO_HEARTBEATS_MS + 400)
      stopped!.signal('SIGCONT')
      const watched = await watching
      expect(watched.fromMemory).toBeGreaterThan(100)
      expect(watched.rows[0]!.lastSeenMs[2]).toBeGreaterThan(atMs)
      expect(staleness([watched], [{ id, version: 2, atMs }]).filter((ms) => ms > TWO_HEARTBEATS_MS)).toEqual(
        []
      )
    }
  })

  it('go on when Redis starts anew, empty, and agree again', async () => {
    for (const member of members) for (const id of [1, 2]) await member.call('versionOf', id)
    const versions = await Promise.all([1, 2].map((id) => database.get(`version:${id}`)))
    await server.kill('SIGKILL')
    await server.restart()
    for (const [index, id] of [1, 2].entries())
      await database.set(`version:${id}`, Number(versions[index]) + 10)
    for (const member of members) {
      await until('news come again', async () => (await member.call('mode')) === 'tracking')
      for (const [index, id] of [1, 2].entries())
        expect(await member.call('versionOf', id)).toBe(Number(versions[index]) + 10)
    }
  })
})
