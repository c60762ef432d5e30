import { Cluster, Redis, type RedisOptions } from 'ioredis'
import { RedisUnavailableError } from '../errors.js'
import { keySlot } from './key-slot.js'

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
  /** The deadline of connecting, and of each command. */
  readonly timeoutMs: number
}

export type Argument = string | number | Buffer

/** One server, spoken to directly. */
export interface RedisNode {
  /** `host:port`, or the path of the socket. */
  readonly name: string
  call(command: string, ...args: readonly Argument[]): Promise<unknown>
  /** Replies as bytes. */
  callBuffer(command: string, ...args: readonly Argument[]): Promise<unknown>
  /** Several commands in one round trip; a command that failed gives its error in its place. */
  pipeline(
    commands: readonly (readonly [string, ...Argument[]])[],
    replies?: 'text' | 'bytes'
  ): Promise<unknown[]>
}

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
  /** The connection itself, for a cache that works over it; who takes it does not close it. */
  readonly driver: Redis | Cluster
  /** Every server that holds keys of its own: the one there is, or the primaries of a Cluster, those that are lost as well. */
  primaries(): readonly RedisNode[]
  /** The server that has this key. */
  nodeOf(key: string): Promise<RedisNode>
  /** Whether somebody who brings no credentials is served. */
  servesStrangers(): Promise<boolean>
  /** Another connection to the same place, to be measured or spoilt. */
  another(): Promise<RedisNode & { close(): void }>
  close(): void
}

/** Connects, and finds out by itself whether this is a Cluster. Rejects with `RedisUnavailableError`. */
export async function openOperator(target: OperatorTarget): Promise<Operator> {
  const opened: { disconnect(): void }[] = []
  try {
    const options = connectionOptions(target)
    const first = await connected(target, options, opened)
    const isCluster = await isClusterNode(first)
    const cluster = isCluster ? await connectedCluster(first, options, opened) : undefined
    const alone = nodeOver(first)
    return {
      kind: isCluster ? 'cluster' : target.sentinels === undefined ? 'single' : 'sentinel',
      address: addressOf(first, options),
      driver: cluster ?? first,
      primaries: () => (cluster === undefined ? [alone] : primariesOf(cluster, alone)),
      nodeOf: async (key) => (cluster === undefined ? alone : nodeOfSlot(cluster, key)),
      servesStrangers: () => servesStrangers(first),
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

/** Replies look the same under ioredis 5 and 6. */
const PLAIN_REPLIES = { protocol: 2, replyMapping: 'legacy' } as const

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
  redis.on('error', ignore)
  opened.push(redis)
  // Of two that name the same, the driver takes the URL's.
  if (target.username !== undefined) redis.options.username = target.username
  if (target.password !== undefined) redis.options.password = target.password
  await redis.connect()
  await redis.call('PING').catch((error: unknown) => {
    if (!isNotReady(error)) throw error
  })
  return redis
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

function isReply(error: unknown): error is Error {
  return error instanceof Error && error.name === 'ReplyError'
}

async function connectedCluster(
  first: Redis,
  options: RedisOptions,
  opened: { disconnect(): void }[]
): Promise<Cluster> {
  const { host, port, username, password, tls } = first.options
  const cluster = new Cluster([{ host: host ?? '127.0.0.1', port: port ?? 6379 }], {
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

function nodeOfSlot(cluster: Cluster, key: string): RedisNode {
  const slot = keySlot(key)
  const owner = cluster.slots[slot]?.[0]
  if (owner === undefined) throw new RedisUnavailableError(`say which node has slot ${slot}`)
  return nodeNamed(cluster, owner)
}

/** By the slots that the nodes tell: a node that cannot be reached is in no list of connections, and has keys all the same. */
function primariesOf(cluster: Cluster, first: RedisNode): RedisNode[] {
  const owners = new Set(cluster.slots.flatMap(([owner]) => owner ?? []))
  // Slots that nobody has yet are for the doctor to see.
  return owners.size === 0 ? [first] : [...owners].map((owner) => nodeNamed(cluster, owner))
}

function nodeNamed(cluster: Cluster, name: string): RedisNode {
  const client = cluster.nodes('master').find((one) => nameOf(one) === name)
  if (client === undefined) return lostNode(name)
  const node = nodeOver(client)
  // Which of them it was that said nothing.
  const named = (error: unknown): never => {
    throw isReply(error) ? error : new RedisUnavailableError(`answer at ${name}`, { cause: error })
  }
  return {
    ...node,
    call: (command, ...args) => node.call(command, ...args).catch(named),
    callBuffer: (command, ...args) => node.callBuffer(command, ...args).catch(named)
  }
}

function lostNode(name: string): RedisNode {
  const refuse = async (): Promise<never> => {
    throw new RedisUnavailableError(`answer at ${name}`)
  }
  return { name, call: refuse, callBuffer: refuse, pipeline: refuse }
}

function nodeOver(client: Redis): RedisNode {
  return {
    name: nameOf(client),
    call: (command, ...args) => client.call(command, ...args),
    callBuffer: (command, ...args) => client.callBuffer(command, ...args),
    pipeline: async (commands, form = 'text') => {
      if (commands.length === 0) return []
      const call = form === 'text' ? 'call' : 'callBuffer'
      const replies = await client
        .pipeline(commands.map(([command, ...args]) => [call, command, ...args]))
        .exec()
      return (replies ?? []).map(([error, reply]) => error ?? reply)
    }
  }
}

function nameOf({ options }: Redis): string {
  return options.path ?? `${options.host ?? '127.0.0.1'}:${options.port ?? 6379}`
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

async function servesStrangers(first: Redis): Promise<boolean> {
  const { username: _user, password: _password, ...options } = first.options
  const stranger = new Redis({ ...(options as RedisOptions), ...PLAIN_REPLIES, lazyConnect: true })
  stranger.on('error', ignore)
  try {
    await stranger.connect()
    return (await stranger.call('PING')) === 'PONG'
  } catch (error) {
    if (isRefusal(error)) return false
    throw error
  } finally {
    stranger.disconnect()
  }
}

function isRefusal(error: unknown): boolean {
  return error instanceof Error && /NOAUTH|NOPERM|WRONGPASS/.test(error.message)
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
