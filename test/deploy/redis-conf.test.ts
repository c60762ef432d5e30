import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { connect } from 'node:tls'
import { promisify } from 'node:util'
import { Redis } from 'ioredis'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { parseAllDocuments } from 'yaml'
import { openOperator } from '../../src/admin/connect.js'
import { examine } from '../../src/admin/doctor/doctor.js'
import { dropKeys } from '../../src/admin/drop.js'
import { createCache, writeBehind } from '../../src/index.js'
import { type GuardedProcess, spawnGuarded } from '../support/guarded-process.js'
import { NOBODYS } from '../support/nobodys-sink.js'
import { until } from '../support/until.js'
import { installShipped, PASSWORDS, startShipped, type Shipped, type ShippedServer } from './shipped.js'

const run = promisify(execFile)

let shipped: Shipped
beforeAll(async () => {
  shipped = await installShipped()
})
afterAll(() => shipped.remove())

/** What the engine does, from a first load to a write, as the user that services have. */
async function provesEngine(
  redis: Parameters<typeof createCache>[0]['redis'],
  hasPushes = true
): Promise<void> {
  const cache = createCache({ redis, namespace: 'shop', commandTimeout: '10s' })
  const failures: unknown[] = []
  cache.on('redisFailed', ({ error }) => failures.push(error))
  cache.on('redisConnectionFailed', ({ error }) => failures.push(error))
  try {
    let loads = 0
    const products = cache.collection('products', {
      ttl: '1h',
      load: async (id: number) => ({ id, load: ++loads }),
      write: async (_id, row) => row
    })
    const values = await Promise.all(Array.from({ length: 20 }, () => products.get(1)))
    expect(new Set(values.map((value) => value?.load)).size).toBe(1)
    expect((await products.getMany([1, 2, 3])).size).toBe(3)
    expect((await products.put(2, { id: 2, load: -1 })).cache).toBe('published')
    expect((await products.lookup(2)).source).toBe('redis')
    await products.invalidate(1)
    expect((await products.lookup(1)).source).toBe('loader')
    expect((await products.tenant('acme').lookup(1)).source).toBe('loader')
    if (hasPushes) await until('changes are announced', () => cache.stats().redis.pushes)
    expect(failures).toEqual([])
  } finally {
    await cache.close()
  }
}

