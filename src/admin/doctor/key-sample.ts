import { escapedGlob, isInternalKey, scopePrefix } from '../../keys/key-parts.js'
import { shardOfKey } from '../../keys/key-schema.js'
import type { RedisNode } from '../../redis/operator.js'
import type { KeySample } from './facts.js'

/** From here on a key is worth a warning: reading it takes Redis about a millisecond, and the network several. */
export const BIG_KEY_BYTES = 1024 * 1024

const SAMPLE = 20_000
/** Keys that SCAN may pass in search of the namespace's own, for each that is wanted. */
const SCANNED_PER_WANTED = 10
const PAGE_SIZE = 1_000
const EXAMPLES = 5

const ERROR_OF_ABSENT_TTL = -2
const NO_TTL = -1

/** Looks at keys of the namespace on one server, or at any keys without one: reads sizes and lives, never values. */
export async function sampleKeys(
  node: RedisNode,
  keyPrefix: string,
  namespace: string | undefined,
  most: number = SAMPLE
): Promise<KeySample> {
  const prefix = keyPrefix + (namespace === undefined ? '' : scopePrefix({ namespace }))
  const big: { key: string; bytes: number }[] = []
  const examples: string[] = []
  let [looked, scanned, withoutTtl, behindStreams] = [0, 0, 0, 0]
  let unsized: string | undefined
  let cursor = '0'
  do {
    const reply = await node.call('SCAN', cursor, 'MATCH', `${escapedGlob(prefix)}*`, 'COUNT', PAGE_SIZE)
    const [next, keys] = reply as [string, string[]]
    cursor = next
    scanned += PAGE_SIZE
    for (const { key, type, ttlMs, bytes } of await lookAt(node, keys)) {
      // It went between the page and the look.
      if (ttlMs === ERROR_OF_ABSENT_TTL) continue
      looked++
      if (typeof bytes !== 'number') unsized ??= bytes.message
      else if (bytes >= BIG_KEY_BYTES) big.push({ key, bytes })
      const own = key.slice(keyPrefix.length)
      if (isInternalKey(own)) {
        if (type === 'stream') behindStreams++
      } else if (ttlMs === NO_TTL && !isOfShard(own)) {
        withoutTtl++
        if (examples.length < EXAMPLES) examples.push(key)
      }
    }
  } while (cursor !== '0' && looked < most && scanned < most * SCANNED_PER_WANTED)
  return {
    prefix,
    looked,
    isWhole: cursor === '0',
    withoutTtl,
    unsized,
    examplesWithoutTtl: examples,
    big: big.sort((a, b) => b.bytes - a.bytes).slice(0, EXAMPLES),
    behindStreams
  }
}

/** Then it is written behind: until the source has it, it must not go. */
function isOfShard(key: string): boolean {
  return Number.isInteger(shardOfKey(key)?.index)
}

interface Look {
  readonly key: string
  readonly type: string
  readonly ttlMs: number
  /** Some services refuse MEMORY. */
  readonly bytes: number | Error
}

async function lookAt(node: RedisNode, keys: readonly string[]): Promise<Look[]> {
  const replies = await node.pipeline(
    keys.flatMap(
      (key) =>
        [
          ['TYPE', key],
          ['PTTL', key],
          ['MEMORY', 'USAGE', key]
        ] as const
    )
  )
  return keys.map((key, index) => {
    const [type, ttlMs, bytes] = replies.slice(index * 3, index * 3 + 3)
    if (type instanceof Error) throw type
    if (ttlMs instanceof Error) throw ttlMs
    return {
      key,
      type: String(type),
      ttlMs: Number(ttlMs),
      bytes: bytes instanceof Error ? bytes : Number(bytes)
    }
  })
}
