import { describe, expect, it } from 'vitest'
import type { Severity } from './finding.js'
import { judgeAll } from './check.js'
import { CHECKS } from './doctor.js'
import type { Facts } from './facts.js'

const known = <Value>(value: Value) => ({ known: true, value }) as const

/** Of a server that nothing is wrong with. */
const HEALTHY: Facts = {
  node: '10.0.0.1:6379',
  address: { host: '10.0.0.1', port: 6379, tls: true, database: 0, hasCredentials: true },
  info: known(
    info({
      redis_version: '7.2.4',
      role: 'master',
      connected_slaves: '1',
      slave0: 'ip=10.0.0.2,port=6379,state=online,offset=1,lag=0',
      min_slaves_good_slaves: '1',
      maxmemory: String(750 * 1024 ** 2),
      maxmemory_policy: 'volatile-lfu',
      used_memory: String(500 * 1024 ** 2),
      used_memory_rss: String(550 * 1024 ** 2),
      aof_enabled: '1',
      rdb_last_bgsave_status: 'ok',
      aof_last_write_status: 'ok',
      connected_clients: '20',
      maxclients: '10000',
      tracking_total_keys: '1000'
    })
  ),
  config: known(
    new Map([
      ['save', '900 1'],
      ['appendfsync', 'everysec'],
      ['min-replicas-to-write', '1'],
      ['client-output-buffer-limit', 'normal 0 0 0 pubsub 33554432 8388608 60'],
      ['tracking-table-max-keys', '1000000'],
      ['protected-mode', 'yes'],
      ['bind', '*']
    ])
  ),
  memoryLimit: known({ bytes: 1024 ** 3, source: 'cgroup' }),
  slowLog: known([]),
  latency: known({ p50: 0.4, p95: 0.8, p99: 2, max: 3 }),
  clock: known({ offsetMs: 3, uncertaintyMs: 1 }),
  keys: known({
    prefix: 'shop:',
    looked: 100,
    isWhole: true,
    withoutTtl: 0,
    unsized: undefined,
    examplesWithoutTtl: [],
    big: [],
    behindStreams: 0
  }),
  tracking: known(true),
  strangers: known(false),
  account: known({ name: 'cache', dangerous: [] }),
  cluster: known(undefined)
}

function info(fields: Readonly<Record<string, string>>): Map<string, string> {
  return new Map(Object.entries(fields))
}

/** The healthy server, with some of its INFO and CONFIG different. */
function withInfo(
  fields: Readonly<Record<string, string>>,
  config: Readonly<Record<string, string>> = {}
): Facts {
  const [before, settings] = [HEALTHY.info, HEALTHY.config]
  if (!before.known || !settings.known) throw new Error('the healthy server is known')
  return {
    ...HEALTHY,
    info: known(new Map([...before.value, ...Object.entries(fields)])),
    config: known(new Map([...settings.value, ...Object.entries(config)]))
  }
}

/** The healthy server, if it did not tell this. */
function without(field: string): Facts {
  const { info: before } = HEALTHY
  if (!before.known) throw new Error('the healthy server is known')
  return { ...HEALTHY, info: known(new Map([...before.value].filter(([name]) => name !== field))) }
}

function severityOf(id: string, facts: Facts): Severity | undefined {
  return judgeAll(CHECKS, facts).find((finding) => finding.id === id)?.severity
}

