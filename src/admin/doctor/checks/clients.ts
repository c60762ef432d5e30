import { numberIn } from '../../info.js'
import { bytesText, countText, percentText } from '../../units.js'
import { both, check, type Check } from '../check.js'
import { command, conf, deployment, pass, warn } from '../finding.js'

/** A burst of a hundred thousand changed keys is a few megabytes of news. */
const PUSH_BUFFER_LEAST_BYTES = 8 * 1024 ** 2
const TABLE_NEARLY_FULL = 0.9
const CLIENTS_NEARLY_FULL = 0.8

const tracking = check(
  'tracking',
  'News of changed entries',
  ({ tracking: fact }) => ({ known: true, value: fact }) as const,
  (fact) => {
    if (fact.known) return pass('CLIENT TRACKING works')
    return warn(
      `CLIENT TRACKING is refused: ${fact.because}`,
      'Waiters look again by timer instead of being told, which costs them tens of milliseconds. Tiers in memory hear by a channel of what Corral changes, and of nothing else, such as a DEL by hand.',
      command(
        'ACL SETUSER <user> +client|tracking +client|id +subscribe resetchannels &<namespace>:* &__redis__:invalidate'
      )
    )
  }
)

const pushBuffers = check(
  'push-buffers',
  'Buffers for news of changed entries',
  ({ config }) => config,
  (config) => {
    // The connection that hears of changes is a subscriber to Redis.
    const limits = /pubsub (\d+) (\d+) (\d+)/.exec(config.get('client-output-buffer-limit') ?? '')
    if (limits === null) return pass('not reported')
    const [hard, soft, seconds] = limits.slice(1).map(Number) as [number, number, number]
    const what = `a subscriber is dropped over ${hard === 0 ? 'no limit' : bytesText(hard)}, or over ${soft === 0 ? 'no limit' : bytesText(soft)} for ${seconds} s`
    const fix = [
      command('CONFIG SET client-output-buffer-limit "pubsub 32mb 8mb 60"'),
      conf('client-output-buffer-limit pubsub 32mb 8mb 60')
    ]
    if (hard === 0 && soft === 0)
      return warn(
        what,
        'One process that stops reading lets its news pile up until Redis is out of memory.',
        ...fix
      )
    const tooSmall = (limit: number): boolean => limit !== 0 && limit < PUSH_BUFFER_LEAST_BYTES
    if (tooSmall(hard) || tooSmall(soft)) {
      return warn(
        what,
        'A process that is busy for a moment while many entries change loses its connection, and its memory tier is emptied; under steady writes, again and again.',
        ...fix
      )
    }
    return pass(what)
  },
  '+config|get'
)

const trackingTable = check(
  'tracking-table',
  'Table of tracked keys',
  ({ info, config }) => both(info, config),
  ([info, config]) => {
    const most = Number(config.get('tracking-table-max-keys') ?? 1_000_000)
    const tracked = numberIn(info, 'tracking_total_keys')
    const what = `${countText(tracked)} keys tracked, at most ${most === 0 ? 'any number' : countText(most)}`
    if (most === 0) {
      return warn(
        what,
        'The table grows with every key that is read, outside maxmemory.',
        command('CONFIG SET tracking-table-max-keys 1000000'),
        conf('tracking-table-max-keys 1000000')
      )
    }
    if (tracked < most * TABLE_NEARLY_FULL) return pass(what)
    return warn(
      what,
      'When it is full Redis forgets keys and announces them as changed: memory tiers lose good entries as fast as they gain them.',
      command(`CONFIG SET tracking-table-max-keys ${most * 4}`),
      conf(`tracking-table-max-keys ${most * 4}`)
    )
  },
  '+info +config|get'
)

const connections = check(
  'connections',
  'Connections',
  ({ info }) => info,
  (info) => {
    const [open, most] = [numberIn(info, 'connected_clients'), numberIn(info, 'maxclients')]
    const rejected = numberIn(info, 'rejected_connections')
    const share = most === 0 ? 0 : open / most
    const what = `${countText(open)} open${most === 0 ? '' : `, ${percentText(share)} of maxclients`}, ${countText(rejected)} rejected since the start`
    if (rejected === 0 && share < CLIENTS_NEARLY_FULL) return pass(what)
    return warn(
      what,
      'Who is not let in has no cache: a process of Corral’s needs three connections, to each primary of a Cluster one.',
      command(`CONFIG SET maxclients ${Math.max(10_000, most * 2)}`),
      conf(`maxclients ${Math.max(10_000, most * 2)}`),
      deployment('ulimit -n must be larger by 32')
    )
  },
  '+info'
)

export const CLIENT_CHECKS: readonly Check[] = [tracking, pushBuffers, trackingTable, connections]
