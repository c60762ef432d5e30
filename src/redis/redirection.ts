import { lookFor, primaryAt } from './cluster-connections.js'
import type { RedisClient } from './client.js'

/** Why a node of a Cluster did not carry out a command: where its keys are. */
export type Redirection =
  /** The slot is another node's. */
  | { readonly kind: 'moved' }
  /** The slot is being moved to `node`, and none of the keys is here. For this command alone. */
  | { readonly kind: 'ask'; readonly node: string }
  /** The slot is being moved, and some of the keys are here and others there, or nowhere: nobody can carry it out now. */
  | { readonly kind: 'try-again' }

/** Pure: undefined for an answer, and for every other error. */
export function redirectionOf(reply: unknown): Redirection | undefined {
  if (!(reply instanceof Error)) return undefined
  const [word, , node] = reply.message.split(' ')
  if (word === 'MOVED') return { kind: 'moved' }
  if (word === 'TRYAGAIN') return { kind: 'try-again' }
  return word === 'ASK' && node !== undefined ? { kind: 'ask', node } : undefined
}

/**
 * The connection of `client` to a node that it was told to ask. One that is given its first slot has none yet, so the
 * driver does not know it before a command of its own was told the same; and then only until it looks at the slots again.
 */
export async function connectionToAsk(
  client: RedisClient,
  node: string,
  keys: readonly string[]
): Promise<RedisClient> {
  for (const key of keys) {
    const known = primaryAt(client, node)
    if (known !== undefined) return known
    await lookFor(client, key)
  }
  const found = primaryAt(client, node)
  if (found === undefined) throw new Error(`the connection is away: ${node} is not known`)
  return found
}

/** Where this process reaches what the Cluster calls `told`. */
export function addressFor({ options: { natMap } }: RedisClient, told: string): string {
  const mapped = typeof natMap === 'function' ? natMap(told) : natMap?.[told]
  return mapped ? `${mapped.host}:${mapped.port}` : told
}
