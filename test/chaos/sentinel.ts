import { setTimeout as sleep } from 'node:timers/promises'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import { freePort } from '../support/free-port.js'
import { spawnGuarded, type GuardedProcess } from '../support/guarded-process.js'
import { startRedisServer, type RedisServer } from '../support/redis-server.js'
import { lastWords, sentinelLog } from '../support/sentinel-logs.js'
import { createTemporaryFolder } from '../support/temporary-folder.js'
import { until } from '../support/until.js'
import { watchFailovers, type Failover } from './failover-watch.js'
import type { ServerFault, RedisTopology } from './topology.js'

const NAME = 'chaos'
const SENTINELS = 3
const REPLICAS = 2
/** A choice that fails on a busy machine is made again only after twice the time that Sentinels give it. */
const PATIENCE_MS = 120_000

/**
 * A master with two replicas, and three Sentinels that choose another master when it is gone.
 *
 * @param onFailover is told of every one, also of those that nobody ordered
 */
export async function startSentinel(onFailover: (failover: Failover) => void): Promise<RedisTopology> {
  const master = await startRedisServer({ args: REPLICATION })
  const replicas = await Promise.all(
    Array.from({ length: REPLICAS }, () =>
      startRedisServer({ args: [...REPLICATION, '--replicaof', master.host, String(master.port)] })
    )
  )
  const servers: readonly RedisServer[] = [master, ...replicas]
  const folder = await createTemporaryFolder('sentinel')
  const sentinels: { port: number; process: GuardedProcess }[] = []
  for (let number = 0; number < SENTINELS; number++)
    sentinels.push(await startOne(folder.path, number, master.port))
  const asking = new Redis({ host: '127.0.0.1', port: sentinels[0]!.port, maxRetriesPerRequest: 1 })
  asking.on('error', () => undefined) // Reported by the call that needed it.

  const masterPort = async (): Promise<number> => {
    const [, port] = (await asking.call('SENTINEL', 'GET-MASTER-ADDR-BY-NAME', NAME)) as [string, string]
    return Number(port)
  }
  const isWhole = async (): Promise<boolean> => {
    const port = await masterPort()
    const facts = await askMaster(port, (client) => client.info('replication'))
    const asked = (await asking.call('SENTINEL', 'CKQUORUM', NAME).catch(() => '')) as string
    return (
      /role:master/.test(facts) &&
      (facts.match(/state=online/g) ?? []).length === REPLICAS &&
      asked.startsWith('OK 3')
    )
  }
  await until('Sentinels and replicas have found each other', isWhole, PATIENCE_MS)
  const whole = (): Promise<void> =>
    until('the replicas are back', () => isWhole().catch(() => false), PATIENCE_MS)
  const watching = watchFailovers(servers, whole, onFailover)

  const failOver = async (
    strike: (server: RedisServer) => Promise<void>,
    mend: (server: RedisServer) => Promise<void>
  ): Promise<void> => {
    const port = await masterPort()
    const server = servers.find((one) => one.port === port)!
    await strike(server)
    await until('another master is chosen', async () => (await masterPort()) !== port, PATIENCE_MS).catch(
      async (error: Error) => {
        throw new Error(`${error.message}\n${await lastWords(folder.path, SENTINELS)}`, { cause: error })
      }
    )
    await mend(server)
    await whole()
  }

  const faults: ServerFault[] = [
    {
      what: 'the master killed, and a replica in its place',
      weight: 2,
      mayLoseGuards: true,
      failsOver: true,
      strike: () =>
        failOver(
          (server) => server.kill(),
          (server) => server.restart()
        )
    },
    {
      what: 'the master stopped until a replica is in its place',
      weight: 1,
      mayLoseGuards: true,
      failsOver: true,
      strike: () =>
        failOver(
          async (server) => server.pause(),
          async (server) => server.resume()
        )
    },
    {
      what: 'the master stopped for a moment',
      weight: 2,
      mayLoseGuards: true,
      strike: async (random) => {
        const port = await masterPort()
        const server = servers.find((one) => one.port === port)!
        server.pause()
        await sleep(50 + 300 * random())
        server.resume()
      }
    },
    {
      what: 'SCRIPT FLUSH',
      weight: 1,
      mayLoseGuards: false,
      strike: async () => void (await askMaster(await masterPort(), (client) => client.script('FLUSH')))
    },
    {
      what: 'FLUSHALL',
      weight: 1,
      mayLoseGuards: true,
      strike: async () => void (await askMaster(await masterPort(), (client) => client.flushall()))
    }
  ]

  return {
    faults,
    addressFor: async () => ({
      kind: 'options',
      options: {
        sentinels: sentinels.map(({ port }) => ({ host: '127.0.0.1', port })),
        name: NAME,
        connectTimeout: 1_000
      }
    }),
    forget: async () => void (await askMaster(await masterPort(), (client) => client.flushall())),
    stop: async () => {
      await watching[Symbol.asyncDispose]()
      asking.disconnect()
      await Promise.all(sentinels.map(({ process }) => process.end()))
      await Promise.all(servers.map((server) => server.stop()))
      await folder.remove()
    }
  }
}

const REPLICATION = ['--repl-diskless-sync-delay', '0', '--repl-timeout', '5']

async function startOne(
  folder: string,
  number: number,
  masterPort: number
): Promise<{ port: number; process: GuardedProcess }> {
  const port = await freePort()
  const file = join(folder, `sentinel-${number}.conf`)
  await writeFile(
    file,
    [
      `port ${port}`,
      'bind 127.0.0.1',
      `dir ${folder}`,
      `logfile ${sentinelLog(folder, number)}`,
      `sentinel monitor ${NAME} 127.0.0.1 ${masterPort} 2`,
      `sentinel down-after-milliseconds ${NAME} 1000`,
      `sentinel failover-timeout ${NAME} 3000`,
      `sentinel parallel-syncs ${NAME} 2`,
      ''
    ].join('\n')
  )
  const process = await spawnGuarded('redis-server', [file, '--sentinel'], { endSignal: 'KILL', cwd: folder })
  return { port, process }
}

async function askMaster<T>(port: number, ask: (client: Redis) => Promise<T>): Promise<T> {
  const client = new Redis({ host: '127.0.0.1', port, maxRetriesPerRequest: 1, commandTimeout: 10_000 })
  client.on('error', () => undefined) // Reported by the call.
  try {
    return await ask(client)
  } finally {
    client.disconnect()
  }
}