describe('judging', () => {
  it('finds nothing in a healthy server', () => {
    expect(judgeAll(CHECKS, HEALTHY).filter(({ severity }) => severity !== 'pass')).toEqual([])
  })

  it('gives every finding that is not fine a reason and a line that mends it', () => {
    const worst = withInfo(
      {
        maxmemory: '0',
        maxmemory_policy: 'noeviction',
        aof_enabled: '0',
        connected_slaves: '0',
        redis_version: '5.0.0'
      },
      { save: '', 'protected-mode': 'no' }
    )
    for (const { id, severity, why, fix } of judgeAll(CHECKS, { ...worst, strangers: known(true) })) {
      if (severity === 'pass') continue
      expect(why, id).not.toBe('')
      expect(fix.length, id).toBeGreaterThan(0)
    }
  })

  const MB = 1024 ** 2
  const cases: readonly (readonly [id: string, what: string, facts: Facts, severity: Severity])[] = [
    ['maxmemory', 'three quarters of the limit', withInfo({ maxmemory: String(768 * MB) }), 'pass'],
    ['maxmemory', 'a little more', withInfo({ maxmemory: String(800 * MB) }), 'warn'],
    ['maxmemory', 'nearly all of it', withInfo({ maxmemory: String(950 * MB) }), 'fail'],
    [
      'maxmemory',
      'some, and nobody knows of how much',
      { ...HEALTHY, memoryLimit: { known: false, because: 'x' } },
      'pass'
    ],
    ['memory-pressure', '95 % in use', withInfo({ used_memory: String(740 * MB) }), 'warn'],
    [
      'memory-pressure',
      '95 % in use with noeviction',
      withInfo({ used_memory: String(740 * MB), maxmemory_policy: 'noeviction' }),
      'fail'
    ],
    ['fragmentation', 'much freed', withInfo({ used_memory_rss: String(900 * MB) }), 'warn'],
    [
      'fragmentation',
      'small, where a ratio says nothing',
      withInfo({ used_memory: '900000', used_memory_rss: '9000000' }),
      'pass'
    ],
    ['fragmentation', 'in swap', withInfo({ used_memory_rss: String(200 * MB) }), 'fail'],
    ['last-save', 'a log that cannot be written', withInfo({ aof_last_write_status: 'err' }), 'fail'],
    [
      'last-save',
      'old, without a log',
      withInfo({
        aof_enabled: '0',
        rdb_changes_since_last_save: '50000',
        rdb_last_save_time: '1000',
        server_time_usec: String((1_000 + 2 * 86_400) * 1e6)
      }),
      'warn'
    ],
    ['role', 'loading', withInfo({ loading: '1' }), 'fail'],
    ['replicas', 'one that lags', withInfo({ slave0: 'ip=10.0.0.2,port=6379,state=online,lag=60' }), 'warn'],
    ['min-replicas', 'none demanded', withInfo({}, { 'min-replicas-to-write': '0' }), 'warn'],
    [
      'version',
      'Valkey, which calls itself Redis 7.2 too',
      withInfo({ valkey_version: '8.1.0', redis_version: '7.2.4' }),
      'pass'
    ],
    ['version', 'an old one', withInfo({ redis_version: '6.2.1' }), 'warn'],
    ['latency', 'good', HEALTHY, 'pass'],
    ['latency', 'far away', { ...HEALTHY, latency: known({ p50: 9, p95: 9, p99: 10, max: 10 }) }, 'warn'],
    [
      'latency',
      'stopped now and then',
      { ...HEALTHY, latency: known({ p50: 0.3, p95: 0.4, p99: 60, max: 70 }) },
      'warn'
    ],
    ['slow-log', 'quick ones', { ...HEALTHY, slowLog: known([{ command: 'GET', durationMs: 12 }]) }, 'pass'],
    ['slow-log', 'KEYS', { ...HEALTHY, slowLog: known([{ command: 'KEYS', durationMs: 120 }]) }, 'warn'],
    [
      'clock',
      'off by less than can be told',
      { ...HEALTHY, clock: known({ offsetMs: 1_500, uncertaintyMs: 900 }) },
      'pass'
    ],
    ['clock', 'off', { ...HEALTHY, clock: known({ offsetMs: -1_500, uncertaintyMs: 10 }) }, 'warn'],
    ['connections', 'some rejected', withInfo({ rejected_connections: '3' }), 'warn'],
    ['tracking-table', 'nearly full', withInfo({ tracking_total_keys: '950000' }), 'warn'],
    ['tls', 'none on a network', { ...HEALTHY, address: { ...HEALTHY.address, tls: false } }, 'warn'],
    [
      'tls',
      'none on this machine',
      { ...HEALTHY, address: { ...HEALTHY.address, host: '/run/redis.sock', tls: false } },
      'pass'
    ],
    [
      'eviction-policy',
      'not to be seen',
      { ...HEALTHY, info: { known: false, because: 'NOPERM' } },
      'unknown'
    ],
    [
      'persistence',
      'half of it not to be seen',
      { ...HEALTHY, config: { known: false, because: 'NOPERM' } },
      'unknown'
    ],
    ['maxmemory', 'not told by INFO', without('maxmemory'), 'unknown'],
    ['eviction-policy', 'not told by INFO', without('maxmemory_policy'), 'unknown'],
    ['version', 'not told by INFO', without('redis_version'), 'unknown'],
    ['tracking', 'not allowed', { ...HEALTHY, tracking: { known: false, because: 'NOPERM' } }, 'warn']
  ]
  for (const [id, what, facts, severity] of cases) {
    it(`${id}, ${what}: ${severity}`, () => {
      expect(severityOf(id, facts)).toBe(severity)
    })
  }

  it('says of allkeys-* what a sample cannot show', () => {
    const facts = withInfo({ maxmemory_policy: 'allkeys-lfu' })
    const told = (isWhole: boolean): string | undefined =>
      judgeAll(CHECKS, {
        ...facts,
        keys: facts.keys.known ? known({ ...facts.keys.value, isWhole }) : facts.keys
      }).find(({ id }) => id === 'eviction-policy')?.what
    expect(told(true)).toBe('allkeys-lfu')
    expect(told(false)).toContain('right only without write-behind')
  })

  it('asks a Cluster its own questions, and others not', () => {
    const cluster = {
      state: 'ok',
      slotsAssigned: 16_384,
      slotsFailing: 0,
      failingNodes: [],
      primariesWithoutReplica: []
    }
    expect(severityOf('cluster-health', HEALTHY)).toBeUndefined()
    expect(severityOf('cluster-health', { ...HEALTHY, cluster: known(cluster) })).toBe('pass')
    expect(severityOf('replicas', { ...HEALTHY, cluster: known(cluster) })).toBeUndefined()
    expect(
      severityOf('cluster-health', { ...HEALTHY, cluster: known({ ...cluster, slotsAssigned: 16_000 }) })
    ).toBe('fail')
    expect(
      severityOf('cluster-health', { ...HEALTHY, cluster: known({ ...cluster, slotsFailing: 10 }) })
    ).toBe('warn')
    expect(
      severityOf('cluster-replicas', {
        ...HEALTHY,
        cluster: known({ ...cluster, primariesWithoutReplica: ['a:1'] })
      })
    ).toBe('warn')
  })
})
