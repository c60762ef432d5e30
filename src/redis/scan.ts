import { RedisUnavailableError } from '../errors.js'
import type { RedisClient } from './client.js'
import { keySlot } from './key-slot.js'
import type { RedisLink } from './link.js'
import { scanOrder, slotsThatMoved } from './slot-account.js'
import { SlotAccounts } from './slot-accounts.js'

/** A slot changes hands in four steps, and may be met at each of them. */
const MOST_PASSES = 10

export interface ScanRequest {
  readonly patterns: readonly string[]
  /** Keys that one SCAN looks at. */
  readonly pageSize: number
  /**
   * Whether nothing may be left out on a Cluster whose slots are moved meanwhile: what was moved is looked for again, and
   * where that comes to no end it rejects. Otherwise a key that travels may be missed.
   */
  readonly isWhole: boolean
}

/**
 * Pages through the keys that match a pattern, with SCAN: never KEYS, which stops the server until it has seen them
 * all. What stands there from beginning to end is found; what comes or goes meanwhile may be, and a key may come twice.
 * On a Cluster every primary is asked.
 */
export async function* scanKeys(
  link: RedisLink,
  { patterns, pageSize, isWhole }: ScanRequest
): AsyncGenerator<readonly string[]> {
  // SCAN knows nothing of the driver's `keyPrefix`, which is added to every key that it is given.
  const prefix = link.client.options.keyPrefix ?? ''
  const scan = async function* (node: RedisClient): AsyncGenerator<readonly string[]> {
    for (const pattern of patterns)
      yield* scanNode(link, node, globEscaped(prefix) + pattern, prefix, pageSize)
  }
  if (link.nodes === undefined) yield* scan(link.client)
  else yield* scanCluster(link, scan, (key) => keySlot(prefix + key), isWhole)
}

/**
 *   1. SCAN is at node B, and done.
 *   2. A slot is moved from A to B, with its keys.
 *   3. SCAN comes to A, and nobody has seen these keys.
 *
 * So the nodes are asked for their slots before and after; what was moved in between is looked for again, and nothing
 * else. Each slot is moved once in a long resharding, so the second pass is mostly the last.
 */
async function* scanCluster(
  link: RedisLink,
  scan: (node: RedisClient) => AsyncGenerator<readonly string[]>,
  slotOf: (key: string) => number,
  isWhole: boolean
): AsyncGenerator<readonly string[]> {
  const accounts = new SlotAccounts(link)
  try {
    let before = await accounts.all()
    let slots: ReadonlySet<number> | undefined
    for (let pass = 0; pass < MOST_PASSES; pass++) {
      for (const account of scanOrder(before, slots)) {
        for await (const keys of scan(accounts.connectionTo(account))) {
          const sought = slots
          yield sought === undefined ? keys : keys.filter((key) => sought.has(slotOf(key)))
        }
      }
      if (!isWhole) return
      const after = await accounts.all()
      const moved = slotsThatMoved(before, after)
      slots = slots === undefined ? moved : new Set([...slots].filter((slot) => moved.has(slot)))
      if (slots.size === 0) return
      before = after
    }
    const cause = new Error(`${slots!.size} slots of the Cluster were moved in each of ${MOST_PASSES} passes`)
    throw new RedisUnavailableError('find every entry', { cause })
  } finally {
    accounts.close()
  }
}

async function* scanNode(
  link: RedisLink,
  node: RedisClient,
  pattern: string,
  prefix: string,
  pageSize: number
): AsyncGenerator<readonly string[]> {
  // One node of a Cluster speaks for itself alone.
  const onSilence = link.nodes === undefined ? undefined : (): boolean => false
  let cursor = '0'
  do {
    const [next, keys] = await link.call(
      'scan for entries',
      () => node.scan(cursor, 'MATCH', pattern, 'COUNT', pageSize),
      onSilence
    )
    cursor = next
    if (keys.length > 0) yield prefix === '' ? keys : keys.map((key) => key.slice(prefix.length))
  } while (cursor !== '0')
}

function globEscaped(text: string): string {
  return text.replace(/[*?[\]\\^-]/g, (character) => `\\${character}`)
}
