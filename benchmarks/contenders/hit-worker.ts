/** One contender in a process of its own, so that no other's garbage or compiled code gets in its way. */
import assert from 'node:assert'
import { serveCommands } from '../../test/support/processes.js'
import { makeRow, type Row, type Shape } from '../support/rows.js'
import { randomOf, zipfBatches, zipfIds } from '../support/zipf.js'
import { definitionOf, type Contender, type ManyRows } from './contenders.js'

const AN_HOUR_MS = 3_600_000
const SKEW = 0.99
const SAMPLES = 200
const MANY = 100

export interface HitRun {
  readonly call: 'get' | 'getMany'
  /** So many callers, each of which asks again as soon as it has its answer. */
  readonly concurrency: number
  readonly ms: number
  readonly seed: number
}

export interface HitFigures {
  /** Values that came back. */
  readonly hits: number
  readonly ms: number
  /** Processor time of this process, on all its threads. */
  readonly cpuMs: number
}

export interface Opened {
  /** Whether what comes back deep-equals what was stored. */
  readonly exact: boolean
  readonly hasGetMany: boolean
}

let contender: Contender
let keys = 0
let loads = 0

const commands = {
  async open(name: string, url: string, namespace: string, shape: Shape, keyCount: number): Promise<Opened> {
    keys = keyCount
    contender = await definitionOf(name).open({
      url,
      namespace,
      ttlMs: AN_HOUR_MS,
      staleMs: 0,
      load: async (id) => {
        loads++
        return makeRow(shape, id)
      }
    })
    await readAll()
    await new Promise((resolve) => setTimeout(resolve, 50))
    if (loads < keys) throw new Error(`${name}: ${loads} loads filled ${keys} keys`)
    loads = 0
    await readAll()
    if (loads > 0) throw new Error(`${name}: ${loads} of ${keys} keys were loaded again`)
    const exact = await givesBackWhatWasStored(shape)
    if (!exact && shape !== '50 KiB with dates')
      throw new Error(`${name}: a hit differs from what was stored`)
    return { exact, hasGetMany: contender.getMany !== undefined }
  },

  async run({ call, concurrency, ms, seed }: HitRun): Promise<HitFigures> {
    const measure = call === 'get' ? gets(seed) : getManys(seed)
    // No garbage collection on request: with it V8 would also throw away what it knows of the shape of the values.
    const cpu = process.cpuUsage()
    const startedAt = performance.now()
    const endAt = startedAt + ms
    const hits = await Promise.all(Array.from({ length: concurrency }, () => measure(endAt)))
    const tookMs = performance.now() - startedAt
    const { user, system } = process.cpuUsage(cpu)
    if (loads > 0) throw new Error(`${loads} loads among the hits`)
    return { hits: hits.reduce((sum, one) => sum + one, 0), ms: tookMs, cpuMs: (user + system) / 1000 }
  },

  async close(): Promise<void> {
    await contender.close()
  }
}

export type HitWorker = typeof commands

serveCommands(commands)

function gets(seed: number): (endAt: number) => Promise<number> {
  const ids = zipfIds(keys, SKEW, 2 ** 16, randomOf(seed))
  let asked = 0
  return async (endAt) => {
    let hits = 0
    while (performance.now() < endAt) {
      const id = ids[asked++ % ids.length]!
      const row = await contender.get(id)
      if (row?.id !== id) throw new Error(`asked for ${id}, got ${row?.id}`)
      hits++
    }
    return hits
  }
}

function getManys(seed: number): (endAt: number) => Promise<number> {
  const batches = zipfBatches(keys, SKEW, MANY, 256, randomOf(seed))
  let asked = 0
  return async (endAt) => {
    let hits = 0
    while (performance.now() < endAt) {
      const rows = await contender.getMany!(batches[asked++ % batches.length]!)
      const count = 'size' in rows ? rows.size : rows.length
      if (count !== MANY) throw new Error(`asked for ${MANY}, got ${count}`)
      hits += count
    }
    return hits
  }
}

async function readAll(): Promise<void> {
  let next = 0
  const reader = async (): Promise<void> => {
    while (next < keys) await contender.get(next++)
  }
  await Promise.all(Array.from({ length: 64 }, reader))
}

async function givesBackWhatWasStored(shape: Shape): Promise<boolean> {
  const ids = Array.from({ length: SAMPLES }, (_, index) => Math.floor((index * keys) / SAMPLES))
  const found = await Promise.all(ids.map((id) => contender.get(id)))
  const many = contender.getMany === undefined ? [] : rowsOf(await contender.getMany(ids.slice(0, MANY)))
  return [...found, ...many].every((row) => row !== undefined && equals(row, makeRow(shape, row.id)))
}

function rowsOf(rows: ManyRows): (Row | undefined)[] {
  return [...rows.values()].map((row) => row ?? undefined)
}

function equals(actual: unknown, expected: unknown): boolean {
  try {
    assert.deepStrictEqual(actual, expected)
    return true
  } catch {
    return false
  }
}
