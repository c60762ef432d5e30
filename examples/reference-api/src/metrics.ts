import type { BehindStats, CacheStats } from 'corral'

type Counter = keyof CacheStats['total']

/** What is exported of each collection: the metric's name, what it counts, and where the count stands. */
const COUNTERS: readonly { readonly name: string; readonly help: string; readonly counter: Counter }[] = [
  { name: 'cache_hits_total', help: 'Reads answered with a fresh value.', counter: 'hits' },
  { name: 'cache_stale_hits_total', help: 'Reads answered with a stale value.', counter: 'staleHits' },
  { name: 'cache_misses_total', help: 'Reads that found nothing usable.', counter: 'misses' },
  { name: 'cache_loads_total', help: 'Runs of the loader.', counter: 'loads' },
  { name: 'cache_load_failures_total', help: 'Runs of the loader that failed.', counter: 'loadFailures' },
  { name: 'cache_load_milliseconds_total', help: 'Milliseconds spent in loaders.', counter: 'loadMs' },
  {
    name: 'cache_writes_total',
    help: 'Changes of the source, those that failed among them.',
    counter: 'writes'
  },
  {
    name: 'cache_write_failures_total',
    help: 'Changes that failed or were refused.',
    counter: 'writeFailures'
  },
  { name: 'cache_waits_total', help: "Waits for another process's load.", counter: 'waits' }
]

/** The cache's counts in the text format of Prometheus. */
export function renderMetrics({
  collections,
  redis,
  loads,
  pendingInvalidations,
  behind
}: CacheStats): string {
  const lines = COUNTERS.flatMap(({ name, help, counter }) => [
    `# HELP ${name} ${help}`,
    `# TYPE ${name} counter`,
    ...Object.entries(collections).map(
      ([collection, counts]) => `${name}{collection="${collection}"} ${counts[counter]}`
    )
  ])
  const queues = Object.entries(behind)
  return `${[
    ...lines,
    ...ofQueues(
      'cache_behind_accepted_total',
      'counter',
      'Operations that Redis acknowledged.',
      queues,
      (queue) => queue.accepted
    ),
    ...ofQueues(
      'cache_behind_flushed_total',
      'counter',
      'Operations that this process wrote to the database.',
      queues,
      (queue) => queue.flushed
    ),
    ...ofQueues(
      'cache_behind_dead_letters_total',
      'counter',
      'Operations that the database can never take.',
      queues,
      (queue) => queue.deadLetters
    ),
    ...ofQueues(
      'cache_behind_flush_failures_total',
      'counter',
      'Attempts of this process to write to the database that failed.',
      queues,
      (queue) => queue.flushFailures
    ),
    ...waiting(queues),
    ...gauge('cache_redis_up', 'Whether Redis answers.', redis.state === 'ready' ? 1 : 0),
    ...gauge('cache_loads_running', 'Loads running now.', loads.running),
    ...gauge('cache_loads_queued', 'Loads waiting for their turn now.', loads.queued),
    ...gauge('cache_invalidations_pending', 'Entries to drop once Redis is back.', pendingInvalidations)
  ].join('\n')}\n`
}

type Queues = readonly [name: string, stats: BehindStats][]

/** Told by whoever brings it to the database, and knows how it is now: so the sum over all processes is right. */
function waiting(queues: Queues): string[] {
  const here = queues.filter(([, { depth }]) => depth.some(({ held }) => held))
  const held = ({ depth }: BehindStats): BehindStats['depth'] => depth.filter((shard) => shard.held)
  return [
    ...ofQueues('cache_behind_waiting', 'gauge', 'Operations that wait for the database.', here, (queue) =>
      held(queue).reduce((sum, { operations }) => sum + operations, 0)
    ),
    ...ofQueues(
      'cache_behind_oldest_seconds',
      'gauge',
      'For how long the oldest of them has waited.',
      here,
      (queue) => Math.max(...held(queue).map(({ ageMs }) => ageMs)) / 1_000
    )
  ]
}

function ofQueues(
  name: string,
  type: string,
  help: string,
  queues: Queues,
  of: (stats: BehindStats) => number
): string[] {
  const lines = queues.map(([queue, stats]) => `${name}{queue="${queue}"} ${of(stats)}`)
  return [`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`, ...lines]
}

function gauge(name: string, help: string, value: number): string[] {
  return [`# HELP ${name} ${help}`, `# TYPE ${name} gauge`, `${name} ${value}`]
}
