/** One cache that is filled, in a process of its own, to see what that takes in Redis and here. */
import { setTimeout as sleep } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { serveCommands } from '../../test/support/processes.js'
import { makeRow, type Row, type Shape } from '../support/rows.js'
import { definitionOf, type Contender } from './contenders.js'
import { MEMORY_CONTENDERS, type MemoryContender } from './memory-contenders.js'

const AN_HOUR_MS = 3_600_000
const AT_ONCE = 64

setFlagsFromString('--expose-gc')
const collectGarbage = runInNewContext('gc') as () => void

/** Kept until the process ends, with all that it holds. */
let held: Contender | MemoryContender | undefined

const commands = {
  /** Fills Redis. */
  async fillRedis(name: string, url: string, namespace: string, shape: Shape, keys: number): Promise<void> {
    const contender = await definitionOf(name).open({
      url,
      namespace,
      ttlMs: AN_HOUR_MS,
      staleMs: 0,
      load: async (id) => makeRow(shape, id)
    })
    held = contender
    await readAll((id) => contender.get(id), keys)
    // What is stored behind the answers.
    await sleep(100)
  },

  /** Fills this process; gives how much larger its heap and what it has beside it have become, in bytes. */
  async fillMemory(
    name: string,
    url: string,
    namespace: string,
    shape: Shape,
    keys: number
  ): Promise<number> {
    const definition = MEMORY_CONTENDERS.find((one) => one.name === name)!
    const before = await bytesInUse()
    const contender = await definition.open({
      url,
      namespace,
      keys,
      // As a driver gives it: an object of its own, with strings of its own.
      load: async (id) => JSON.parse(JSON.stringify(makeRow(shape, id))) as Row
    })
    held = contender
    for (let round = 0; round < 2; round++) await readAll(async (id) => contender.get(id), keys)
    return (await bytesInUse()) - before
  },

  close: async () => held?.close()
}

export type FootprintWorker = typeof commands

serveCommands(commands)

async function readAll(get: (id: number) => Promise<Row | undefined>, keys: number): Promise<void> {
  let next = 0
  const lane = async (): Promise<void> => {
    for (let id = next++; id < keys; id = next++) {
      const row = await get(id)
      if (row?.id !== id) throw new Error(`asked for ${id}, got ${row?.id}`)
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, lane))
}

/** What is still reachable; a first collection leaves what only finalizers hold. */
async function bytesInUse(): Promise<number> {
  for (let time = 0; time < 4; time++) {
    await sleep(50)
    collectGarbage()
  }
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}
