import { mayBeInternalKey } from '../keys/key-parts.js'
import { channelKeys, shardOfKey } from '../keys/key-schema.js'
import { textOf } from '../redis/scripts.js'
import type { KeyCommand, Operator } from '../redis/operator.js'

/** Under way at once. */
const PAGE = 500

/** A key that holds no entry, and so cannot be declared wrong. */
export class NoEntry extends Error {}

/**
 * Deletes keys, which is the invalidation: every load and every write on them that began before is void, and whoever keeps
 * them in memory drops them. Gives how many were there. Rejects with `NoEntry`, and then nothing was deleted, when one of
 * them is Corral's own: it may be a stream of writes that the database does not have yet.
 */
export async function dropKeys(operator: Operator, keys: readonly string[]): Promise<number> {
  mustBeEntries(keys)
  let dropped = 0
  for (const page of pagesOf(keys)) {
    const deleted = await Promise.allSettled(
      page.map((key) => operator.callFor(key, deletionOf(key)).then(Number))
    )
    // Those as well of which nobody knows whether they are gone.
    const untold = await tell(operator, page).then(
      () => undefined,
      (error: unknown) => error
    )
    // What may still be in Redis first: of the others it would be said that they are gone from there.
    for (const one of deleted) {
      if (one.status === 'rejected') throw one.reason
      dropped += one.value
    }
    if (untold !== undefined) throw untold
  }
  return dropped
}

export function mustBeEntries(keys: readonly string[]): void {
  const [own, ...others] = keys.filter(mayBeInternalKey)
  if (own === undefined) return
  const rest = others.length === 0 ? '' : ` (and ${others.length} more)`
  throw new NoEntry(`${own}${rest} is Corral's own and holds no entry: nothing was dropped.`)
}

export async function countExisting(operator: Operator, keys: readonly string[]): Promise<number> {
  let existing = 0
  for (const page of pagesOf(keys)) {
    const found = await Promise.all(page.map((key) => operator.callFor(key, (name) => ['EXISTS', name])))
    existing += found.reduce<number>((sum, one) => sum + Number(one), 0)
  }
  return existing
}

/** What is written behind stays until the source has it. */
function deletionOf(key: string): KeyCommand {
  if (shardOfKey(key) === undefined) return (name) => ['UNLINK', name]
  return (name) => ['EVAL', textOf('drop-flushed'), 1, name]
}

/** Those who keep values in memory, where Redis does not tell them of a deletion itself. */
async function tell(operator: Operator, keys: readonly string[]): Promise<void> {
  for (const namespace of new Set(keys.map(namespaceOf))) {
    const { counterKey, listenersKey } = channelKeys(namespace)
    const own = keys.filter((key) => namespaceOf(key) === namespace).join('\n')
    try {
      if (Number(await operator.callFor(listenersKey, (name) => ['EXISTS', name])) === 0) continue
      // The counter's name is the channel's too.
      await operator.callFor(counterKey, (name) => ['EVAL', textOf('announce-changes'), 1, name, name, own])
    } catch (cause) {
      throw new Error(
        'They are dropped from Redis; who keeps them in memory was not told, and may serve them until its memory.ttl ends.',
        { cause }
      )
    }
  }
}

function namespaceOf(key: string): string {
  return key.slice(0, key.indexOf(':'))
}

function* pagesOf(keys: readonly string[]): Generator<readonly string[]> {
  const each = [...new Set(keys)]
  for (let at = 0; at < each.length; at += PAGE) yield each.slice(at, at + PAGE)
}
