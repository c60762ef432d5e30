import { Redis } from 'ioredis'
import type { RedisServer } from './redis-server.js'
import { until } from './until.js'

const PATIENCE_MS = 60_000

/** One question over a connection of its own, which fails rather than waits. */
export async function ask<T>(server: RedisServer, question: (redis: Redis) => Promise<T>): Promise<T> {
  const redis = new Redis(server.port, { maxRetriesPerRequest: 0, retryStrategy: () => null })
  redis.on('error', () => undefined)
  return question(redis).finally(() => redis.disconnect())
}

/** Nothing while it starts, or while a Sentinel disconnects everybody because its role changes. */
export function replicationOf(server: RedisServer): Promise<string> {
  return ask(server, (redis) => redis.info('replication')).catch(() => '')
}

/** From now on the replica hears nothing, and can be promoted all the same: its primary does not let it in any more. */
export async function cutOff(replica: RedisServer): Promise<void> {
  await ask(replica, async (redis) => {
    await redis.config('SET', 'masterauth', 'a password that nobody has')
    await redis.call('CLIENT', 'KILL', 'TYPE', 'master')
  })
  await until(
    'it is cut off',
    async () => (await replicationOf(replica)).includes('master_link_status:down'),
    PATIENCE_MS
  )
}

export async function letIn(replica: RedisServer): Promise<void> {
  const set = (redis: Redis): Promise<unknown> => redis.config('SET', 'masterauth', '')
  await until(
    'it asks to be let in',
    () =>
      ask(replica, set).then(
        () => true,
        () => false
      ),
    PATIENCE_MS
  )
}

/** Until replicas have all that their primaries have. Nobody may write meanwhile. */
export async function untilInStep(
  primaries: readonly RedisServer[],
  replicas: readonly RedisServer[]
): Promise<void> {
  const fieldOf = (info: string, name: string): string | undefined =>
    new RegExp(`^${name}:(\\d+)`, 'm').exec(info)?.[1]
  let seen: readonly string[] = []
  await until(
    'the replicas have it all',
    async () => {
      const [ofPrimaries, ofReplicas] = await Promise.all([
        Promise.all(primaries.map(replicationOf)),
        Promise.all(replicas.map(replicationOf))
      ])
      seen = [...ofPrimaries, ...ofReplicas]
      const reached = new Map(
        ofPrimaries.map((info, index) => [primaries[index]!.port, fieldOf(info, 'master_repl_offset')])
      )
      return ofReplicas.every(
        (info) =>
          fieldOf(info, 'slave_repl_offset') === reached.get(Number(fieldOf(info, 'master_port'))) &&
          info.includes('master_link_status:up')
      )
    },
    PATIENCE_MS
  ).catch((error: Error) => {
    throw new Error([error.message, ...seen].join('\n'))
  })
}
