import { execFile } from 'node:child_process'
import { cp, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { Cluster, Redis } from 'ioredis'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openOperator } from '../../src/admin/connect.js'
import { examine } from '../../src/admin/doctor/doctor.js'
import {
  installShipped,
  PASSWORDS,
  startShipped,
  type Shipped,
  type ShippedServer
} from '../deploy/shipped.js'
import { freePort } from '../support/free-port.js'
import { spawnGuarded, type GuardedProcess } from '../support/guarded-process.js'
import { createTemporaryFolder } from '../support/temporary-folder.js'
import { until } from '../support/until.js'
import { provesEngine, provesMemory } from './engine.js'

const run = promisify(execFile)

let shipped: Shipped
beforeAll(async () => {
  shipped = await installShipped()
})
afterAll(() => shipped.remove())

/** The shipped files as they are: TLS alone, users with their rights, nobody without a password. */
describe('with TLS and users, as shipped,', () => {
  it('a Cluster of three primaries with a replica each does all that the engine asks', async () => {
    const args = ['--cluster-announce-ip', '127.0.0.1', '--repl-diskless-sync-delay', '0']
    const nodes = await Promise.all(
      Array.from({ length: 6 }, () => startShipped(shipped, 'cluster.conf', { args }))
    )
    const connect = (): Cluster => {
      const cluster = new Cluster(
        nodes.map(({ port }) => ({ host: '127.0.0.1', port })),
        {
          dnsLookup: (address, callback) => callback(null, address),
          redisOptions: {
            username: 'cache',
            password: PASSWORDS.cache,
            tls: { ca: shipped.ca },
            commandTimeout: 10_000
          }
        }
      )
      cluster.on('error', () => undefined)
      opened.push(cluster)
      return cluster
    }
    const opened: Cluster[] = []
    try {
      const addresses = nodes.map(({ port }) => `127.0.0.1:${port}`)
      await run(
        'redis-cli',
        [
          '--tls',
          '--cacert',
          join(shipped.folder, 'tls/ca.crt'),
          '--user',
          'admin',
          '--no-auth-warning',
          '--cluster',
          'create',
          ...addresses,
          '--cluster-replicas',
          '1',
          '--cluster-yes'
        ],
        { env: { ...process.env, REDISCLI_AUTH: PASSWORDS.admin }, timeout: 40_000 }
      )
      for (const node of nodes) {
        const client = node.connect('admin')
        await until(
          'it serves all slots, and its replica is in step',
          async () => {
            const [state, replication, known] = await Promise.all([
              client.cluster('INFO'),
              client.info('replication'),
              client.cluster('NODES')
            ])
            const isInStep = /state=online|master_link_status:up/.test(replication)
            // News of who is whose replica goes from node to node by gossip.
            return (
              state.includes('cluster_state:ok') &&
              isInStep &&
              String(known).match(/ (?:myself,)?slave /g)?.length === 3
            )
          },
          30_000
        )
        client.disconnect()
      }
      await provesEngine(connect, { hasPushes: false })
      await provesMemory(connect, 'channel')
      const operator = await openOperator({
        url: `rediss://127.0.0.1:${nodes[0]!.port}`,
        username: 'operator',
        password: PASSWORDS.operator,
        tls: { ca: shipped.ca },
        timeoutMs: 5_000
      })
      const report = await examine(operator, { namespace: 'shop', memoryLimitBytes: 1024 ** 3 })
      operator.close()
      expect(report.kind).toBe('cluster')
      expect(report.nodes).toHaveLength(3)
      const open = report.nodes
        .flatMap(({ findings }) => findings)
        .filter(({ severity, id }) => severity !== 'pass' && id !== 'latency')
      expect([...new Set(open.map(({ id }) => id))]).toEqual([])
    } finally {
      for (const cluster of opened) cluster.disconnect()
      await Promise.all(nodes.map((node) => node.stop()))
    }
  }, 60_000)

  it('three Sentinels watch a primary with two replicas, and fail over', async () => {
    const primary = await startShipped(shipped, 'replica-set.conf', {
      args: ['--repl-diskless-sync-delay', '0']
    })
    const args = ['--replicaof', '127.0.0.1', String(primary.port)]
    const servers = [
      primary,
      await startShipped(shipped, 'replica-set.conf', { args }),
      await startShipped(shipped, 'replica-set.conf', { args })
    ]
    const folder = await createTemporaryFolder('shipped-sentinels')
    const sentinels: { port: number; process: GuardedProcess }[] = []
    try {
      for (let index = 0; index < 3; index++)
        sentinels.push(await startSentinel(primary, join(folder.path, `sentinel-${index}.conf`)))
      const ask = await askerOf(sentinels[0]!.port)
      await until(
        'the Sentinels know the replicas and each other',
        async () => {
          // One that does not listen yet has no answer yet.
          const fields = ((await ask('master', 'mymaster').catch(() => [])) as string[]).join(' ')
          return (
            fields.includes('num-slaves 2') &&
            fields.includes('num-other-sentinels 2') &&
            / flags master /.test(fields)
          )
        },
        30_000
      )
      const connection = {
        sentinels: sentinels.map(({ port }) => ({ host: '127.0.0.1', port })),
        name: 'mymaster',
        sentinelTLS: { ca: shipped.ca },
        enableTLSForSentinelMode: true,
        tls: { ca: shipped.ca },
        username: 'cache',
        password: PASSWORDS.cache
      }
      await provesEngine(() => connection, { hasPushes: true })
      await provesMemory(() => connection, 'tracking')
      const operator = await openOperator({
        url: 'rediss://sentinels.instead',
        sentinels: connection.sentinels,
        username: 'operator',
        password: PASSWORDS.operator,
        tls: { ca: shipped.ca },
        timeoutMs: 5_000
      })
      expect([operator.kind, operator.address.port]).toEqual(['sentinel', primary.port])
      operator.close()
      await primary.crash()
      await until(
        'another is the primary',
        async () => {
          const [, port] = (await ask('get-master-addr-by-name', 'mymaster')) as [string, string]
          return Number(port) !== primary.port
        },
        30_000
      )
      await until(
        'the new primary has its replica in step',
        async () => {
          const [, port] = (await ask('get-master-addr-by-name', 'mymaster')) as [string, string]
          const client = servers.find((server) => server.port === Number(port))!.connect()
          return client
            .info('replication')
            .then(
              (info) => info.includes('min_slaves_good_slaves:1'),
              () => false
            )
            .finally(() => client.disconnect())
        },
        30_000
      )
      await provesEngine(() => connection, { hasPushes: true, namespace: 'store' })
    } finally {
      for (const { process } of sentinels) await process.end()
      await Promise.all(servers.map((server) => server.stop()))
      await folder.remove()
    }
  }, 90_000)
})

