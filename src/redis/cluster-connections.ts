import type { RedisClient } from './client.js'
import { keySlot } from './key-slot.js'

/** Who has which key, as far as it is known. */
interface Owners {
  nodeOf(key: string): string
  lookFor(client: RedisClient, key: string): Promise<void>
}

/** What was meant for one node, because it had the key, is not carried out there: the key has another by now. */
export class OwnerChanged extends Error {
  /** As the node itself would have answered. */
  override readonly name = 'ReplyError'

  constructor(key: string, from: string, to: string) {
    super(`MOVED ${keySlot(key)} ${to}, and no longer at ${from}`)
  }
}

/**
 * The connection of `client` to the primary `node`, which has `key` in the eyes of `owners`.
 *
 * A driver hears of a failover by what its commands are answered. One that is used for its connections alone would never
 * be, and never know the new primary; and the one that says where keys are may have had none for this key since. So both
 * are made to look for it. Rejects with `OwnerChanged` when it turns out to be somewhere else.
 */
export async function connectionTo(
  client: RedisClient,
  owners: Owners,
  node: string,
  key: string
): Promise<RedisClient> {
  const known = primaryAt(client, node)
  if (known !== undefined) return known
  await owners.lookFor(client, key)
  const owner = owners.nodeOf(key)
  if (owner !== node) throw new OwnerChanged(key, node, owner)
  const found = primaryAt(client, node)
  if (found === undefined) throw new Error(`the connection is away: ${node || 'no node'} is not known`)
  return found
}

/** It follows a slot to its next owner for a command, but not for a pipeline. */
export async function lookFor(client: RedisClient, key: string): Promise<void> {
  try {
    await client.strlen(key)
  } catch (error) {
    // Whatever the answer is, a server gave it.
    if (!(error instanceof Error && error.name === 'ReplyError')) throw error
  }
}

export function primaryAt(client: RedisClient, node: string): RedisClient | undefined {
  return client.nodes?.('master').find((connection) => addressOf(connection) === node)
}

export function addressOf({ options: { host, port } }: RedisClient): string {
  return `${host}:${port}`
}
