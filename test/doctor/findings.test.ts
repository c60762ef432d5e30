import { chmod, mkdir, readFile } from 'node:fs/promises'
import { networkInterfaces } from 'node:os'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import { afterEach, describe, expect, it } from 'vitest'
import { createCache, writeBehind } from '../../src/index.js'
import { openOperator } from '../../src/admin/connect.js'
import { CHECKS, examine } from '../../src/admin/doctor/doctor.js'
import type { Finding, Severity } from '../../src/admin/doctor/finding.js'
import { installShipped } from '../deploy/shipped.js'
import { freePort } from '../support/free-port.js'
import { NOBODYS } from '../support/nobodys-sink.js'
import { startRedisCluster } from '../support/redis-cluster.js'
import { startRedisServer, type RedisServer, type RedisServerOptions } from '../support/redis-server.js'
import { until } from '../support/until.js'
import { examined, spoilingProxy } from './examined.js'

const opened: { disconnect(): void }[] = []
const servers: RedisServer[] = []
/** Every finding but "fine" that a test has provoked; the last test asks whether that is all there are. */
const provoked = new Set<string>()

afterEach(async () => {
  for (const client of opened.splice(0)) client.disconnect()
  await Promise.all(servers.splice(0).map((server) => server.stop()))
})

async function start(args: readonly string[] = [], options: RedisServerOptions = {}): Promise<RedisServer> {
  // Without the delay a replica is in step at once.
  const server = await startRedisServer({ ...options, args: ['--repl-diskless-sync-delay', '0', ...args] })
  servers.push(server)
  return server
}

function connect(server: RedisServer): Redis {
  const client = new Redis(server.url, { retryStrategy: () => null })
  client.on('error', () => undefined)
  opened.push(client)
  return client
}

function finding(findings: ReadonlyMap<string, Finding>, id: string): Finding {
  const found = findings.get(id)
  if (found === undefined) throw new Error(`There is no finding ${id}: ${[...findings.keys()].join(', ')}`)
  if (found.severity !== 'pass') {
    provoked.add(id)
    expect(found.why, id).not.toBe('')
    if (found.severity !== 'unknown') expect(found.fix, id).not.toEqual([])
  }
  return found
}

async function severity(
  server: RedisServer,
  id: string,
  ...more: Parameters<typeof examined> extends [string, ...infer R] ? R : never
): Promise<Severity> {
  return finding(await examined(server.url, ...more), id).severity
}

const LARGE = 'x'.repeat(1024)

