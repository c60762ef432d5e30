/** One process of a fleet, in which many callers ask for one row at the same instant. */
import { setTimeout as sleep } from 'node:timers/promises'
import { serveCommands } from '../../test/support/processes.js'
import { makeRow } from '../support/rows.js'
import { definitionOf, type Contender } from './contenders.js'

export interface Opening {
  readonly name: string
  readonly url: string
  readonly namespace: string
  readonly ttlMs: number
  readonly staleMs: number
  readonly loadMs: number
}

export interface Rush {
  /** How long each caller waited, ms. */
  readonly waitedMs: Float64Array
  /** How often this process asked the source, from the rush until it was quiet again. */
  readonly loads: number
}

let contender: Contender
let loads = 0

const commands = {
  async open({ name, url, namespace, ttlMs, staleMs, loadMs }: Opening): Promise<void> {
    contender = await definitionOf(name).open({
      url,
      namespace,
      ttlMs,
      staleMs,
      load: async (id) => {
        loads++
        await sleep(loadMs)
        return makeRow('2 KiB', id)
      }
    })
  },

  /** Reads a row, so that connections and scripts are there before it counts. */
  async get(id: number): Promise<void> {
    await contender.get(id)
  },

  /** @param at on the wall clock, which all processes of one machine share */
  async rush(id: number, callers: number, at: number): Promise<Rush> {
    const before = loads
    // The last milliseconds are spun away: a timer may be late, and then the processes would not rush at once.
    await sleep(Math.max(0, at - Date.now() - 15))
    while (Date.now() < at);
    const waitedMs = new Float64Array(callers)
    const startedAt = performance.now()
    const answers = Array.from({ length: callers }, async (_, caller) => {
      const row = await contender.get(id)
      waitedMs[caller] = performance.now() - startedAt
      if (row?.id !== id) throw new Error(`asked for ${id}, got ${row?.id}`)
    })
    await Promise.all(answers)
    return { waitedMs, loads: loads - before }
  },

  /** Loads begun here so far: a refresh in the background may begin after its rush was answered. */
  loads: (): number => loads,

  async close(): Promise<void> {
    await contender.close()
  }
}

export type StampedeWorker = typeof commands

serveCommands(commands)
