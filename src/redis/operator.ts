import { Cluster, Redis, type RedisOptions } from 'ioredis'
import { RedisUnavailableError } from '../errors.js'
import {
  blaming,
  connectionNamed,
  isReply,
  nodeOfSlot,
  nodeOver,
  PLAIN_REPLIES,
  primariesOf,
  type Argument,
  type RedisNode
} from './operator-nodes.js'
import { servesStrangers } from './strangers.js'

export type { Argument, RedisNode } from './operator-nodes.js'

/** Where an operator's Redis is, and as whom to speak to it. */
export interface OperatorTarget {
  /** `redis://`, `rediss://` or `unix://`, with or without credentials; of any node, for a Cluster. */
  readonly url: string
  /** Wins over what the URL says. */
  readonly username?: string | undefined
  readonly password?: string | undefined
  /** PEM texts; with them the connection is encrypted whatever the URL says. */
  readonly tls?: { readonly ca?: string; readonly cert?: string; readonly key?: string } | undefined
  /** Asked for the primary in place of the URL, which then only brings credentials and the number of the database. */
  readonly sentinels?: readonly { readonly host: string; readonly port: number }[] | undefined
  readonly masterName?: string | undefined
  /** What the programs' driver puts before every key. Default ''. */
  readonly keyPrefix?: string | undefined
  /** The deadline of connecting, and of each command. */
  readonly timeoutMs: number
}

export type KeyCommand = (key: string) => readonly [command: string, ...args: Argument[]]

export interface OperatorAddress {
  readonly host: string
  readonly port: number
  readonly tls: boolean
  readonly database: number
  readonly hasCredentials: boolean
}

/** Connections of an operator's tool: plain, impatient, and never the ones that serve a cache. */
export interface Operator {
  readonly kind: 'single' | 'sentinel' | 'cluster'
  readonly address: OperatorAddress
  /** Before every key as it stands in Redis, and in no key that is given or told here. */
  readonly keyPrefix: string
  /** For a cache that works over it, which does not close it. */
  driver(): Redis | Cluster
  /** Every server that holds keys of its own: the one there is, or the primaries of a Cluster, those that are lost as well. */
  primaries(): readonly RedisNode[]
  /** The server that has this key. */
  nodeOf(key: string): Promise<RedisNode>
  /**
   * A command about this key, where it is by now: on a Cluster it is followed while its slot is moved.
   *
   * @param command of the key as it stands in Redis
   */
  callFor(key: string, command: KeyCommand): Promise<unknown>
  /** The same, and the reply as bytes. */
  callBufferFor(key: string, command: KeyCommand): Promise<unknown>
  /** Whether somebody who brings no credentials is served there. */
  servesStrangers(node: RedisNode): Promise<boolean>
  /** Another connection to the same place, to be measured or spoilt. */
  another(): Promise<RedisNode & { close(): void }>
  close(): void
}

/** Connects, and finds out by itself whether this is a Cluster. Rejects with `RedisUnavailableError`. */
export async function openOperator(target: OperatorTarget): Promise<Operator> {
  const opened: { disconnect(): void }[] = []
  try {
    mustNameDatabase(target.url)
    const options = connectionOptions(target)
    const first = await connected(target, options, opened)
    const isCluster = await isClusterNode(first)
    const cluster = isCluster ? await connectedCluster(first, options, opened) : undefined
    const alone = nodeOver(first)
    const { keyPrefix = '' } = target
    return {
      keyPrefix,
      kind: isCluster ? 'cluster' : target.sentinels === undefined ? 'single' : 'sentinel',
      address: addressOf(first, options),
      driver: () => {
        if (keyPrefix === '') return cluster ?? first
        const driver = cluster?.duplicate([], { keyPrefix }) ?? first.duplicate({ keyPrefix })
        driver.on('error', ignore)
        opened.push(driver)
        return driver
      },
      primaries: () => (cluster === undefined ? [alone] : primariesOf(cluster, alone)),
      nodeOf: async (key) => (cluster === undefined ? alone : nodeOfSlot(cluster, keyPrefix + key)),
      callFor: (key, command) => {
        const [name, ...args] = command(keyPrefix + key)
        if (cluster === undefined) return first.call(name, ...args)
        return cluster.call(name, ...args).catch(blaming(cluster, keyPrefix + key))
      },
      callBufferFor: (key, command) => {
        const [name, ...args] = command(keyPrefix + key)
        if (cluster === undefined) return first.callBuffer(name, ...args)
        return cluster.callBuffer(name, ...args).catch(blaming(cluster, keyPrefix + key))
      },
      servesStrangers: (node) => servesStrangers((cluster && connectionNamed(cluster, node.name)) ?? first),
      another: async () => {
        const client = first.duplicate()
        client.on('error', ignore)
        opened.push(client)
        await client.connect()
        return { ...nodeOver(client), close: () => client.disconnect() }
      },
      close: () => {
        for (const client of opened) client.disconnect()
      }
    }
  } catch (error) {
    for (const client of opened) client.disconnect()
    throw new RedisUnavailableError(`answer at ${placeOf(target)}`, { cause: error })
  }
}

/** Of a URL with anything else behind the host the driver goes to the first database, and its own error ends the process. */
function mustNameDatabase(url: string): void {
  const path = /^rediss?:\/\//.test(url) ? new URL(url).pathname : ''
  if (!/^\/?\d*$/.test(path)) throw new Error('what stands behind the host is the number of a database')
}