/** Runs every line that belongs into redis-cli and has nothing to fill in, as an operator would. */
async function mend(client: Redis, { fix }: Finding): Promise<void> {
  for (const { in: place, line } of fix) {
    if (place !== 'redis-cli' || line.includes('<')) continue
    const words = line
      .replace(/ #.*/, '')
      .match(/"[^"]*"|\S+/g)!
      .map((word) => word.replaceAll('"', ''))
    await client.call(words[0]!, ...words.slice(1))
  }
}

describe('memory', () => {
  it('eviction-policy: warned of noeviction and of random choice, and the line given mends it', async () => {
    const server = await start(['--maxmemory', '50mb', '--maxmemory-policy', 'noeviction'])
    const redis = connect(server)
    const found = finding(await examined(server.url), 'eviction-policy')
    expect(found.severity).toBe('warn')
    await mend(redis, found)
    expect(await severity(server, 'eviction-policy')).toBe('pass')
    await redis.config('SET', 'maxmemory-policy', 'allkeys-random')
    expect(await severity(server, 'eviction-policy')).toBe('warn')
    await redis.config('SET', 'maxmemory-policy', 'allkeys-lfu')
    expect(await severity(server, 'eviction-policy')).toBe('pass')
  })

  it('eviction-policy: allkeys-* is a failure once there are streams of unwritten changes', async () => {
    const server = await start(['--maxmemory', '50mb', '--maxmemory-policy', 'allkeys-lru'])
    const redis = connect(server)
    await redis.xadd('shop:#behind:orders:0', '*', 'id', '1')
    const found = finding(await examined(server.url, { namespace: 'shop' }), 'eviction-policy')
    expect(found).toMatchObject({ severity: 'fail', what: expect.stringContaining('1 stream') as string })
    await mend(redis, found)
    expect(await severity(server, 'eviction-policy', { namespace: 'shop' })).toBe('pass')
  })

  it('eviction-policy: allkeys-* is no pass where streams may hide among more keys than are looked at', async () => {
    const server = await start(['--maxmemory', '50mb', '--maxmemory-policy', 'allkeys-lru'])
    const redis = connect(server)
    await redis.eval("for i = 1, 20000 do redis.call('SET', 'shop:a:' .. i, 'x', 'EX', 600) end", 0)
    const looking = { namespace: 'shop', sampleKeys: 10 }
    expect(await severity(server, 'eviction-policy', looking)).toBe('pass')
    await redis.xadd('shop:#behind:{orders.0}:stream', '*', 'id', '1')
    // A failure, if the stream is in the first page.
    expect(await severity(server, 'eviction-policy', looking)).not.toBe('pass')
  })

  it('maxmemory: none is a failure; too near to what there is is one too', async () => {
    const server = await start()
    const redis = connect(server)
    const none = finding(await examined(server.url, { memoryLimitBytes: 1024 ** 3 }), 'maxmemory')
    expect(none).toMatchObject({ severity: 'fail', what: 'no maxmemory' })
    expect(none.fix[0]!.line).toBe('CONFIG SET maxmemory 768mb')
    await mend(redis, none)
    expect(await severity(server, 'maxmemory', { memoryLimitBytes: 1024 ** 3 })).toBe('pass')
    expect(await severity(server, 'maxmemory', { memoryLimitBytes: 900 * 1024 ** 2 })).toBe('warn')
    expect(await severity(server, 'maxmemory', { memoryLimitBytes: 800 * 1024 ** 2 })).toBe('fail')
  })

  it('memory-pressure: a full Redis evicts, or refuses', async () => {
    const server = await start(['--maxmemory', '4mb', '--maxmemory-policy', 'volatile-lru'])
    const redis = connect(server)
    for (let key = 0; key < 4_000; key++) await redis.set(`shop:a:${key}`, LARGE, 'EX', 60)
    const full = finding(await examined(server.url), 'memory-pressure')
    expect(full.severity).toBe('warn')
    expect(full.what).not.toContain(' 0 keys evicted')
    await redis.config('SET', 'maxmemory-policy', 'noeviction')
    expect(await severity(server, 'memory-pressure')).toBe('fail')
    await redis.config('SET', 'maxmemory', '64mb')
    expect(await severity(server, 'memory-pressure')).toBe('pass')
  })

  it('fragmentation: what was freed and cannot be used', async () => {
    const server = await start(['--enable-debug-command', 'yes'])
    const redis = connect(server)
    await redis.call('DEBUG', 'POPULATE', 250_000, 'k', 500)
    // One of eight stays on every page, so that no page can be given back.
    await redis.eval("for i = 0, 249999 do if i % 8 ~= 0 then redis.call('DEL', 'k:' .. i) end end", 0)
    await until('the freed memory shows', async () => (await severity(server, 'fragmentation')) === 'warn')
  })

  it('big-keys: names the largest', async () => {
    const server = await start()
    const redis = connect(server)
    await redis.set('shop:a:small', 'x', 'EX', 60)
    await redis.set('shop:a:large', 'x'.repeat(2 * 1024 ** 2), 'EX', 60)
    const found = finding(await examined(server.url, { namespace: 'shop' }), 'big-keys')
    expect(found).toMatchObject({
      severity: 'warn',
      what: expect.stringContaining('shop:a:large (2') as string
    })
    expect(await severity(server, 'big-keys', { namespace: 'other' })).toBe('pass')
  })

  it('keys-without-ttl: somebody else writes in the namespace; Corral itself never leaves one', async () => {
    const server = await start(['--maxmemory', '50mb', '--maxmemory-policy', 'volatile-lfu'])
    const redis = connect(server)
    const cache = createCache({ redis: server.url, namespace: 'shop' })
    await cache.getOrLoad('a', () => 1, { ttl: '1m' })
    await cache.close()
    await redis.xadd('shop:#behind:orders:0', '*', 'id', '1')
    expect(await severity(server, 'keys-without-ttl', { namespace: 'shop' })).toBe('pass')
    await redis.set('shop:products:1', 'by hand')
    const found = finding(await examined(server.url, { namespace: 'shop' }), 'keys-without-ttl')
    expect(found).toMatchObject({
      severity: 'warn',
      what: expect.stringContaining('shop:products:1') as string
    })
    await mend(redis, found)
    expect(await severity(server, 'keys-without-ttl', { namespace: 'shop' })).toBe('pass')
  })

  it('keys-without-ttl: what is written behind has none by design until the source has it', async () => {
    const server = await start(['--maxmemory', '50mb', '--maxmemory-policy', 'volatile-lfu'])
    const cache = createCache({ redis: server.url, namespace: 'shop' })
    const load = (_id: number): number | undefined => undefined
    await cache
      .collection('views', { ttl: '1h', load, write: writeBehind({ sink: NOBODYS, shards: 1 }) })
      .put(1, 7)
    expect(await severity(server, 'keys-without-ttl', { namespace: 'shop' })).toBe('pass')
    await cache.close({ timeout: 0 })
  })
})

describe('persistence', () => {
  it('persistence: nothing kept, snapshots only, and both; worse with replicas, and with unwritten changes', async () => {
    const server = await start()
    const redis = connect(server)
    const nothing = finding(await examined(server.url), 'persistence')
    expect(nothing.severity).toBe('warn')
    await start(['--replicaof', server.host, String(server.port)])
    await until('the replica is there', async () =>
      (await redis.info('replication')).includes('state=online')
    )
    expect(finding(await examined(server.url), 'persistence')).toMatchObject({
      severity: 'fail',
      what: expect.stringContaining('replicas') as string
    })
    await redis.config('SET', 'save', '900 1')
    expect(await severity(server, 'persistence')).toBe('warn')
    await redis.xadd('shop:#behind:orders:0', '*', 'id', '1')
    expect(await severity(server, 'persistence', { namespace: 'shop' })).toBe('fail')
    await mend(redis, nothing)
    await until(
      'the append-only file is on',
      async () => (await severity(server, 'persistence', { namespace: 'shop' })) === 'pass'
    )
    await redis.config('SET', 'appendfsync', 'no')
    expect(await severity(server, 'persistence', { namespace: 'shop' })).toBe('fail')
  })

  it('last-save: a snapshot that cannot be written', async () => {
    const server = await start(['--dbfilename', 'dump.rdb'])
    const redis = connect(server)
    // A folder in the snapshot's place: root, as whom tests may run, could write anywhere else.
    await mkdir(join(server.folder, 'dump.rdb', 'full'), { recursive: true })
    await chmod(server.folder, 0o755)
    await redis.set('a', '1', 'EX', 60)
    await redis.bgsave()
    await until('the snapshot has failed', async () =>
      (await redis.info('persistence')).includes('rdb_last_bgsave_status:err')
    )
    expect(await severity(server, 'last-save')).toBe('fail')
  })
})

describe('replication', () => {
  it('role and replicas: a replica is no place for a cache, and a lone primary has no successor', async () => {
    const primary = await start()
    expect(await severity(primary, 'replicas')).toBe('warn')
    expect(await severity(primary, 'role')).toBe('pass')
    const replica = await start(['--replicaof', primary.host, String(primary.port)])
    await until('the replica is in step', async () => (await severity(primary, 'replicas')) === 'pass')
    expect(finding(await examined(replica.url), 'role')).toMatchObject({
      severity: 'fail',
      what: `a replica of ${primary.host}:${primary.port}`
    })
    await primary.kill()
    await until('the replica notices', async () =>
      finding(await examined(replica.url), 'role').what.includes('lost its primary')
    )
  })

  it('role: a server that is loading its data tells so', async () => {
    const server = await start([
      '--enable-debug-command',
      'yes',
      '--loading-process-events-interval-bytes',
      '1024'
    ])
    const redis = connect(server)
    await redis.call('DEBUG', 'POPULATE', 2_000, 'shop:a', 1_000)
    await redis.config('SET', 'key-load-delay', '10000')
    // It ends with the server.
    const loading = redis.call('DEBUG', 'RELOAD').catch(() => undefined)
    await until(
      'it says that it is loading',
      async () => {
        const role = (await examined(server.url)).get('role')
        return role?.severity === 'fail' && role.what.includes('loading')
      },
      20_000
    )
    await server.kill('SIGKILL')
    await loading
  })

  it('replicas: one that is behind', async () => {
    const primary = await start()
    const replica = await start(['--replicaof', primary.host, String(primary.port)])
    await until('the replica is in step', async () => (await severity(primary, 'replicas')) === 'pass')
    replica.pause()
    await until('the replica is behind', async () => (await severity(primary, 'replicas')) === 'warn', 25_000)
    replica.resume()
  })

  it('min-replicas: a primary that is cut off must stop, and one without replicas must not have to', async () => {
    const primary = await start()
    const redis = connect(primary)
    const replica = await start(['--replicaof', primary.host, String(primary.port)])
    await until('the replica is in step', async () => (await severity(primary, 'replicas')) === 'pass')
    const found = finding(await examined(primary.url), 'min-replicas')
    expect(found.severity).toBe('warn')
    await mend(redis, found)
    expect(await severity(primary, 'min-replicas')).toBe('pass')
    await replica.kill()
    await until(
      'the primary refuses writes',
      async () => (await severity(primary, 'min-replicas')) === 'fail'
    )
    await expect(redis.set('a', '1')).rejects.toThrow('NOREPLICAS')
    await mend(redis, finding(await examined(primary.url), 'min-replicas'))
    expect(await redis.set('a', '1')).toBe('OK')
  })
})

describe('the server', () => {
  it('version: too old', async () => {
    const server = await start()
    expect(await severity(server, 'version')).toBe('pass')
    // There is no old server to be had here; of this one the version is altered on the way.
    const asVersion = (version: string) => (reply: Buffer) =>
      Buffer.from(
        reply
          .toString('latin1')
          .replace(/redis_version:\d+\.\d+\.\d+/, (line) =>
            `redis_version:${version}`.padEnd(line.length, '0')
          ),
        'latin1'
      )
    for (const [version, expected] of [
      ['6.2.10', 'warn'],
      ['5.0.14', 'fail']
    ] as const) {
      await using proxy = await spoilingProxy(server.port, { alter: asVersion(version) })
      expect(finding(await examined(proxy.url), 'version')).toMatchObject({
        severity: expected,
        what: expect.stringContaining(version) as string
      })
    }
  })

  it('latency: a Redis that is far away', async () => {
    const server = await start()
    await using proxy = await spoilingProxy(server.port, { delayMs: 8 })
    expect(finding(await examined(proxy.url), 'latency').severity).toBe('warn')
  })

  it('slow-log: names the kind of command, never its arguments', async () => {
    const server = await start()
    const redis = connect(server)
    await redis.eval("local x = 0 for i = 1, 8000000 do x = x + 1 end return 'secret-argument'", 0)
    const found = finding(await examined(server.url), 'slow-log')
    expect(found).toMatchObject({ severity: 'warn', what: expect.stringMatching(/^EVAL \(/) as string })
    expect(JSON.stringify(found)).not.toContain('secret-argument')
  })

  it('clock: this machine and Redis do not agree', async () => {
    const server = await start()
    expect(await severity(server, 'clock')).toBe('pass')
    for (const offMs of [-3_000, 3_000]) {
      expect(await severity(server, 'clock', { wallClock: () => Date.now() + offMs })).toBe('warn')
    }
  })
})

describe('clients', () => {
  it('tracking: refused, and the line given mends it, and takes no channel away', async () => {
    const server = await start()
    const redis = connect(server)
    await redis.acl('SETUSER', 'default', '-client|tracking')
    const found = finding(await examined(server.url), 'tracking')
    expect(found.severity).toBe('warn')
    const fix = found.fix.map(({ line, ...place }) => ({
      ...place,
      line: line.replace('<user>', 'default').replace('<namespace>', 'shop')
    }))
    await mend(redis, { ...found, fix })
    expect(await severity(server, 'tracking')).toBe('pass')
    expect(await redis.call('ACL', 'DRYRUN', 'default', 'PUBLISH', 'shop:#changes', '1')).toBe('OK')
  })

  it('tracking: a user without channels is told of nothing, though it may track', async () => {
    const server = await start()
    const redis = connect(server)
    // As ACL SETUSER makes them since Redis 7: without channels.
    await redis.acl('SETUSER', 'app', 'on', '>pw', '~*', '+@all')
    const url = `redis://app:pw@127.0.0.1:${server.port}`
    const found = finding(await examined(url), 'tracking')
    expect(found).toMatchObject({ severity: 'warn', what: expect.stringContaining('channel') as string })
    const fix = found.fix.map(({ line, ...place }) => ({
      ...place,
      line: line.replace('<user>', 'app').replace('<namespace>', 'shop')
    }))
    await mend(redis, { ...found, fix })
    expect((await examined(url)).get('tracking')).toMatchObject({ severity: 'pass' })
  })

  it('push-buffers: too small, and without an end', async () => {
    const server = await start(['--client-output-buffer-limit', 'pubsub 1mb 256kb 60'])
    const redis = connect(server)
    const found = finding(await examined(server.url), 'push-buffers')
    expect(found.severity).toBe('warn')
    await mend(redis, found)
    expect(await severity(server, 'push-buffers')).toBe('pass')
    await redis.config('SET', 'client-output-buffer-limit', 'pubsub 0 0 0')
    expect(await severity(server, 'push-buffers')).toBe('warn')
  })

  it('tracking-table: full, and without an end', async () => {
    const server = await start(['--tracking-table-max-keys', '50'])
    const redis = connect(server)
    const subscriber = connect(server)
    await redis.client('TRACKING', 'ON', 'REDIRECT', await subscriber.client('ID'))
    for (let key = 0; key < 50; key++) await redis.get(`shop:a:${key}`)
    const found = finding(await examined(server.url), 'tracking-table')
    expect(found).toMatchObject({ severity: 'warn', what: '50 keys tracked, at most 50' })
    await mend(redis, found)
    expect(await severity(server, 'tracking-table')).toBe('pass')
    await redis.config('SET', 'tracking-table-max-keys', '0')
    expect(await severity(server, 'tracking-table')).toBe('warn')
  })

  it('connections: nearly all in use, and some not let in', async () => {
    const server = await start(['--maxclients', '10'])
    await Promise.all(Array.from({ length: 8 }, () => connect(server).ping()))
    expect(await severity(server, 'connections')).toBe('warn')
  })
})

describe('security', () => {
  it('password: nobody asks for one', async () => {
    const server = await start(['--protected-mode', 'yes'])
    expect(await severity(server, 'password')).toBe('warn')
    const open = await start(['--protected-mode', 'no', '--bind', '0.0.0.0'])
    expect(await severity(open, 'password')).toBe('fail')
    expect(await severity(open, 'protected-mode')).toBe('fail')
    const redis = connect(open)
    await redis.config('SET', 'requirepass', 'long enough')
    const findings = await examined(`redis://:long%20enough@127.0.0.1:${open.port}`)
    expect(finding(findings, 'password').severity).toBe('pass')
    expect(finding(findings, 'protected-mode').severity).toBe('pass')
    expect(JSON.stringify([...findings])).not.toContain('long enough')
  })

  it('password: who may not PING may read all the same', async () => {
    const server = await start(['--protected-mode', 'yes'])
    const redis = connect(server)
    await redis.acl('SETUSER', 'people', 'on', '>pw', '~*', '&*', '+@all')
    const url = `redis://people:pw@127.0.0.1:${server.port}`
    const asPeople = async (): Promise<Severity> => finding(await examined(url), 'password').severity
    const admin = new Redis(url)
    opened.push(admin)
    await admin.acl('SETUSER', 'default', '-@all', '+get')
    expect(await asPeople()).toBe('warn')
    await admin.acl('SETUSER', 'default', '-@all')
    expect(await asPeople()).toBe('pass')
    await admin.acl('SETUSER', 'default', 'off')
    expect(await asPeople()).toBe('pass')
  })

  it('password: a certificate that the server asks for is one, too', async () => {
    const shipped = await installShipped()
    try {
      const file = (name: string): string => join(shipped.folder, 'tls', name)
      const files = [
        '--tls-cert-file',
        file('redis.crt'),
        '--tls-key-file',
        file('redis.key'),
        '--tls-ca-cert-file',
        file('ca.crt')
      ]
      const read = (name: string): Promise<string> => readFile(file(name), 'utf8')
      const tls = { ca: shipped.ca, cert: await read('redis.crt'), key: await read('redis.key') }
      for (const [asked, protocols, expected] of [
        ['yes', 'TLSv1.3', 'pass'],
        ['yes', 'TLSv1.2', 'pass'],
        ['no', 'TLSv1.3', 'warn']
      ] as const) {
        const port = await freePort()
        await start([
          '--tls-port',
          String(port),
          ...files,
          '--tls-auth-clients',
          asked,
          '--tls-protocols',
          protocols
        ])
        const found = finding(await examined(`rediss://127.0.0.1:${port}`, {}, { tls }), 'password')
        expect([asked, protocols, found.severity]).toEqual([asked, protocols, expected])
      }
    } finally {
      await shipped.remove()
    }
  })

  it('tls: passwords in the clear on a network', async () => {
    const address = Object.values(networkInterfaces())
      .flat()
      .find((one) => one?.family === 'IPv4' && !one.internal)?.address
    const server = await start(['--protected-mode', 'no', '--bind', '0.0.0.0'])
    expect(await severity(server, 'tls')).toBe('pass')
    // Without a network the address that means "every one of mine" is at least none that means "this machine".
    expect(finding(await examined(`redis://${address ?? '0.0.0.0'}:${server.port}`), 'tls').severity).toBe(
      'warn'
    )
  })

  it('least-privilege: a user that may do everything', async () => {
    const server = await start()
    expect(finding(await examined(server.url), 'least-privilege')).toMatchObject({
      severity: 'warn',
      what: expect.stringContaining('FLUSHALL') as string
    })
    await connect(server).acl(
      'SETUSER',
      'cache',
      'on',
      '>pw',
      '~*',
      '&*',
      '+@all',
      '-@dangerous',
      '+info',
      '+acl|whoami',
      '+acl|dryrun',
      '+config|get'
    )
    expect(
      finding(await examined(`redis://cache:pw@127.0.0.1:${server.port}`), 'least-privilege').severity
    ).toBe('pass')
  })

  it('least-privilege: a command that is not there is one that nobody may run', async () => {
    const server = await start(['--rename-command', 'FLUSHALL', ''])
    const found = finding(await examined(server.url), 'least-privilege')
    expect(found.what).toContain('FLUSHDB')
    expect(found.what).not.toContain('FLUSHALL')
  })

  it('database-number: another than 0', async () => {
    const server = await start()
    expect(finding(await examined(`${server.url}/3`), 'database-number').severity).toBe('warn')
  })
})

describe('a Cluster', () => {
  it('cluster-health, cluster-replicas and cluster-coverage: lost slots, lone primaries', async () => {
    await using cluster = await startRedisCluster({ primaries: 3, replicasEach: 0, nodeTimeoutMs: 500 })
    const [first, second] = cluster.nodes as [RedisServer, RedisServer]
    const whole = await examined(first.url)
    expect(finding(whole, 'cluster-health').severity).toBe('pass')
    // The nodes have users of their own.
    for (const node of cluster.nodes)
      await connect(node).acl('SETUSER', 'people', 'on', '>pw', '~*', '&*', '+@all')
    await connect(first).acl('SETUSER', 'default', 'resetpass')
    const asPeople = { url: first.url, username: 'people', password: 'pw', timeoutMs: 5_000 }
    const people = await openOperator(asPeople)
    const { nodes } = await examine(people)
    people.close()
    const served = nodes.filter(({ findings }) =>
      findings.some(({ id, severity: how }) => id === 'password' && how !== 'pass')
    )
    expect(served.map(({ node }) => node)).not.toContain(`127.0.0.1:${first.port}`)
    expect(served).toHaveLength(2)
    const admin = new Redis(first.url, { username: 'people', password: 'pw' })
    await admin.acl('SETUSER', 'default', 'nopass')
    admin.disconnect()
    expect(finding(whole, 'cluster-replicas')).toMatchObject({
      severity: 'warn',
      what: expect.stringContaining(`127.0.0.1:${second.port}`) as string
    })
    const coverage = finding(whole, 'cluster-coverage')
    expect(coverage.severity).toBe('warn')
    for (const node of cluster.nodes) await mend(connect(node), coverage)
    expect(await severity(first, 'cluster-coverage')).toBe('pass')
    await second.kill()
    await until('the loss is seen', async () => {
      const found = finding(await examined(first.url), 'cluster-health')
      return found.severity === 'warn' && found.what.includes(`127.0.0.1:${second.port}`)
    })
    const operator = await openOperator({ url: first.url, timeoutMs: 5_000 })
    const lost = (await examine(operator)).nodes.find(({ node }) => node.endsWith(`:${second.port}`))
    operator.close()
    expect(lost?.findings).toMatchObject([{ id: 'reachable', severity: 'fail' }])
    provoked.add('reachable')
    const redis = connect(first)
    await redis.cluster('DELSLOTS', 0)
    await until(
      'the slot is missed',
      async () => finding(await examined(first.url), 'cluster-health').severity === 'fail'
    )
  })
})

describe('a server that does not let itself be looked at', () => {
  const HIDDEN = [
    'info',
    'config',
    'slowlog',
    'client',
    'time',
    'scan',
    'acl',
    'memory',
    'debug',
    'cluster',
    'role',
    'dbsize'
  ]

  it('gives findings of their own kind that name the reason and the rule to allow, and no crash', async () => {
    const server = await start()
    await connect(server).acl(
      'SETUSER',
      'app',
      'on',
      '>pw',
      '~*',
      '&*',
      '+@all',
      ...HIDDEN.map((name) => `-${name}`)
    )
    const findings = await examined(`redis://app:pw@127.0.0.1:${server.port}`)
    const unknown = [...findings.values()].filter((one) => one.severity === 'unknown').map(({ id }) => id)
    for (const id of [
      'eviction-policy',
      'persistence',
      'slow-log',
      'clock',
      'keys-without-ttl',
      'least-privilege'
    ]) {
      expect(unknown).toContain(id)
    }
    expect(findings.get('eviction-policy')).toMatchObject({
      what: expect.stringMatching(/^could not look: NOPERM/) as string,
      fix: [{ in: 'redis-cli', line: expect.stringContaining('+info') as string }]
    })
    // What can be asked is answered all the same.
    expect(findings.get('latency')!.severity).not.toBe('unknown')
    expect(findings.get('password')!.severity).toBe('fail')
  })

  it('tells the rest as before when a single command is denied', async () => {
    const server = await start()
    await connect(server).acl('SETUSER', 'app', 'on', '>pw', '~*', '&*', '+@all', '-config')
    const findings = await examined(`redis://app:pw@127.0.0.1:${server.port}`)
    expect(findings.get('persistence')!.severity).toBe('unknown')
    expect(findings.get('eviction-policy')!.severity).toBe('warn')
    expect(findings.get('keys-without-ttl')!.severity).toBe('pass')
  })

  it('does not call a size fine that it could not see', async () => {
    const server = await start()
    const redis = connect(server)
    await redis.acl('SETUSER', 'app', 'on', '>pw', '~*', '&*', '+@all', '-memory')
    await redis.set('shop:a:large', 'x'.repeat(2 * 1024 ** 2), 'EX', 60)
    const findings = await examined(`redis://app:pw@127.0.0.1:${server.port}`)
    expect(findings.get('big-keys')).toMatchObject({
      severity: 'unknown',
      fix: [{ in: 'redis-cli', line: 'ACL SETUSER app +memory|usage' }]
    })
    expect(findings.get('keys-without-ttl')!.severity).toBe('pass')
  })
})

it('every check has been provoked on a real server', () => {
  expect([...CHECKS.map(({ id }) => id), 'reachable'].filter((id) => !provoked.has(id))).toEqual([])
})
