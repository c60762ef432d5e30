import { isInternalKey, mayBeInternalKey } from '../keys/key-parts.js'
import { shardOfKey } from '../keys/key-schema.js'
import { textOf } from '../redis/scripts.js'
import type { Operator } from '../redis/operator.js'
import { keysInScope, type Progress, type Scope } from './survey.js'

/** Redis frees them in the background; a page is what one command may hold it up with. */
const PAGE = 500

/** A key that holds no entry, and so cannot be declared wrong. */
export class NoEntry extends Error {}

/**
 * Deletes keys, which is the invalidation: every load and every write on them that began before is void. Gives how many
 * were there. Right also in a Cluster, where each key goes to its own node. Rejects with `NoEntry`, and then nothing was
 * deleted, when one of them is Corral's own: it may be a stream of writes that the database does not have yet.
 */
export async function dropKeys(operator: Operator, keys: readonly string[]): Promise<number> {
  mustBeEntries(keys)
  let dropped = 0
  for (const key of new Set(keys)) {
    const node = await operator.nodeOf(key)
    const [command, ...args] = deletionOf(key)
    dropped += Number(await node.call(command, ...args))
  }
  return dropped
}

export function mustBeEntries(keys: readonly string[]): void {
  const [own, ...others] = keys.filter(mayBeInternalKey)
  if (own === undefined) return
  const rest = others.length === 0 ? '' : ` (and ${others.length} more)`
  throw new NoEntry(`${own}${rest} is Corral's own and holds no entry: nothing was dropped.`)
}

/** What is written behind stays until the source has it. */
function deletionOf(key: string): [command: string, ...args: string[]] {
  if (shardOfKey(key) === undefined) return ['UNLINK', key]
  return ['EVAL', textOf('drop-flushed'), '1', key]
}

export async function countExisting(operator: Operator, keys: readonly string[]): Promise<number> {
  let existing = 0
  for (const key of new Set(keys)) existing += Number(await (await operator.nodeOf(key)).call('EXISTS', key))
  return existing
}

/**
 * Deletes the entries of a scope, a page at a time on every primary. Corral's own counters and streams stay: a stream may
 * hold writes that are not in the database yet.
 */
export async function dropScope(operator: Operator, scope: Scope, progress?: Progress): Promise<number> {
  let dropped = 0
  for await (const { node, keys } of keysInScope(operator, scope, progress)) {
    const entries = keys.filter((key) => !isInternalKey(key))
    for (let at = 0; at < entries.length; at += PAGE) {
      // One key a command: in a Cluster the keys of a page are in many slots.
      const replies = await node.pipeline(entries.slice(at, at + PAGE).map(deletionOf))
      for (const reply of replies) {
        if (reply instanceof Error) throw reply
        dropped += Number(reply)
      }
    }
  }
  return dropped
}
