import { durationText } from '../../units.js'
import { check, unseen, type Check } from '../check.js'
import { code, command, deployment, fail, pass, shell, warn } from '../finding.js'

/** Of another machine room; within one it is well under a millisecond. */
const SLOW_MEDIAN_MS = 5
const SLOW_P99_MS = 20
/** A tenth of what a call may take by default. */
const SLOW_COMMAND_MS = 20
const BLOCKING = ['KEYS', 'FLUSHALL', 'FLUSHDB', 'SORT', 'SMEMBERS', 'HGETALL', 'LRANGE', 'SAVE', 'DEBUG']
const CLOCK_OFF_MS = 1_000

const version = check(
  'version',
  'Version',
  ({ info }) => info,
  (info) => {
    const valkey = info.get('valkey_version')
    if (valkey !== undefined) return pass(`Valkey ${valkey}`)
    const text = info.get('redis_version')
    if (text === undefined) return unseen('INFO does not tell redis_version')
    const major = Number(text.split('.')[0])
    if (major >= 7) return pass(`Redis ${text}`)
    const upgrade = deployment('upgrade to Redis 7.2 or later, or to Valkey 8 or later')
    if (major === 6)
      return warn(
        `Redis ${text}`,
        'Corral is tested on Redis 7 and later. Users cannot be tried (ACL DRYRUN), and single subcommands cannot be allowed.',
        upgrade
      )
    return fail(
      `Redis ${text}`,
      'It has no client tracking, so nobody is told when an entry changes, and no users: whoever connects may do everything.',
      upgrade
    )
  },
  '+info'
)

const latency = check(
  'latency',
  'Round trip',
  ({ latency: fact }) => fact,
  ({ p50, p99, max }) => {
    const what = `p50 ${durationText(p50)}, p99 ${durationText(p99)}, worst ${durationText(max)}`
    const why =
      'Every hit that is not in memory costs a round trip. Calls over commandTimeout (200 ms) count as failed, and go to the database.'
    if (p50 > SLOW_MEDIAN_MS) {
      return warn(
        what,
        why,
        deployment('put the program and Redis into one zone'),
        code('memory: { maxBytes: 64 * 1024 * 1024 } // the hottest entries in the process itself')
      )
    }
    if (p99 > SLOW_P99_MS) {
      return warn(
        what,
        why,
        command('SLOWLOG GET 10'),
        command('LATENCY DOCTOR'),
        shell('echo never > /sys/kernel/mm/transparent_hugepage/enabled')
      )
    }
    return pass(what)
  }
)

const slowLog = check(
  'slow-log',
  'Slow commands',
  ({ slowLog: fact }) => fact,
  (entries) => {
    const slow = entries.filter(({ durationMs }) => durationMs >= SLOW_COMMAND_MS)
    if (slow.length === 0) return pass(`none over ${SLOW_COMMAND_MS} ms`)
    const worst = new Map<string, number>()
    for (const { command: name, durationMs } of slow)
      worst.set(name, Math.max(worst.get(name) ?? 0, durationMs))
    const list = [...worst].sort(([, a], [, b]) => b - a)
    const culprit = list.find(([name]) => BLOCKING.includes(name))?.[0]
    return warn(
      list.map(([name, ms]) => `${name} (${durationText(ms)})`).join(', '),
      'Redis does one thing at a time: for as long as such a command runs, every read of every process waits.',
      command('SLOWLOG GET 10 # whose they are; then SLOWLOG RESET'),
      ...(culprit === undefined ? [] : [command(`ACL SETUSER <who sends it> -${culprit.toLowerCase()}`)])
    )
  },
  '+slowlog|get'
)

const clock = check(
  'clock',
  'Clock',
  ({ clock: fact }) => fact,
  ({ offsetMs, uncertaintyMs }) => {
    const off = Math.max(0, Math.abs(offsetMs) - uncertaintyMs)
    const what = `${durationText(Math.abs(offsetMs))} ${offsetMs < 0 ? 'behind' : 'ahead of'} this machine, give or take ${durationText(uncertaintyMs)}`
    if (off <= CLOCK_OFF_MS) return pass(what)
    return warn(
      what,
      'Corral tells ages by Redis’ clock alone, so hits stay right. But expiries are stored as dates: a clock that jumps, or a failover to a machine with another clock, ends entries early or keeps them too long.',
      shell('timedatectl set-ntp true # here and on the machine of Redis')
    )
  },
  '+time'
)

export const SERVER_CHECKS: readonly Check[] = [version, latency, slowLog, clock]
