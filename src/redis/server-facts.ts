import type { RedisLink } from './link.js'
import type { RedisClient } from './client.js'

/** What a server says about how it keeps data. Undefined where it does not say. */
export interface ServerFacts {
  readonly version: string
  readonly evictionPolicy: string | undefined
  readonly appendOnly: boolean
  readonly appendFsync: string | undefined
  readonly replicas: number
}

/** Reads them with INFO, which managed services allow, and one setting with CONFIG, which some do not. */
export async function readServerFacts(link: RedisLink): Promise<ServerFacts> {
  const info = await link.call('tell about itself', async (client) => {
    const sections = ['server', 'memory', 'persistence', 'replication']
    return (await Promise.all(sections.map((section) => client.call('INFO', section)))).join('\n')
  })
  const field = (name: string): string | undefined => new RegExp(`^${name}:(.*?)\\r?$`, 'm').exec(info)?.[1]
  return {
    version: field('redis_version') ?? '0',
    evictionPolicy: field('maxmemory_policy'),
    appendOnly: field('aof_enabled') === '1',
    appendFsync: await link.call('tell a setting', (client) => setting(client, 'appendfsync')),
    replicas: Number(field('connected_slaves') ?? 0)
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
