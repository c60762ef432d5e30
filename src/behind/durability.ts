import type { Durability } from '../behind-options.js'
import type { ServerFacts } from '../redis/server-facts.js'

/** How each append is confirmed beyond the server's answer: not at all, by so many replicas, by the disk. */
export type Confirmation =
  | { readonly by: 'nobody' }
  | { readonly by: 'replicas'; readonly count: number }
  | { readonly by: 'disk' }

export type DurabilityVerdict =
  | { readonly kept: true; readonly confirmation: Confirmation }
  | { readonly kept: false; readonly found: string; readonly change: string }

const KEEPS: DurabilityVerdict = { kept: true, confirmation: { by: 'nobody' } }

/** Whether a server can keep the level, and what to change if not. */
export function judgeDurability(level: Durability, facts: ServerFacts): DurabilityVerdict {
  const { evictionPolicy } = facts
  if (evictionPolicy?.startsWith('allkeys-')) {
    return {
      kept: false,
      found: `maxmemory-policy is ${evictionPolicy}, which deletes whole streams without a word when memory is short`,
      change: 'CONFIG SET maxmemory-policy noeviction (or volatile-lru), and the same line in redis.conf'
    }
  }
  switch (level) {
    case 'memory':
      return KEEPS
    case 'replicated':
      return judgeReplicated(facts)
    case 'fsync':
      return judgeFsync(facts)
  }
}

function judgeReplicated({ replicas, refusals }: ServerFacts): DurabilityVerdict {
  if (refusals.wait !== undefined) {
    return {
      kept: false,
      found: `it does not take WAIT: ${refusals.wait}`,
      change: 'ACL SETUSER <user> +wait, or use durability "memory" or "fsync"'
    }
  }
  // By all of them, because nobody knows which will take over: Sentinels go by what a replica told them some seconds ago.
  if (replicas !== undefined && replicas > 0)
    return { kept: true, confirmation: { by: 'replicas', count: replicas } }
  return {
    kept: false,
    found: 'it has no replica',
    change: 'connect a replica (REPLICAOF on the other server), or use durability "memory" or "fsync"'
  }
}

function judgeFsync({ version, appendOnly, appendFsync, refusals }: ServerFacts): DurabilityVerdict {
  if (appendOnly === undefined) {
    return {
      kept: false,
      found: 'it does not tell whether it keeps an append-only file',
      change: 'ACL SETUSER <user> +info, or use durability "memory" or "replicated"'
    }
  }
  if (!appendOnly) {
    return {
      kept: false,
      found: 'appendonly is no',
      change: 'CONFIG SET appendonly yes and CONFIG SET appendfsync always, and the same lines in redis.conf'
    }
  }
  if (appendFsync === 'always') return KEEPS
  const canWait = version !== undefined && isAtLeast(version, 7, 2)
  if (canWait && refusals.waitaof === undefined) return { kept: true, confirmation: { by: 'disk' } }
  return {
    kept: false,
    found: `appendfsync is ${appendFsync ?? 'not told'}${canWait ? `, and it does not take WAITAOF: ${refusals.waitaof}` : ''}`,
    change: canWait
      ? 'ACL SETUSER <user> +waitaof, or CONFIG SET appendfsync always, and the same line in redis.conf'
      : 'CONFIG SET appendfsync always, and the same line in redis.conf (from Redis 7.2 on everysec is enough)'
  }
}

function isAtLeast(version: string, major: number, minor: number): boolean {
  const [has = 0, hasMinor = 0] = version.split('.').map(Number)
  return has > major || (has === major && hasMinor >= minor)
}
