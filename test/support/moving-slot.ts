import { keySlot } from '../../src/redis/key-slot.js'
import { ask } from './cut-off.js'
import type { RedisCluster } from './redis-cluster.js'
import type { RedisServer } from './redis-server.js'

/** The move of one slot of a Cluster, step by step, as `redis-cli --cluster reshard` makes it. */
export interface MovingSlot {
  readonly from: RedisServer
  readonly to: RedisServer
  /** Both nodes know of it: from here on each key is on one of them. */
  begin(): Promise<void>
  moveKeys(...keys: string[]): Promise<void>
  /** Takes the beginning back; no key may have been moved. */
  cancel(): Promise<void>
  /** All keys are moved, and the nodes told who has the slot. */
  handOver(): Promise<void>
  /** That, and everybody knows it; while another slot is being moved nobody ever does. */
  end(): Promise<void>
}

/** Of the slot of `key`, from the node that has it to another one. */
export async function moveOf(cluster: RedisCluster, key: string, to?: RedisServer): Promise<MovingSlot> {
  const slot = keySlot(key)
  const primaries = await cluster.primaries()
  const nodes = await Promise.all(
    primaries.map(async (node) => ({ node, name: await ask(node, (redis) => redis.call('CLUSTER', 'MYID')) }))
  )
  const slots = (await ask(primaries[0]!, (redis) => redis.call('CLUSTER', 'SLOTS'))) as [
    first: number,
    last: number,
    owner: [host: string, port: number, id: string]
  ][]
  const owner = slots.find(([first, last]) => first <= slot && slot <= last)![2][2]
  const from = nodes.find(({ name }) => name === owner)!.node
  return movingSlot(cluster, slot, from, to ?? primaries.find((node) => node !== from)!)
}

export function movingSlot(
  cluster: RedisCluster,
  slot: number,
  from: RedisServer,
  to: RedisServer
): MovingSlot {
  const idOf = (node: RedisServer): Promise<string> =>
    ask(node, async (redis) => String(await redis.call('CLUSTER', 'MYID')))
  const set = (node: RedisServer, ...rest: string[]): Promise<unknown> =>
    ask(node, (redis) => redis.call('CLUSTER', 'SETSLOT', slot, ...rest))
  const move = async (keys: readonly string[]): Promise<void> => {
    if (keys.length === 0) return
    const target = [to.host, to.port, '', 0, 60_000, 'KEYS', ...keys]
    await ask(from, (redis) => redis.call('MIGRATE', ...target))
  }
  const handOver = async (): Promise<void> => {
    const left = await ask(from, (redis) => redis.call('CLUSTER', 'GETKEYSINSLOT', slot, 100_000))
    await move(left as string[])
    const owner = await idOf(to)
    const others = (await cluster.primaries()).filter((node) => node !== to && node !== from)
    for (const node of [to, from, ...others]) await set(node, 'NODE', owner)
  }
  return {
    from,
    to,
    begin: async () => {
      await set(to, 'IMPORTING', await idOf(from))
      await set(from, 'MIGRATING', await idOf(to))
    },
    moveKeys: (...keys) => move(keys),
    cancel: async () => {
      for (const node of [from, to]) await set(node, 'STABLE')
    },
    handOver,
    end: async () => {
      await handOver()
      await cluster.settled()
    }
  }
}
