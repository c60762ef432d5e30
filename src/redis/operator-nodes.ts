import type { Cluster, Redis } from 'ioredis'
import { RedisUnavailableError } from '../errors.js'
import { keySlot } from './key-slot.js'

export type Argument = string | number | Buffer

/** One server, spoken to directly. */
export interface RedisNode {
  /** `host:port`, or the path of the socket. */
  readonly name: string
  call(command: string, ...args: readonly Argument[]): Promise<unknown>
  /** Replies as bytes. */
  callBuffer(command: string, ...args: readonly Argument[]): Promise<unknown>
  /** Several commands in one round trip; a command that failed gives its error in its place. */
  pipeline(
    commands: readonly (readonly [string, ...Argument[]])[],
    replies?: 'text' | 'bytes'
  ): Promise<unknown[]>
}

/** Replies look the same under ioredis 5 and 6. */
export const PLAIN_REPLIES = { protocol: 2, replyMapping: 'legacy' } as const

export function isReply(error: unknown): error is Error {
  return error instanceof Error && error.name === 'ReplyError'
}

export function nodeOfSlot(cluster: Cluster, key: string): RedisNode {
  const slot = keySlot(key)
  const owner = cluster.slots[slot]?.[0]
  if (owner === undefined) throw new RedisUnavailableError(`say which node has slot ${slot}`)
  return nodeNamed(cluster, owner)
}

/** By the slots that the nodes tell: a node that cannot be reached is in no list of connections, and has keys all the same. */
export function primariesOf(cluster: Cluster, first: RedisNode): RedisNode[] {
  const owners = new Set(cluster.slots.flatMap(([owner]) => owner ?? []))
  // Slots that nobody has yet are for the doctor to see.
  return owners.size === 0 ? [first] : [...owners].map((owner) => nodeNamed(cluster, owner))
}

export function connectionNamed(cluster: Cluster, name: string): Redis | undefined {
  return cluster.nodes('master').find((one) => nameOf(one) === name)
}

/** Of a key: says whose node it was that said nothing. */
export function blaming(cluster: Cluster, key: string): (error: unknown) => never {
  return (error) => named(cluster.slots[keySlot(key)]?.[0] ?? 'no node')(error)
}

/** Says which node it was that said nothing. */
function named(name: string): (error: unknown) => never {
  return (error) => {
    throw isReply(error) ? error : new RedisUnavailableError(`answer at ${name}`, { cause: error })
  }
}

function nodeNamed(cluster: Cluster, name: string): RedisNode {
  const client = connectionNamed(cluster, name)
  if (client === undefined) return lostNode(name)
  const node = nodeOver(client)
  return {
    ...node,
    call: (command, ...args) => node.call(command, ...args).catch(named(name)),
    callBuffer: (command, ...args) => node.callBuffer(command, ...args).catch(named(name))
  }
}

function lostNode(name: string): RedisNode {
  const refuse = async (): Promise<never> => {
    throw new RedisUnavailableError(`answer at ${name}`)
  }
  return { name, call: refuse, callBuffer: refuse, pipeline: refuse }
}

export function nodeOver(client: Redis): RedisNode {
  return {
    name: nameOf(client),
    call: (command, ...args) => client.call(command, ...args),
    callBuffer: (command, ...args) => client.callBuffer(command, ...args),
    pipeline: async (commands, form = 'text') => {
      if (commands.length === 0) return []
      const call = form === 'text' ? 'call' : 'callBuffer'
      const replies = await client
        .pipeline(commands.map(([command, ...args]) => [call, command, ...args]))
        .exec()
      return (replies ?? []).map(([error, reply]) => error ?? reply)
    }
  }
}

function nameOf({ options }: Redis): string {
  return options.path ?? `${options.host ?? '127.0.0.1'}:${options.port ?? 6379}`
}
