import type { RedisClient } from './client.js'
import type { RedisLink } from './link.js'

/**
 * Pages through the keys that match a pattern, with SCAN: never KEYS, which stops the server until it has seen them
 * all. What stands there from beginning to end is found; what comes or goes meanwhile may be, and a key may come twice.
 * On a Cluster every master is asked.
 */
export async function* scanKeys(
  link: RedisLink,
  patterns: readonly string[],
  pageSize: number
): AsyncGenerator<readonly string[]> {
  // SCAN knows nothing of the driver's `keyPrefix`, which is added to every key that it is given.
  const prefix = link.client.options.keyPrefix ?? ''
  const nodes = await link.call('find the masters', async (client) => client.nodes?.('master') ?? [client])
  for (const node of nodes) {
    for (const pattern of patterns)
      yield* scanNode(link, node, globEscaped(prefix) + pattern, prefix, pageSize)
  }
}

async function* scanNode(
  link: RedisLink,
  node: RedisClient,
  pattern: string,
  prefix: string,
  pageSize: number
): AsyncGenerator<readonly string[]> {
  let cursor = '0'
  do {
    const [next, keys] = await link.call('scan for entries', () =>
      node.scan(cursor, 'MATCH', pattern, 'COUNT', pageSize)
    )
    cursor = next
    if (keys.length > 0) yield prefix === '' ? keys : keys.map((key) => key.slice(prefix.length))
  } while (cursor !== '0')
}

function globEscaped(text: string): string {
  return text.replace(/[*?[\]\\^-]/g, (character) => `\\${character}`)
}