/** The shipped sentinel.conf, with this primary's address and a shorter patience. */
async function startSentinel(
  primary: ShippedServer,
  file: string
): Promise<{ port: number; process: GuardedProcess }> {
  const port = await freePort()
  await cp(join(shipped.folder, 'sentinel.conf'), file)
  const text = (await readFile(file, 'utf8'))
    .replace('redis-0 6379', `127.0.0.1 ${primary.port}`)
    .replace(/^tls-port .*$/m, `tls-port ${port}`)
    .replace(/^dir .*$/m, `dir ${join(file, '..')}`)
    .replace('down-after-milliseconds mymaster 5000', 'down-after-milliseconds mymaster 1000')
  await writeFile(file, `${text}\nbind 127.0.0.1\n`)
  return {
    port,
    process: await spawnGuarded('redis-server', [file, '--sentinel'], {
      endSignal: 'KILL',
      cwd: join(file, '..')
    })
  }
}

async function askerOf(port: number): Promise<(...command: string[]) => Promise<unknown>> {
  const open = async (): Promise<Redis> => {
    const client = new Redis({
      port,
      host: '127.0.0.1',
      tls: { ca: shipped.ca },
      protocol: 2,
      replyMapping: 'legacy',
      lazyConnect: true,
      enableReadyCheck: false,
      retryStrategy: () => null
    })
    client.on('error', () => undefined)
    await client.connect()
    return client
  }
  return async (...command) => {
    const client = await open()
    return client.call('SENTINEL', ...command).finally(() => client.disconnect())
  }
}