describe('the shipped redis.conf', () => {
  let server: ShippedServer
  beforeAll(async () => {
    server = await startShipped(shipped, 'redis.conf')
  })
  afterAll(() => server.stop())

  it('boots, and is what it says', async () => {
    const redis = server.connect()
    expect(await redis.config('GET', 'maxmemory-policy')).toEqual(['maxmemory-policy', 'volatile-lfu'])
    expect(await redis.config('GET', 'appendonly')).toEqual(['appendonly', 'yes'])
    redis.disconnect()
  })

  it('runs the engine as the user "cache", who cannot leave its namespaces or harm the server', async () => {
    await provesEngine(server.options('cache'))
    const redis = server.connect('cache')
    const operator = server.connect()
    for (const command of [
      'FLUSHALL',
      'SHUTDOWN',
      'DEBUG SLEEP 0',
      'CONFIG GET a',
      'ACL LIST',
      'KEYS *',
      'MONITOR'
    ]) {
      const reply = await operator.call('ACL', 'DRYRUN', 'cache', ...command.split(' '))
      expect(reply, command).toMatch(/no permissions/)
    }
    operator.disconnect()
    await expect(redis.get('other:products:1')).rejects.toThrow('NOPERM')
    await expect(redis.set('other:products:1', 'x')).rejects.toThrow('NOPERM')
    redis.disconnect()
  })

  it('lets "metrics" ask all that redis_exporter asks, and nothing of what is cached', async () => {
    const operator = server.connect()
    const mayAsk = async (command: string): Promise<boolean> =>
      (await operator.call('ACL', 'DRYRUN', 'metrics', ...command.split(' '))) === 'OK'
    for (const command of [
      'PING',
      'INFO ALL',
      'CONFIG GET *',
      'CLIENT SETNAME redis_exporter',
      'CLIENT LIST',
      'LATENCY LATEST',
      'LATENCY HISTOGRAM',
      'SLOWLOG LEN',
      'SLOWLOG GET 1',
      'CLUSTER INFO'
    ]) {
      expect(await mayAsk(command), command).toBe(true)
    }
    for (const command of ['GET shop:products:1', 'SCAN 0', 'CONFIG SET maxmemory 1']) {
      expect(await mayAsk(command), command).toBe(false)
    }
    operator.disconnect()
  })

  it('lets an operator invalidate also what is written behind, while it waits for its database', async () => {
    const cache = createCache({ redis: server.options('cache'), namespace: 'shop' })
    const operator = await openOperator({
      url: `redis://127.0.0.1:${server.port}`,
      username: 'operator',
      password: PASSWORDS.operator,
      timeoutMs: 5_000
    })
    try {
      const views = cache.collection('views', {
        ttl: '1h',
        load: (_id: number): number | undefined => undefined,
        write: writeBehind({ sink: NOBODYS, shards: 1 })
      })
      await views.put(1, 7)
      expect(await dropKeys(operator, ['shop:views:{views.0}:1'])).toBe(1)
    } finally {
      operator.close()
      await cache.close({ timeout: 0 })
    }
  })

  it('lets nobody in without a name and a password', async () => {
    const stranger = new Redis({
      port: server.port,
      host: '127.0.0.1',
      enableReadyCheck: false,
      retryStrategy: () => null
    })
    stranger.on('error', () => undefined)
    await expect(stranger.ping()).rejects.toThrow('NOAUTH')
    stranger.disconnect()
  })

  it('satisfies the doctor, who comes as "operator"; but for a replica and the machine’s own memory', async () => {
    const operator = await openOperator({
      url: `redis://127.0.0.1:${server.port}`,
      username: 'operator',
      password: PASSWORDS.operator,
      timeoutMs: 5_000
    })
    const report = await examine(operator, { namespace: 'shop', memoryLimitBytes: 1024 ** 3 })
    operator.close()
    // How far away it is, and how busy this machine, says nothing of the file.
    const open = report.nodes[0]!.findings.filter(
      ({ id, severity }) => severity !== 'pass' && id !== 'latency'
    )
    expect(open.map(({ id, severity, what }) => [id, severity, what])).toEqual([['replicas', 'warn', 'none']])
  })
})

describe('standalone.conf', () => {
  it('boots with TLS alone, and runs the engine', async () => {
    const server = await startShipped(shipped, 'standalone.conf')
    try {
      await provesEngine(server.options('cache'))
      const plain = new Redis({
        port: server.port,
        host: '127.0.0.1',
        retryStrategy: () => null,
        enableReadyCheck: false
      })
      plain.on('error', () => undefined)
      await expect(plain.ping()).rejects.toThrow()
      plain.disconnect()
    } finally {
      await server.stop()
    }
  })
})

describe('a running Redis', () => {
  it('serves a certificate that was renewed once it is told to read it, and not before', async () => {
    const own = await installShipped()
    const server = await startShipped(own, 'standalone.conf')
    const admin = server.connect('admin')
    try {
      const first = await certificateAt(server.port)
      await own.renewCertificate()
      expect(await certificateAt(server.port)).toBe(first)
      await admin.config('SET', 'tls-cert-file', join(own.folder, 'tls/redis.crt'))
      expect(await certificateAt(server.port)).not.toBe(first)
    } finally {
      admin.disconnect()
      await server.stop()
      await own.remove()
    }
  })
})

