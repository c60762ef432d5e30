/** One cache with a tier in this process, in a process of its own. */
import { setImmediate as turn } from 'node:timers/promises'
import { serveCommands } from '../../test/support/processes.js'
import { makeRow, type Shape } from '../support/rows.js'
import { MEMORY_CONTENDERS, type MemoryContender } from './memory-contenders.js'

/** Between two turns of the event loop: a server does not answer from memory for longer without reading its sockets. */
const BURST = 2_000
/** One look-up is too short to be timed. */
const BATCH = 50

let contender: MemoryContender
let keys = 0
let loads = 0

const commands = {
  async open(name: string, url: string, namespace: string, shape: Shape, keyCount: number): Promise<boolean> {
    keys = keyCount
    const definition = MEMORY_CONTENDERS.find((one) => one.name === name)!
    const load = async (id: number) => {
      loads++
      return makeRow(shape, id)
    }
    contender = await definition.open({ url, namespace, keys, load })
    for (let round = 0; round < 3; round++) for (let id = 0; id < keys; id++) await contender.get(id)
    loads = 0
    return contender.getNow !== undefined
  },

  /** Nanoseconds for one awaited hit, by one caller. */
  async hits(ms: number): Promise<number> {
    let hits = 0
    let busyMs = 0
    let id = 0
    for (const endAt = performance.now() + ms; performance.now() < endAt; ) {
      const startedAt = performance.now()
      for (let count = 0; count < BURST; count++) {
        const row = await contender.get(id)
        if (row?.id !== id) throw new Error(`asked for ${id}, got ${row?.id}`)
        id = id + 1 === keys ? 0 : id + 1
      }
      busyMs += performance.now() - startedAt
      hits += BURST
      await turn()
    }
    if (loads > 0) throw new Error(`${loads} loads among the hits`)
    return (busyMs * 1e6) / hits
  },

  /** Nanoseconds for one look-up without waiting, of so many batches. */
  async lookUps(ms: number): Promise<number[]> {
    const all: number[] = []
    let id = 0
    for (const endAt = performance.now() + ms; performance.now() < endAt; ) {
      for (let batch = 0; batch < 40; batch++) {
        const startedAt = process.hrtime.bigint()
        for (let count = 0; count < BATCH; count++) {
          if (contender.getNow!(id) === undefined) throw new Error(`${id} is not there`)
          id = id + 1 === keys ? 0 : id + 1
        }
        all.push(Number(process.hrtime.bigint() - startedAt) / BATCH)
      }
      await turn()
    }
    return all
  },

  close: () => contender.close()
}

export type MemoryWorker = typeof commands

serveCommands(commands)
