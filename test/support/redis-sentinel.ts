import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import { freePort } from './free-port.js'
import { spawnGuarded, type GuardedProcess } from './guarded-process.js'
import { startRedisServer, type RedisServer } from './redis-server.js'
import { replicationOf } from './cut-off.js'
import { lastWords, sentinelLog } from './sentinel-logs.js'
import { createTemporaryFolder } from './temporary-folder.js'
import { until } from './until.js'

/** A primary, its replicas, and Sentinels that watch over them: real processes on 127.0.0.1. */
export interface SentinelTrio extends AsyncDisposable {
  readonly servers: readonly RedisServer[]
  readonly sentinels: readonly { readonly host: string; readonly port: number }[]
  readonly masterName: string
  /** The one that the first Sentinel calls the primary now. */
  primary(): Promise<RedisServer>
  /** Until another one is; tells what the Sentinels said meanwhile when they choose none. */
  replaced(old: RedisServer): Promise<void>
  /** Has the Sentinels fail over, with nobody dead. */
  failOver(): Promise<void>
  /**
   * Until no failover is under way, every Sentinel calls the same one the primary, and that one has so many replicas in
   * step (default 1). A Sentinel that has not heard of a failover yet, or is in the middle of it, may name the one before.
   */
  settled(replicas?: number): Promise<void>
  stop(): Promise<void>
}

export interface SentinelOptions {
  /** Default 2. */
  readonly replicas?: number
  /** More arguments for every redis-server. */
  readonly args?: readonly string[]
  /** How long a silent primary is waited for. Default 1,000 ms. */
  readonly downAfterMs?: number
}

const SENTINELS = 3
const MASTER = 'mymaster'
/** A choice that fails on a busy machine is made again only after twice the time that Sentinels give it. */
const SETTLED_WITHIN_MS = 100_000

export async function startSentinelTrio(options: SentinelOptions = {}): Promise<SentinelTrio> {
  const { replicas = 2, downAfterMs = 1_000, args = [] } = options
  const serverArgs = ['--repl-diskless-sync-delay', '0', ...args]
  const primary = await startRedisServer({ args: serverArgs })
  const others = await Promise.all(
    Array.from({ length: replicas }, () =>
      startRedisServer({ args: [...serverArgs, '--replicaof', primary.host, String(primary.port)] })
    )
  )
  const servers = [primary, ...others]
  const folder = await createTemporaryFolder('sentinel')
  const sentinels: { host: string; port: number; process: GuardedProcess }[] = []
  for (let index = 0; index < SENTINELS; index++) {
    const port = await freePort()
    const file = join(folder.path, `sentinel-${index}.conf`)
    await writeFile(file, sentinelConf(port, index, folder.path, primary.port, downAfterMs))
    const process = await spawnGuarded('redis-server', [file, '--sentinel'], {
      endSignal: 'KILL',
      cwd: folder.path
    })
    sentinels.push({ host: '127.0.0.1', port, process })
  }
  const stop = async (): Promise<void> => {
    for (const { process } of sentinels) await process.end()
    await Promise.all(servers.map((server) => server.stop()))
    await folder.remove()
  }
  const ask = (...command: string[]): Promise<unknown> => askSentinel(sentinels[0]!.port, command)
  const trio: SentinelTrio = {
    servers,
    sentinels: sentinels.map(({ host, port }) => ({ host, port })),
    masterName: MASTER,
    primary: async () => {
      const [, port] = (await ask('get-master-addr-by-name', MASTER)) as [string, string]
      return servers.find((server) => server.port === Number(port))!
    },
    replaced: async (old) => {
      await until(
        'another is the primary',
        async () => (await trio.primary()) !== old,
        SETTLED_WITHIN_MS
      ).catch(async (error: Error) => {
        throw new Error(`${error.message}\n${await lastWords(folder.path, SENTINELS)}`, { cause: error })
      })
    },
    failOver: async () => {
      await trio.settled()
      await until(
        'a replica can be promoted',
        () =>
          ask('failover', MASTER).then(
            () => true,
            (error: Error) => {
              // It promotes none whose last answer it had some seconds ago, as when it has just connected anew.
              if (error.message.startsWith('NOGOODSLAVE')) return false
              throw error
            }
          ),
        SETTLED_WITHIN_MS
      )
    },
    settled: async (inStep = 1) => {
      let views: readonly string[] = []
      let info = ''
      await until(
        'the Sentinels agree on a primary that has its replicas',
        async () => {
          views = await Promise.all(sentinels.map(({ port }) => viewOf(port)))
          if (new Set(views).size > 1 || views[0]!.includes('failover_in_progress')) return false
          info = await replicationOf(await trio.primary())
          return info.includes('role:master') && (info.match(/state=online/g)?.length ?? 0) >= inStep
        },
        SETTLED_WITHIN_MS
      ).catch((error: Error) => {
        throw new Error([error.message, ...views, info].join('\n'))
      })
    },
    stop,
    [Symbol.asyncDispose]: stop
  }
  try {
    await until(
      'every Sentinel knows the replicas and the other Sentinels',
      async () => {
        // One that does not listen yet has no answer yet.
        const all = await Promise.all(
          sentinels.map(({ port }) => askSentinel(port, ['master', MASTER]).catch(() => []))
        )
        return all.every((reply) => {
          const fields = (reply as string[]).join(' ')
          return (
            fields.includes(`num-slaves ${replicas}`) &&
            fields.includes(`num-other-sentinels ${SENTINELS - 1}`)
          )
        })
      },
      30_000
    )
    return trio
  } catch (error) {
    await stop()
    throw error
  }
}

function sentinelConf(
  port: number,
  index: number,
  folder: string,
  primaryPort: number,
  downAfterMs: number
): string {
  return [
    `port ${port}`,
    'bind 127.0.0.1',
    `dir ${folder}`,
    `logfile ${sentinelLog(folder, index)}`,
    `sentinel monitor ${MASTER} 127.0.0.1 ${primaryPort} 2`,
    `sentinel down-after-milliseconds ${MASTER} ${downAfterMs}`,
    `sentinel failover-timeout ${MASTER} 5000`,
    `sentinel parallel-syncs ${MASTER} 1`,
    ''
  ].join('\n')
}

/** Whom it calls the primary, and what it thinks of that one. */
async function viewOf(port: number): Promise<string> {
  const fields = (await askSentinel(port, ['master', MASTER])) as string[]
  const field = (name: string): string => `${name} ${fields[fields.indexOf(name) + 1]}`
  return [field('port'), field('flags')].join(', ')
}

async function askSentinel(port: number, command: readonly string[]): Promise<unknown> {
  const client = new Redis({
    port,
    host: '127.0.0.1',
    lazyConnect: true,
    enableReadyCheck: false,
    retryStrategy: () => null
  })
  client.on('error', () => undefined)
  try {
    await client.connect()
    return await client.call('SENTINEL', ...command)
  } finally {
    client.disconnect()
  }
}
