import type { RedisNode } from '../../redis/operator.js'
import { pairsOf } from '../info.js'
import type { Account } from './facts.js'

/** What nobody who only caches needs, and what would hurt most. */
const DANGEROUS = [
  ['FLUSHALL'],
  ['FLUSHDB'],
  ['KEYS', '*'],
  ['CONFIG', 'SET', 'maxmemory', '1'],
  ['SHUTDOWN'],
  ['DEBUG', 'SLEEP', '0'],
  ['REPLICAOF', 'NO', 'ONE'],
  ['ACL', 'SETUSER', 'x']
] as const

/** As whom we are known, and which dangerous commands that user may run. */
export async function gatherAccount(node: RedisNode): Promise<Account> {
  const name = String(await node.call('ACL', 'WHOAMI'))
  return { name, dangerous: await dangerousFor(node, name) }
}

async function dangerousFor(node: RedisNode, name: string): Promise<readonly string[] | undefined> {
  try {
    return await byDryRun(node, name)
  } catch {
    // Before Redis 7 there was no ACL DRYRUN; "may do everything" can be read from the rules as well.
  }
  try {
    const rules = pairsOf(await node.call('ACL', 'GETUSER', name)).get('commands') ?? ''
    return rules === '+@all' ? DANGEROUS.map(([command]) => command) : undefined
  } catch {
    return undefined
  }
}

async function byDryRun(node: RedisNode, name: string): Promise<readonly string[]> {
  const allowed: string[] = []
  for (const [command, ...args] of DANGEROUS) {
    // A refusal is a reply; what rejects is ACL DRYRUN itself.
    const reply = await node.call('ACL', 'DRYRUN', name, command, ...args).catch(unlessRemoved)
    if (reply === 'OK') allowed.push(command)
  }
  return allowed
}

/** By `rename-command`, or by a service: nobody may run what is not there. */
function unlessRemoved(error: unknown): undefined {
  if (!(error instanceof Error && /^ERR Command .* not found/.test(error.message))) throw error
}
