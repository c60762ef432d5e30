import { both, check, type Check } from '../check.js'
import { command, conf, deployment, fail, pass, shell, warn } from '../finding.js'

const SLOTS = 16_384

const health = check(
  'cluster-health',
  'Cluster',
  ({ cluster }) => cluster,
  (cluster, { node }) => {
    if (cluster === undefined) return undefined
    const { state, slotsAssigned, slotsFailing, failingNodes } = cluster
    const missing = SLOTS - slotsAssigned
    const problems = [
      ...(missing > 0 ? [`${missing} slots belong to nobody`] : []),
      ...(slotsFailing > 0 ? [`${slotsFailing} slots are on nodes that do not answer`] : []),
      ...(failingNodes.length > 0 ? [`not answering: ${failingNodes.join(', ')}`] : [])
    ]
    const fix = [
      shell(`redis-cli --cluster check ${node}`),
      ...(missing > 0 ? [shell(`redis-cli --cluster fix ${node}`)] : []),
      ...(failingNodes.length > 0
        ? [
            deployment(
              `bring back ${failingNodes.join(', ')}, or take them out: CLUSTER FORGET <id> on every other node`
            )
          ]
        : [])
    ]
    if (state !== 'ok' || missing > 0) {
      return fail(
        [`cluster_state is ${state}`, ...problems].join('; '),
        'Keys of those slots, or all keys, are refused (CLUSTERDOWN): they are loaded from the database each time.',
        ...fix
      )
    }
    if (problems.length > 0)
      return warn(
        problems.join('; '),
        'What has failed once is one step nearer to failing altogether.',
        ...fix
      )
    return pass('state ok, all slots served')
  },
  '+cluster|info +cluster|nodes'
)

const replicas = check(
  'cluster-replicas',
  'Replicas of each primary',
  ({ cluster }) => cluster,
  (cluster) => {
    if (cluster === undefined) return undefined
    const alone = cluster.primariesWithoutReplica
    if (alone.length === 0) return pass('every primary has one')
    return warn(
      `none for ${alone.join(', ')}`,
      'When that node is lost its share of the keys has nowhere to go.',
      shell(`redis-cli --cluster add-node <new host:port> ${alone[0]} --cluster-slave`)
    )
  },
  '+cluster|nodes'
)

const coverage = check(
  'cluster-coverage',
  'One lost shard',
  ({ cluster, config }) => both(cluster, config),
  ([cluster, config]) => {
    if (cluster === undefined) return undefined
    if (config.get('cluster-require-full-coverage') !== 'yes') return pass('the others go on')
    return warn(
      'cluster-require-full-coverage is yes',
      'When one shard is lost all of them refuse to serve. A cache is better off with most of its keys than with none.',
      command('CONFIG SET cluster-require-full-coverage no'),
      conf('cluster-require-full-coverage no')
    )
  },
  '+config|get'
)

export const CLUSTER_CHECKS: readonly Check[] = [health, replicas, coverage]
