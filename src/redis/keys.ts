import type { RedisClient } from './client.js'

const KEYS_PER_UNLINK = 500

/** Not DEL: a large value is freed in the background. Both pass when Redis is full, and both void every lease. */
export async function unlink(client: RedisClient, keys: readonly string[]): Promise<number> {
  // One command with keys of several slots is refused by a Cluster; one with very many keys holds up everybody else.
  const size = client.isCluster ? 1 : KEYS_PER_UNLINK
  const pages: Promise<number>[] = []
  for (let at = 0; at < keys.length; at += size) pages.push(client.unlink(...keys.slice(at, at + size)))
  return (await Promise.all(pages)).reduce((sum, dropped) => sum + dropped, 0)
}

/** Of strings; 0 for what is not there. */
export function sizesOf(client: RedisClient, keys: readonly string[]): Promise<number[]> {
  return Promise.all(keys.map(async (key) => Number(await client.strlen(key).catch(zeroForWrongType))))
}

/** Somebody else's key beside ours. */
function zeroForWrongType(error: unknown): number {
  if (error instanceof Error && error.message.startsWith('WRONGTYPE')) return 0
  throw error
}
