import type { Durability } from '../behind-options.js'
import type { ServerFacts } from '../redis/server-facts.js'

/** How each append is confirmed beyond the server's answer. */
export type Confirmation = 'none' | 'wait' | 'waitaof'

export type DurabilityVerdict =
  | { readonly kept: true; readonly confirmation: Confirmation }
  | { readonly kept: false; readonly found: string; readonly change: string }

const KEEPS: DurabilityVerdict = { kept: true, confirmation: 'none' }

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
      if (facts.replicas > 0) return { kept: true, confirmation: 'wait' }
      return {
        kept: false,
        found: 'it has no replica',
        change: 'connect a replica (REPLICAOF on the other server), or use durability "memory" or "fsync"'
      }
    case 'fsync':
      return judgeFsync(facts)
  }
}

function judgeFsync(facts: ServerFacts): DurabilityVerdict {
  if (!facts.appendOnly) {
    return {
      kept: false,
      found: 'appendonly is no',
      change: 'CONFIG SET appendonly yes and CONFIG SET appendfsync always, and the same lines in redis.conf'
    }
  }
  if (facts.appendFsync === 'always') return KEEPS
  if (isAtLeast(facts.version, 7, 2)) return { kept: true, confirmation: 'waitaof' }
  return {
    kept: false,
    found: `appendfsync is ${facts.appendFsync ?? 'not told'}`,
    change:
      'CONFIG SET appendfsync always, and the same line in redis.conf (from Redis 7.2 on everysec is enough)'
  }
}

function isAtLeast(version: string, major: number, minor: number): boolean {
  const [has = 0, hasMinor = 0] = version.split('.').map(Number)
  return has > major || (has === major && hasMinor >= minor)
}
