import { RedisUnavailableError } from '../errors.js'
import type { RedisClient } from './client.js'
import type { RedisLink } from './link.js'

/**
 * Pages through the keys that match a pattern, with SCAN: never KEYS, which stops the server until it has seen them
 * all. What stands there from beginning to end is found; what comes or goes meanwhile may be, and a key may come twice.
 * On a Cluster every primary is asked.
 */
export async function* scanKeys(
  link: RedisLink,
  patterns: readonly string[],
  pageSize: number
): AsyncGenerator<readonly string[]> {
  // SCAN knows nothing of the driver's `keyPrefix`, which is added to every key that it is given.
  const prefix = link.client.options.keyPrefix ?? ''
  for (const node of await primariesOf(link)) {
    for (const pattern of patterns)
      yield* scanNode(link, node, globEscaped(prefix) + pattern, prefix, pageSize)
  }
}

async function primariesOf(link: RedisLink): Promise<readonly RedisClient[]> {
  const action = 'find the primaries'
  const alone = await link.call(action, async (client) => [client])
  try {
    return (await link.nodes?.primaries()) ?? alone
  } catch (error) {
    link.report(action, error)
    throw new RedisUnavailableError(action, { cause: error })
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
