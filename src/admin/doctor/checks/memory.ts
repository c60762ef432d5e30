import { numberIn, rowIn } from '../../info.js'
import { bytesText, countText, percentText, plural, redisArgument, redisBytes } from '../../units.js'
import { allowing, both, check, unseen, type Check } from '../check.js'
import type { MemoryLimit } from '../facts.js'
import { code, command, conf, fail, pass, warn } from '../finding.js'

/** The copy that a fork makes of what changes meanwhile, buffers and fragmentation live outside maxmemory. */
const LIMIT_SHARE_WARN = 0.75
const LIMIT_SHARE_FAIL = 0.9
const FULL_SHARE = 0.95
const FRAGMENTED_RATIO = 1.5
const FRAGMENTED_LEAST_BYTES = 64 * 1024 ** 2
/** Much less in RAM than in use: the rest is on the disk. */
const SWAPPED_RATIO = 0.85

const evictionPolicy = check(
  'eviction-policy',
  'Eviction policy',
  ({ info }) => info,
  (info, { keys }) => {
    const policy = info.get('maxmemory_policy')
    if (policy === undefined) return unseen('INFO does not tell maxmemory_policy')
    const use = [command('CONFIG SET maxmemory-policy volatile-lfu'), conf('maxmemory-policy volatile-lfu')]
    const hasStreams = keys.known && keys.value.behindStreams > 0
    if (policy.startsWith('allkeys-') && hasStreams) {
      return fail(
        `${policy}, with ${plural(keys.value.behindStreams, 'stream')} of writes that are not in the database yet`,
        'When memory is short Redis deletes whole streams without a word, and acknowledged writes with them.',
        ...use
      )
    }
    if (policy === 'noeviction') {
      return warn(
        'noeviction',
        'When memory is full Redis refuses every command that stores, so nothing new is cached and every miss goes to the database until entries expire.',
        ...use
      )
    }
    if (policy.endsWith('-random')) {
      return warn(policy, 'It pushes out hot entries as readily as those that nobody reads.', ...use)
    }
    // A few streams among millions of keys are hardly ever in a sample.
    const appended = Number(rowIn(info, 'cmdstat_xadd')['calls'] ?? 0)
    if (policy.startsWith('allkeys-') && appended > 0 && !(keys.known && keys.value.isWhole)) {
      return warn(
        `${policy}, and somebody appends to streams here (XADD ran ${plural(appended, 'time')})`,
        'When memory is short Redis deletes whole streams without a word: writes that are not in the database yet, if they are those of write-behind.',
        ...use
      )
    }
    const isGuess = policy.startsWith('allkeys-') && keys.known && !keys.value.isWhole
    return pass(
      isGuess
        ? `${policy}; right only without write-behind, of which a sample of ${plural(keys.value.looked, 'key')} shows nothing`
        : policy
    )
  },
  '+info'
)

const maxMemory = check(
  'maxmemory',
  'Memory limit',
  ({ info }) => info,
  (info, { memoryLimit }) => {
    if (!info.has('maxmemory')) return unseen('INFO does not tell maxmemory')
    const maxmemory = numberIn(info, 'maxmemory')
    const limit = memoryLimit.known ? memoryLimit.value : undefined
    const advised = redisBytes(
      Math.floor(((limit?.bytes ?? 1024 ** 3) * LIMIT_SHARE_WARN) / 1024 ** 2) * 1024 ** 2
    )
    const set = [command(`CONFIG SET maxmemory ${advised}`), conf(`maxmemory ${advised}`)]
    if (maxmemory === 0) {
      return fail(
        'no maxmemory',
        'Redis grows until the kernel ends it, and everything cached is gone at once; nothing is ever evicted before.',
        ...set
      )
    }
    if (limit === undefined) return pass(`maxmemory is ${bytesText(maxmemory)}`)
    const share = maxmemory / limit.bytes
    const what = `maxmemory is ${bytesText(maxmemory)}, ${percentText(share)} of ${nameOf(limit)}`
    const why =
      'A save or a rewrite of the append-only file forks, and pages that change meanwhile exist twice; buffers of clients and fragmentation come on top. Past the limit the kernel ends Redis.'
    if (share > LIMIT_SHARE_FAIL) return fail(what, why, ...set)
    // What is left of a host may be meant for others; of a container's limit nobody else can use it.
    if (share > LIMIT_SHARE_WARN) return warn(what, why, ...set)
    return pass(what)
  },
  '+info'
)

