import { isNotReady, type Operator, type RedisNode } from '../../redis/operator.js'
import { judgeAll, type Check } from './check.js'
import { CLIENT_CHECKS } from './checks/clients.js'
import { CLUSTER_CHECKS } from './checks/cluster.js'
import { MEMORY_CHECKS } from './checks/memory.js'
import { PERSISTENCE_CHECKS } from './checks/persistence.js'
import { REPLICATION_CHECKS } from './checks/replication.js'
import { SECURITY_CHECKS } from './checks/security.js'
import { SERVER_CHECKS } from './checks/server.js'
import { fail, shell, type Finding, type Severity } from './finding.js'
import { attempt, gatherFacts, type GatherOptions } from './gather.js'

/** Every question, in the order in which the answers are read. */
export const CHECKS: readonly Check[] = [
  ...MEMORY_CHECKS,
  ...PERSISTENCE_CHECKS,
  ...REPLICATION_CHECKS,
  ...SERVER_CHECKS,
  ...CLIENT_CHECKS,
  ...SECURITY_CHECKS,
  ...CLUSTER_CHECKS
]

export interface Report {
  readonly kind: Operator['kind']
  readonly nodes: readonly { readonly node: string; readonly findings: readonly Finding[] }[]
  readonly counts: Readonly<Record<Severity, number>>
}

/** Reads a live Redis, every primary of a Cluster, and says what would hurt, why, and what mends it. Changes nothing. */
export async function examine(operator: Operator, options: GatherOptions = {}): Promise<Report> {
  const nodes: { node: string; findings: Finding[] }[] = []
  for (const node of operator.primaries()) {
    const silence = await attempt(() => mustAnswer(node))
    nodes.push({
      node: node.name,
      findings: silence.known
        ? judgeAll(CHECKS, await gatherFacts(operator, node, options))
        : [unreachable(node.name, silence.because)]
    })
  }
  const counts = { pass: 0, warn: 0, fail: 0, unknown: 0 }
  for (const { findings } of nodes) for (const { severity } of findings) counts[severity]++
  return { kind: operator.kind, nodes, counts }
}

async function mustAnswer(node: RedisNode): Promise<void> {
  await node.call('PING').catch((error: unknown) => {
    if (!isNotReady(error)) throw error
  })
}

/** Of a Cluster only: who is alone and does not answer was not connected to in the first place. */
function unreachable(node: string, because: string): Finding {
  return {
    id: 'reachable',
    title: 'A node that does not answer',
    ...fail(
      because,
      'Its share of the keys is loaded from the database each time, until it is back or a replica has taken over.',
      shell(`redis-cli --cluster check ${node}`)
    )
  }
}
