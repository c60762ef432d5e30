import { numberIn } from '../../info.js'
import { countText, durationText } from '../../units.js'
import { both, check, type Check } from '../check.js'
import { command, conf, fail, pass, shell, warn } from '../finding.js'

const OLD_SAVE_MS = 24 * 3_600_000
/** A handful of changes is not worth a save, by the rules that Redis ships with. */
const CHANGES_WORTH_SAVING = 10_000

const persistence = check(
  'persistence',
  'Warm after a restart',
  ({ info, config }) => both(info, config),
  ([info, config], { keys }) => {
    const hasLog = info.get('aof_enabled') === '1'
    const hasSnapshots = (config.get('save') ?? '') !== ''
    const hasStreams = keys.known && keys.value.behindStreams > 0
    const hasReplicas = info.get('role') === 'master' && numberIn(info, 'connected_slaves') > 0
    const log = [
      command('CONFIG SET appendonly yes'),
      command('CONFIG SET appendfsync everysec'),
      conf('appendonly yes'),
      conf('appendfsync everysec')
    ]
    if (hasLog) {
      const fsync = config.get('appendfsync') ?? 'everysec'
      const what = `append-only file (fsync ${fsync})${hasSnapshots ? ' and snapshots' : ''}`
      if (fsync === 'no' && hasStreams) {
        return fail(
          what,
          'A power cut loses acknowledged writes of half a minute, as long as the kernel waits.',
          log[1]!,
          log[3]!
        )
      }
      return pass(what)
    }
    if (hasStreams) {
      return fail(
        hasSnapshots
          ? 'snapshots only, and streams of writes that are not in the database yet'
          : 'nothing is kept, and there are streams of writes that are not in the database yet',
        'A crash of Redis loses acknowledged writes.',
        ...log
      )
    }
    if (hasSnapshots) {
      return warn(
        `snapshots only (save ${config.get('save')})`,
        'A restart brings back the state of the last snapshot: what was cached since is cold, and what was invalidated since is back.',
        ...log
      )
    }
    const saves = [command('CONFIG SET save "900 1 300 100 60 10000"'), conf('save 900 1 300 100 60 10000')]
    if (hasReplicas) {
      return fail(
        'nothing is kept, and there are replicas',
        'A primary that is restarted by its supervisor comes back empty, and its replicas copy the emptiness: everything is gone at once.',
        ...log,
        ...saves
      )
    }
    return warn(
      'nothing is kept',
      'A restart empties the cache, and every read goes to the database until it is warm.',
      ...log,
      ...saves
    )
  },
  '+info +config|get'
)

const lastSave = check(
  'last-save',
  'Last save',
  ({ info }) => info,
  (info) => {
    const failed = [
      ['rdb_last_bgsave_status', 'the last snapshot failed', 'BGSAVE'],
      ['aof_last_write_status', 'the last write to the append-only file failed', 'BGREWRITEAOF'],
      ['aof_last_bgrewrite_status', 'the last rewrite of the append-only file failed', 'BGREWRITEAOF']
    ].filter(([field]) => info.get(field!) === 'err')
    if (failed.length > 0) {
      return fail(
        failed.map(([, what]) => what).join('; '),
        'Redis refuses all writes (MISCONF) while stop-writes-on-bgsave-error is on, and a restart brings back an old state. The disk is full or read-only, or the fork found no memory.',
        shell('df -h . && tail -n 50 redis-server.log # in its folder: CONFIG GET dir, CONFIG GET logfile'),
        shell('sysctl -w vm.overcommit_memory=1'),
        ...failed.map(([, , again]) => command(again!))
      )
    }
    const changes = numberIn(info, 'rdb_changes_since_last_save')
    const ageMs = numberIn(info, 'server_time_usec') / 1_000 - numberIn(info, 'rdb_last_save_time') * 1_000
    const what = `${countText(changes)} changes since the last snapshot`
    if (info.get('aof_enabled') !== '1' && ageMs > OLD_SAVE_MS && changes > CHANGES_WORTH_SAVING) {
      return warn(
        `${what}, ${durationText(ageMs)} ago`,
        'A restart brings back a state that old.',
        command('BGSAVE')
      )
    }
    return pass(what)
  },
  '+info'
)

export const PERSISTENCE_CHECKS: readonly Check[] = [persistence, lastSave]