describe('a Redis that reads its file after a restart', () => {
  it('is alive for Kubernetes, and not ready', async () => {
    const server = await startShipped(shipped, 'standalone.conf')
    const admin = server.connect('admin')
    let loading: GuardedProcess | undefined
    try {
      await Promise.all([probe('liveness', server.port), probe('readiness', server.port)])
      for (let at = 0; at < 10_000; at++) void admin.set(`shop:${at}`, 'x')
      // As a snapshot, in which it answers between a few keys; of commands it reads a thousand at a time.
      await admin.bgrewriteaof()
      await until('the file is written', async () =>
        /aof_rewrite_in_progress:0[^]*aof_rewrite_scheduled:0/.test(await admin.info('persistence'))
      )
      admin.disconnect()
      await server.crash()
      loading = await spawnGuarded(
        'redis-server',
        [
          join(shipped.folder, 'standalone.conf'),
          '--tls-port',
          String(server.port),
          '--bind',
          '127.0.0.1',
          '--dir',
          server.folder,
          // Forty seconds at least: more than any machine takes to ask two questions.
          '--key-load-delay',
          '4000',
          '--loading-process-events-interval-bytes',
          '1024'
        ],
        { endSignal: 'KILL', cwd: server.folder }
      )
      await until('it is alive', () =>
        probe('liveness', server.port).then(
          () => true,
          () => false
        )
      )
      await expect(probe('readiness', server.port)).rejects.toThrow()
    } finally {
      admin.disconnect()
      await loading?.end()
      await server.stop()
    }
  })
})

/** Runs a probe as it stands in the manifest, but for where this server and its certificate are. Rejects when it fails. */
async function probe(kind: 'liveness' | 'readiness', port: number): Promise<void> {
  const manifests = parseAllDocuments(
    await readFile(new URL('../../deploy/kubernetes/redis.yaml', import.meta.url), 'utf8'),
    { merge: true }
  )
  const set = manifests.map((one) => one.toJS() as StatefulSet).find((one) => one.kind === 'StatefulSet')!
  const [shell, flag, command] = set.spec.template.spec.containers[0]![`${kind}Probe`].exec.command
  const here = command
    .replace('/etc/redis/tls', join(shipped.folder, 'tls'))
    .replace('-h localhost', `-h localhost -p ${port}`)
  await run(shell, [flag, here], { env: { ...process.env, METRICS_PASSWORD: PASSWORDS.metrics } })
}

interface Probe {
  readonly exec: { readonly command: readonly [shell: string, flag: string, command: string] }
}

interface StatefulSet {
  readonly kind: string
  readonly spec: {
    template: { spec: { containers: readonly { livenessProbe: Probe; readinessProbe: Probe }[] } }
  }
}

/** What it shows to who connects now. */
async function certificateAt(port: number): Promise<string> {
  const socket = connect({ port, host: '127.0.0.1', rejectUnauthorized: false })
  try {
    await once(socket, 'secureConnect')
    return socket.getPeerCertificate().fingerprint256
  } finally {
    socket.destroy()
  }
}

describe('replica-set.conf', () => {
  it('boots a primary and two replicas; writes need a replica in step', async () => {
    const primary = await startShipped(shipped, 'replica-set.conf')
    const args = ['--replicaof', '127.0.0.1', String(primary.port)]
    const replicas = await Promise.all([
      startShipped(shipped, 'replica-set.conf', { args }),
      startShipped(shipped, 'replica-set.conf', { args })
    ])
    try {
      const redis = primary.connect()
      await until('two replicas are in step', async () =>
        (await redis.info('replication')).includes('min_slaves_good_slaves:2')
      )
      await provesEngine(primary.options('cache'))
      const replica = replicas[0].connect()
      await until(
        'the replica has what was cached',
        async () => (await replica.exists('shop:products:1')) === 1
      )
      replica.disconnect()
      redis.disconnect()
    } finally {
      await Promise.all([primary, ...replicas].map((server) => server.stop()))
    }
  })
})
