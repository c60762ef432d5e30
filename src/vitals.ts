import { LONGEST_TIMER_MS } from './clock.js'
import type { BehindWrites } from './behind/write-behind.js'
import { RedisUnavailableError } from './errors.js'
import type { CacheHealth, RedisHealth, WakeUpHealth } from './health.js'
import type { LoadRunner } from './read/load-runner.js'
import type { RedisLink } from './redis/link.js'
import type { EntryStore } from './tiers/entry-store.js'
import type { PendingInvalidations } from './write/pending-invalidations.js'

export interface Organs {
  readonly store: EntryStore
  /** Undefined for a cache without Redis. */
  readonly link: RedisLink | undefined
}

const startedAt = new Date()

const NO_REDIS: RedisHealth = {
  state: 'none',
  since: startedAt,
  breaker: 'closed',
  reason: undefined,
  errors: {}
}

/** What the parts say of themselves, in one picture. */
export function healthOf(
  { store, link }: Organs,
  {
    loads,
    pending,
    behind
  }: {
    readonly loads: LoadRunner
    readonly pending: PendingInvalidations
    readonly behind: BehindWrites | undefined
  }
): CacheHealth {
  const redis = link?.health() ?? NO_REDIS
  const wakeUps: WakeUpHealth = store.wakeUpHealth()
  const memory = store.memoryHealth()
  const problems = [
    ...(redis.state === 'away' ? [`Redis is away: ${redis.reason ?? 'no reason is known'}`] : []),
    ...(link?.problems() ?? []),
    ...(memory.mode === 'paused'
      ? [`Nothing is served from memory: ${memory.reason ?? 'it is starting'}`]
      : []),
    ...(pending.size > 0 ? [`${pending.size} invalidations wait for Redis`] : []),
    ...(behind?.problems() ?? [])
  ]
  return {
    status: statusOf(redis, problems),
    problems: [...new Set(problems)],
    redis,
    wakeUps,
    memory,
    pendingInvalidations: pending.size,
    loads: { running: loads.running, queued: loads.queued }
  }
}

function statusOf({ state }: RedisHealth, problems: readonly string[]): CacheHealth['status'] {
  if (state === 'closed' || state === 'away') return state
  return problems.length === 0 && state !== 'starting' ? 'ok' : 'degraded'
}

/** Until Redis can be used, and the tiers in front of it know how to stay true. */
export async function readyWithin({ store, link }: Organs, timeoutMs: number | undefined): Promise<void> {
  if (link === undefined) return
  const ready = link.whenReady().then(() => store.whenNewsAreDecided())
  if (timeoutMs === undefined) return ready
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(
      () => {
        const cause = new Error(link.health().reason ?? `it was not reached within ${timeoutMs} ms`)
        reject(new RedisUnavailableError('become usable', { cause }))
      },
      Math.min(timeoutMs, LONGEST_TIMER_MS)
    )
  })
  return Promise.race([ready, late]).finally(() => clearTimeout(timer))
}
