import { numberIn, rowIn } from '../../info.js'
import { plural } from '../../units.js'
import { both, check, type Check } from '../check.js'
import { command, conf, deployment, fail, pass, warn } from '../finding.js'

const LAG_SECONDS = 10

const role = check(
  'role',
  'Primary or replica',
  ({ info }) => info,
  (info) => {
    if (info.get('loading') === '1') {
      return fail(
        'it is loading its data from disk',
        'Until it is done every command is refused.',
        deployment('wait: INFO persistence tells loading_eta_seconds')
      )
    }
    if (info.get('role') !== 'slave') return pass('a primary')
    const primary = `${info.get('master_host')}:${info.get('master_port')}`
    if (info.get('master_link_status') !== 'up') {
      return fail(
        `a replica that has lost its primary ${primary}`,
        'It serves old data, or refuses to serve; nothing can be stored here.',
        command('INFO replication # on the primary: is the replica known, does it accept its password')
      )
    }
    return fail(
      `a replica of ${primary}`,
      'It refuses writes, so nothing would be cached; and what it serves may be older than an invalidation.',
      deployment(
        `point the cache at the primary: redis://${primary}, or at the Sentinels, or at the service's primary endpoint`
      )
    )
  },
  '+info'
)

const replicas = check(
  'replicas',
  'Replicas',
  ({ info }) => info,
  (info, { cluster }) => {
    // A Cluster has this question of its own, for all its nodes.
    if (info.get('role') === 'slave' || (cluster.known && cluster.value !== undefined)) return undefined
    const count = numberIn(info, 'connected_slaves')
    if (count === 0) {
      return warn(
        'none',
        'When this machine is lost there is nothing to fail over to: all reads go to the database until another Redis is up and warm.',
        conf(
          'replicaof <this host> <this port> # in the redis.conf of a second server, with Sentinel to promote it'
        )
      )
    }
    const rows = Array.from({ length: count }, (_, index) => rowIn(info, `slave${index}`))
    const slow = rows.filter(({ state, lag }) => state !== 'online' || Number(lag) > LAG_SECONDS)
    if (slow.length === 0) return pass(`${plural(count, 'replica')}, all in step`)
    return warn(
      `${plural(slow.length, 'replica')} of ${count} behind: ${slow.map(({ ip, port, state, lag }) => `${ip}:${port} (${state}, ${lag} s)`).join(', ')}`,
      'A failover to one of them undoes what it has not received: invalidations as well as values.',
      conf('repl-backlog-size 64mb'),
      conf('client-output-buffer-limit replica 512mb 128mb 60')
    )
  },
  '+info'
)

const minReplicas = check(
  'min-replicas',
  'A primary that is cut off stops',
  ({ info, config }) => both(info, config),
  ([info, config], { cluster }) => {
    const count = numberIn(info, 'connected_slaves')
    const wanted = Number(config.get('min-replicas-to-write') ?? 0)
    if (info.get('role') === 'slave') return undefined
    if (wanted > 0) {
      const good = info.has('min_slaves_good_slaves') ? numberIn(info, 'min_slaves_good_slaves') : count
      if (good >= wanted) return pass(`min-replicas-to-write is ${wanted}, ${good} in step`)
      return fail(
        `min-replicas-to-write is ${wanted}, and ${plural(good, 'replica is', 'replicas are')} in step`,
        'Every write is refused (NOREPLICAS): nothing can be cached.',
        command(`CONFIG SET min-replicas-to-write ${good}`),
        deployment('bring the missing replicas back')
      )
    }
    if (count === 0) return undefined
    if (cluster.known && cluster.value !== undefined) {
      return pass(
        'a primary of a Cluster that has lost sight of the majority stops after cluster-node-timeout'
      )
    }
    return warn(
      `min-replicas-to-write is 0, with ${plural(count, 'replica')}`,
      'A primary that the network cuts off goes on acknowledging invalidations and writes to the clients on its side; after the failover they never happened.',
      command('CONFIG SET min-replicas-to-write 1'),
      command('CONFIG SET min-replicas-max-lag 10'),
      conf('min-replicas-to-write 1'),
      conf('min-replicas-max-lag 10')
    )
  },
  '+info +config|get'
)

export const REPLICATION_CHECKS: readonly Check[] = [role, replicas, minReplicas]