const memoryPressure = check(
  'memory-pressure',
  'Room for new entries',
  ({ info }) => info,
  (info) => {
    const [maxmemory, used] = [numberIn(info, 'maxmemory'), numberIn(info, 'used_memory')]
    const evicted = numberIn(info, 'evicted_keys')
    if (maxmemory === 0) return pass(`${bytesText(used)} in use`)
    const what = `${bytesText(used)} of ${bytesText(maxmemory)} in use, ${countText(evicted)} keys evicted since the start`
    if (used < maxmemory * FULL_SHARE) return pass(what)
    const more = [
      command(`CONFIG SET maxmemory ${redisBytes(maxmemory * 2)}`),
      code("ttl: '10m' // shorter, where entries are read for less long")
    ]
    if ((info.get('maxmemory_policy') ?? 'noeviction') === 'noeviction') {
      return fail(what, 'It is full and evicts nothing: every store is refused.', ...more)
    }
    return warn(what, 'It evicts to make room; entries that are read again are loaded again.', ...more)
  },
  '+info'
)

const fragmentation = check(
  'fragmentation',
  'Memory fragmentation',
  ({ info }) => info,
  (info) => {
    const [used, resident] = [numberIn(info, 'used_memory'), numberIn(info, 'used_memory_rss')]
    if (used === 0) return pass('not reported')
    const ratio = resident / used
    const lost = resident - used
    const what = `${bytesText(resident)} of RAM for ${bytesText(used)} of data, a ratio of ${ratio.toFixed(2)}`
    if (ratio < SWAPPED_RATIO && -lost > FRAGMENTED_LEAST_BYTES) {
      return fail(
        what,
        'Part of Redis is in swap: a read that touches it takes milliseconds instead of microseconds, and all others wait behind it.',
        command(
          `CONFIG SET maxmemory ${redisBytes(Math.max(1024 ** 2, Math.floor((resident * LIMIT_SHARE_WARN) / 1024 ** 2) * 1024 ** 2))}`
        )
      )
    }
    if (ratio > FRAGMENTED_RATIO && lost > FRAGMENTED_LEAST_BYTES) {
      return warn(
        what,
        'What was freed cannot be used: the process is larger than maxmemory says, and may pass the limit of its container.',
        command('CONFIG SET activedefrag yes'),
        command('MEMORY PURGE')
      )
    }
    return pass(what)
  },
  '+info'
)

const bigKeys = check(
  'big-keys',
  'Big keys',
  ({ keys }) => keys,
  ({ big, looked, isWhole, unsized }, facts) => {
    if (unsized !== undefined) return unseen(unsized, ...allowing(unsized, facts, '+memory|usage'))
    const sample = isWhole ? `${plural(looked, 'key')} looked at` : `a sample of ${plural(looked, 'key')}`
    if (big.length === 0) return pass(`${sample}, none over 1 MB`)
    const list = big.map(({ key, bytes }) => `${key} (${bytesText(bytes)})`).join(', ')
    return warn(
      `${sample}; the largest: ${list}`,
      'Redis does one thing at a time: while it sends a big value everybody else waits, and so does the process that decodes it.',
      code('maxValueBytes: 1024 * 1024 // larger ones are returned, and not stored'),
      code('// or cache the parts that are read, by ids of their own')
    )
  },
  '+scan +type +pttl +memory|usage'
)

const withoutTtl = check(
  'keys-without-ttl',
  'Keys without an expiry',
  ({ keys, info }) => both(keys, info),
  ([{ withoutTtl: count, examplesWithoutTtl, looked, isWhole, prefix }, info]) => {
    const sample = isWhole ? plural(looked, 'key') : `a sample of ${plural(looked, 'key')}`
    if (count === 0) return pass(`none in ${sample}`)
    const policy = info.get('maxmemory_policy') ?? 'noeviction'
    const what = `${countText(count)} in ${sample} under ${prefix === '' ? 'any name' : `${prefix}*`}, such as ${examplesWithoutTtl.join(', ')}`
    const fix = [
      command(`EXPIRE ${redisArgument(examplesWithoutTtl[0]!)} 3600`),
      code('// Corral stores nothing without an expiry: find who else writes under this namespace')
    ]
    return policy.startsWith('volatile-') || policy === 'noeviction'
      ? warn(
          what,
          `Under ${policy} they are never evicted: they hold memory until somebody deletes them.`,
          ...fix
        )
      : warn(what, 'They stay until they are evicted, however old they are.', ...fix)
  },
  '+scan +type +pttl'
)

const nameOf = ({ bytes, source }: MemoryLimit): string => {
  const owner = { told: 'what it may use', cgroup: "its container's limit", host: "the machine's memory" }[
    source
  ]
  return `${owner} (${bytesText(bytes)})`
}

export const MEMORY_CHECKS: readonly Check[] = [
  evictionPolicy,
  maxMemory,
  memoryPressure,
  fragmentation,
  bigKeys,
  withoutTtl
]
