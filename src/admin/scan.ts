import { RedisUnavailableError } from '../errors.js'
import { escapedGlob } from '../keys/key-parts.js'
import type { Operator, RedisNode } from '../redis/operator.js'

export interface ScanPage {
  readonly node: RedisNode
  /** Without the driver's `keyPrefix`. */
  readonly keys: readonly string[]
  /** Keys looked at so far and keys there are, over all nodes; the latter is what they said at the start. */
  readonly scanned: number
  readonly total: number
}

export interface ScanOptions {
  /** Literal start of the keys; '' for all. */
  readonly prefix: string
  /** How many keys Redis looks at for one page. Default 1,000: under a millisecond of its time. */
  readonly pageSize?: number
  /** Told of a node of a Cluster that does not answer, which is then left out. Without it the search rejects. */
  readonly onLost?: ((node: string) => void) | undefined
}

const PAGE_SIZE = 1_000

/**
 * Every key with this prefix, on every primary, a page at a time: SCAN never blocks Redis as KEYS does. A key that is
 * there from start to end comes at least once; one that comes or goes meanwhile may or may not.
 */
export async function* scanPages(operator: Operator, options: ScanOptions): AsyncGenerator<ScanPage> {
  const { prefix, pageSize = PAGE_SIZE, onLost } = options
  const { keyPrefix } = operator
  const nodes = operator.primaries()
  const sizes = await Promise.all(nodes.map((node) => sizeOf(node)))
  const total = sizes.reduce((sum, size) => sum + size, 0)
  let done = 0
  for (const [index, node] of nodes.entries()) {
    let onThisNode = 0
    for await (const names of pagesOf(node, keyPrefix + prefix, pageSize, onLost)) {
      onThisNode = Math.min(onThisNode + pageSize, sizes[index]!)
      const keys = keyPrefix === '' ? names : names.map((name) => name.slice(keyPrefix.length))
      yield { node, keys, scanned: done + onThisNode, total }
    }
    done += sizes[index]!
  }
}

async function* pagesOf(
  node: RedisNode,
  prefix: string,
  pageSize: number,
  onLost: ScanOptions['onLost']
): AsyncGenerator<readonly string[]> {
  let cursor = '0'
  do {
    let reply: unknown
    try {
      reply = await node.call('SCAN', cursor, 'MATCH', `${escapedGlob(prefix)}*`, 'COUNT', pageSize)
    } catch (error) {
      if (onLost === undefined || !(error instanceof RedisUnavailableError)) throw error
      return onLost(node.name)
    }
    const [next, keys] = reply as [string, string[]]
    cursor = next
    yield keys
  } while (cursor !== '0')
}

/** Only for the progress bar: 0 when the user may not ask. */
function sizeOf(node: RedisNode): Promise<number> {
  return node.call('DBSIZE').then(Number, () => 0)
}
