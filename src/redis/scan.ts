import type { RedisClient } from './client.js'
import { scanCluster } from './cluster-scan.js'
import { keySlot } from './key-slot.js'
import type { RedisLink } from './link.js'

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
  else yield* scanCluster({ link, scan, slotOf: (key) => keySlot(prefix + key), isWhole })
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
