import type { RedisNode } from '../../redis/operator.js'
import { numberIn, parseInfo } from '../info.js'
import type { ClusterFacts } from './facts.js'

/** The Cluster as this node sees it; undefined when it is none. */
export async function gatherCluster(node: RedisNode, isCluster: boolean): Promise<ClusterFacts | undefined> {
  if (!isCluster) return undefined
  const info = parseInfo(String(await node.call('CLUSTER', 'INFO')))
  const nodes = parseNodes(String(await node.call('CLUSTER', 'NODES')))
  const isHealthy = ({ flags }: ClusterNode): boolean =>
    !flags.some((flag) => /^(fail\??|noaddr|handshake)$/.test(flag))
  const replicated = new Set(nodes.filter(isHealthy).map(({ primary }) => primary))
  return {
    state: info.get('cluster_state') ?? 'unknown',
    slotsAssigned: numberIn(info, 'cluster_slots_assigned'),
    slotsFailing: numberIn(info, 'cluster_slots_pfail') + numberIn(info, 'cluster_slots_fail'),
    failingNodes: nodes.filter((one) => !isHealthy(one)).map(({ address }) => address),
    primariesWithoutReplica: nodes
      .filter((one) => isHealthy(one) && one.hasSlots && one.primary === undefined && !replicated.has(one.id))
      .map(({ address }) => address)
  }
}

interface ClusterNode {
  readonly id: string
  readonly address: string
  readonly flags: readonly string[]
  readonly primary: string | undefined
  readonly hasSlots: boolean
}

function parseNodes(text: string): ClusterNode[] {
  return text
    .trim()
    .split('\n')
    .map((line) => {
      const [id = '', address = '', flags = '', primary = '-', , , , , ...slots] = line.split(' ')
      return {
        id,
        address: address.replace(/@.*$/, ''),
        flags: flags.split(','),
        primary: primary === '-' ? undefined : primary,
        hasSlots: slots.length > 0
      }
    })
}