function connectionOptions(target: OperatorTarget): RedisOptions {
  const { url, sentinels, masterName, timeoutMs } = target
  const tls = target.tls ?? (url.startsWith('rediss://') ? {} : undefined)
  return {
    lazyConnect: true,
    connectTimeout: timeoutMs,
    commandTimeout: timeoutMs,
    // A server that is loading its data, or denies INFO, is what a doctor wants to see.
    enableReadyCheck: false,
    disableClientInfo: true,
    enableOfflineQueue: true,
    maxRetriesPerRequest: 0,
    retryStrategy: () => null,
    ...(tls === undefined ? {} : { tls }),
    ...(sentinels === undefined
      ? {}
      : {
          sentinels: [...sentinels],
          name: masterName ?? 'mymaster',
          sentinelRetryStrategy: () => null,
          // Without it one that is silent would be waited for, for ever, in place of the next.
          sentinelCommandTimeout: timeoutMs,
          // The driver goes by this alone: without it what the URL wants encrypted, passwords too, goes in the clear.
          ...(tls === undefined ? {} : { sentinelTLS: tls, enableTLSForSentinelMode: true })
        })
  }
}

async function connected(
  target: OperatorTarget,
  options: RedisOptions,
  opened: { disconnect(): void }[]
): Promise<Redis> {
  const redis = new Redis(target.url, { ...options, ...PLAIN_REPLIES })
  let reason: unknown
  redis.on('error', (error) => (reason = error))
  opened.push(redis)
  // Of two that name the same, the driver takes the URL's.
  if (target.username !== undefined) redis.options.username = target.username
  if (target.password !== undefined) redis.options.password = target.password
  // That the connection is closed is what the call has to say of it; the event says why.
  await redis.connect().catch((error: unknown) => {
    throw reason ?? error
  })
  await redis.call('PING').catch((error: unknown) => {
    if (!isNotReady(error)) throw error
  })
  await selected(redis)
  return redis
}

/** A driver that is refused the database goes on in the first one, where somebody else's keys are. */
async function selected(redis: Redis): Promise<void> {
  const { db = 0 } = redis.options
  if (db !== 0) await redis.call('SELECT', db)
}

/** It refuses to serve for now, and tells of itself all the same. */
export function isNotReady(error: unknown): boolean {
  return error instanceof Error && /^(LOADING|MASTERDOWN) /.test(error.message)
}

async function isClusterNode(redis: Redis): Promise<boolean> {
  try {
    await redis.call('CLUSTER', ['INFO'])
    return true
  } catch (error) {
    // Silence is no "no": one node of a Cluster would pass for all there is.
    if (!isReply(error)) throw error
    if (!error.message.startsWith('NOPERM')) return false
  }
  try {
    return /^cluster_enabled:1/m.test(String(await redis.call('INFO', ['cluster'])))
  } catch (error) {
    if (!isReply(error)) throw error
    return false
  }
}

async function connectedCluster(
  first: Redis,
  options: RedisOptions,
  opened: { disconnect(): void }[]
): Promise<Cluster> {
  const { host, port, path, username, password, tls } = first.options
  const start = { host: host ?? '127.0.0.1', port: path == null ? (port ?? 6379) : await portOf(first) }
  const cluster = new Cluster([start], {
    lazyConnect: true,
    // A Cluster with a lost slot is what a doctor wants to see.
    enableReadyCheck: false,
    clusterRetryStrategy: () => null,
    slotsRefreshTimeout: options.connectTimeout ?? 3_000,
    redisOptions: {
      ...options,
      ...PLAIN_REPLIES,
      lazyConnect: false,
      ...(username == null ? {} : { username }),
      ...(password == null ? {} : { password }),
      ...(tls === undefined ? {} : { tls })
    },
    // The names in a certificate are those of the nodes, so they are kept as the nodes announce them.
    dnsLookup: (address, callback) => callback(null, address)
  })
  cluster.on('error', ignore)
  opened.push(cluster)
  await cluster.connect()
  return cluster
}

/** Of a node that was reached by its socket: the nodes of a Cluster know each other by addresses. */
async function portOf(node: Redis): Promise<number> {
  const port = /^tcp_port:(\d+)/m.exec(String(await node.call('INFO', ['server'])))?.[1]
  if (port !== undefined && port !== '0') return Number(port)
  throw new Error('it does not say at which port; give the URL of a node of the Cluster')
}

function addressOf(first: Redis, options: RedisOptions): OperatorAddress {
  const { host, path, port, tls, db, username, password } = first.options
  // With Sentinels the address is theirs to tell, and the stream knows what they told.
  const peer = (first as unknown as { stream?: { remoteAddress?: string; remotePort?: number } }).stream
  const isBySentinel = options.sentinels !== undefined
  return {
    host: path ?? (isBySentinel ? peer?.remoteAddress : host) ?? '127.0.0.1',
    port: (isBySentinel ? peer?.remotePort : port) ?? 6379,
    tls: tls !== undefined,
    database: db ?? 0,
    hasCredentials: username != null || password != null
  }
}

function placeOf({ url, sentinels }: OperatorTarget): string {
  // To the last @, whatever stands before it: a space in a password too.
  if (sentinels === undefined) return url.replace(/\/\/([^]*)@/, withoutPassword)
  return `what the Sentinels ${sentinels.map(({ host, port }) => `${host}:${port}`).join(', ')} name`
}

/** The URL as it may be printed, also inside a message: a name stays, a password never does, whatever is in it. */
export function redactedUrl(url: string): string {
  return url.replaceAll(/\/\/(\S*)@/g, withoutPassword).replaceAll(/([?&]\w*password=)[^\s&]*/gi, '$1***')
}

function withoutPassword(_all: string, credentials: string): string {
  return `//${credentials.split(':')[0]}:***@`
}

// A failed connection is reported by the call that needed it.
const ignore = (): undefined => undefined
