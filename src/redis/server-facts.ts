import type { RedisClient } from './client.js'
import { connectionTo, OwnerChanged } from './cluster-connections.js'
import { troubleOf } from './error-class.js'
import type { RedisLink } from './link.js'

/** As in the configuration's `min-replicas-max-lag`. */
const MOST_LAG_S = 10

/** What a server says about how it keeps data. Undefined where it does not say. */
export interface ServerFacts {
  readonly version: string | undefined
  readonly evictionPolicy: string | undefined
  readonly appendOnly: boolean | undefined
  readonly appendFsync: string | undefined
  /** Those that follow closely, and so may be promoted. */
  readonly replicas: number | undefined
  /** Why it does not take these commands from this user; undefined where it does. */
  readonly refusals: { readonly wait: string | undefined; readonly waitaof: string | undefined }
}

/**
 * Reads them with INFO, WAIT and CONFIG, from the server that has `key`. What a service refuses is not known then, which
 * whoever decides by it takes into account.
 */
export async function readServerFacts(link: RedisLink, key: string): Promise<ServerFacts> {
  const { nodes } = link
  const node = nodes?.nodeOf(key) ?? ''
  const ask = <T>(action: string, send: (client: RedisClient) => Promise<T>): Promise<T> =>
    link.callFor(key, action, async (client) =>
      send(nodes === undefined ? client : await connectionTo(client, nodes, node, key))
    )
  // Asked for by its address a demoted primary tells of itself as well, and nobody would ever say that it is none any more.
  if (nodes !== undefined)
    await link.callFor(key, 'tell who has a key', async (client) => {
      await nodes.lookFor(client, key)
      if (nodes.nodeOf(key) !== node) throw new OwnerChanged(key, node, nodes.nodeOf(key))
    })
  const info = await ask('tell about itself', async (client) => {
    const sections = ['server', 'memory', 'persistence', 'replication']
    const asked = sections.map((section) => unlessRefused(client.call('INFO', section)))
    return (await Promise.all(asked)).filter((text) => typeof text === 'string').join('\n')
  })
  const field = (name: string): string | undefined => new RegExp(`^${name}:(.*?)\\r?$`, 'm').exec(info)?.[1]
  // Both answer at once, because none is waited for.
  const [wait, waitaof] = await ask('tell what it can wait for', (client) =>
    Promise.all([unlessRefused(client.call('WAIT', 0, 1)), unlessRefused(client.call('WAITAOF', 0, 0, 1))])
  )
  const aof = field('aof_enabled')
  return {
    version: field('redis_version'),
    evictionPolicy: field('maxmemory_policy'),
    appendOnly: aof === undefined ? undefined : aof === '1',
    appendFsync: await ask('tell a setting', (client) => setting(client, 'appendfsync')),
    // WAIT tells how many there are to those who may not ask INFO.
    replicas: replicasIn(info) ?? (typeof wait === 'number' ? wait : undefined),
    refusals: {
      wait: wait instanceof Refusal ? wait.message : undefined,
      waitaof: waitaof instanceof Refusal ? waitaof.message : undefined
    }
  }
}

/**
 * Pure: of INFO; undefined where it does not say. One that has said nothing for long may be connected for a minute more,
 * and is not counted; nor is one that is still being filled. But where there is no other, that is the one to wait for.
 */
export function replicasIn(info: string): number | undefined {
  const connected = /^connected_slaves:(\d+)/m.exec(info)?.[1]
  if (connected === undefined) return undefined
  const lines = [...info.matchAll(/^slave\d+:.*\bstate=(\w+).*\blag=(-?\d+)/gm)]
  // Some services give the number alone.
  if (lines.length === 0) return Number(connected)
  return Math.max(1, lines.filter(([, state, lag]) => state === 'online' && Number(lag) <= MOST_LAG_S).length)
}

class Refusal {
  readonly message: string

  constructor(message: string) {
    this.message = message
  }
}

/** The answer, or that the server does not know the command or does not let this user send it. */
async function unlessRefused(asked: Promise<unknown>): Promise<unknown> {
  try {
    return await asked
  } catch (error) {
    const { errorClass, isTotal, message } = troubleOf(error)
    if (errorClass === 'misconfigured' && !isTotal) return new Refusal(message)
    throw error
  }
}

async function setting(client: RedisClient, name: string): Promise<string | undefined> {
  try {
    const pair = (await client.call('CONFIG', 'GET', name)) as string[]
    return pair[1]
  } catch (error) {
    // Many managed services refuse CONFIG: then it is not known, which the decision takes into account.
    if (error instanceof Error && error.name === 'ReplyError') return undefined
    throw error
  }
}
