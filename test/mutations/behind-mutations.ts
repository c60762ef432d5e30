import { edit, type Mutation } from './mutation.js'

const BEHIND = 'test/deterministic/behind-protocol.test.ts'
const SCRIPTS = 'test/deterministic/shard-scripts.test.ts'

/** Of what is written behind. */
export const BEHIND_MUTATIONS: readonly Mutation[] = [
  {
    invariant: 'B1',
    without: 'a batch that is sent again has a new number',
    edits: [
      edit(
        'src/behind/producer.ts',
        'answer = await append(request, send)',
        'answer = await append(isUnsure ? this.#requestOf(batch) : request, send)'
      )
    ],
    tests: [BEHIND]
  },
  {
    invariant: 'B1',
    without: 'an answer that was lost counts as a refusal',
    edits: [
      edit(
        'src/behind/producer.ts',
        '        if (!isUnsure) throw failure\n        throw this.#unknown(batch, failure)',
        '        throw failure'
      )
    ],
    tests: [BEHIND]
  },
  {
    invariant: 'B1',
    without: 'what the marks cover is applied again',
    edits: [
      edit(
        'src/behind/shard-worker.ts',
        'const mark = marks.get(entry.producer)',
        'const mark = marks.size < 0 ? marks.get(entry.producer) : undefined'
      )
    ],
    tests: [BEHIND]
  },
  {
    invariant: 'B1',
    without: 'a worker that is unsure goes on with the marks that it had',
    edits: [
      edit(
        'src/behind/shard-worker.ts',
        '        this.#claim = undefined\n        if (error instanceof Fenced)',
        '        if (error instanceof Fenced)'
      )
    ],
    tests: [BEHIND]
  },
  {
    invariant: 'B1',
    without: 'a worker that was fenced settles what it did not apply',
    edits: [edit('src/behind/shard-worker.ts', "if (outcome === 'fenced') throw new Fenced()\n", '')],
    tests: [BEHIND]
  },
  {
    invariant: 'B1',
    without: 'the stream is trimmed before the sink has committed',
    edits: [
      edit(
        'src/behind/shard-worker.ts',
        '    const startedAt = clock.now()\n    let rows = 0',
        '    await this.#settle(entries.at(-1)!, fates)\n    const startedAt = clock.now()\n    let rows = 0'
      )
    ],
    tests: [BEHIND]
  },
  {
    invariant: 'B1',
    without: 'of two operations of a row in a batch the first one wins',
    edits: [
      edit(
        'src/behind/coalesce.ts',
        '    const merged = after(byKey.get(key), operation)',
        '    const merged = byKey.get(key) ?? after(undefined, operation)'
      )
    ],
    tests: [BEHIND]
  },
  {
    invariant: 'B1',
    without: 'the script takes a batch a second time',
    edits: [
      edit(
        'src/redis/lua/append-operations.lua',
        'if tonumber(last_batch) == batch then',
        'if tonumber(last_batch) == batch and false then'
      )
    ],
    tests: [SCRIPTS]
  },
  {
    invariant: 'B1',
    without: 'the script takes a batch that comes after a later one',
    edits: [
      edit(
        'src/redis/lua/append-operations.lua',
        '  if tonumber(last_batch) > batch then return { 4 } end\n',
        ''
      )
    ],
    tests: [SCRIPTS]
  },
  {
    invariant: 'B1',
    without: 'the script trims a stream that is not the one that was read',
    edits: [
      edit(
        'src/redis/lua/settle-entries.lua',
        'if fields.p ~= producer or fields.b ~= batch then return 0 end\n',
        ''
      )
    ],
    tests: [SCRIPTS]
  },
  {
    invariant: 'B2',
    without: 'the script settles an entry that has a later operation',
    edits: [
      edit(
        'src/redis/lua/settle-entries.lua',
        '    if last_ms < id_ms or (last_ms == id_ms and last_seq <= id_seq) then\n      local life_ms',
        '    if last_ms > 0 and last_seq >= 0 then\n      local life_ms'
      )
    ],
    tests: [SCRIPTS]
  },
  {
    invariant: 'B2',
    without: 'the script forgets that an entry that was deleted has something that waits',
    edits: [
      edit(
        'src/redis/lua/settle-entries.lua',
        'if mark_ms < id_ms or (mark_ms == id_ms and mark_seq <= id_seq) then redis',
        'if mark_ms > 0 and mark_seq >= 0 then redis'
      )
    ],
    tests: [SCRIPTS]
  },
  {
    invariant: 'B3',
    without: 'the script accepts more than the limit',
    edits: [
      edit(
        'src/redis/lua/append-operations.lua',
        'if is_full then return { 2, total - done, bytes - done_bytes, oldest, now } end\n',
        ''
      )
    ],
    tests: [SCRIPTS]
  },
  {
    invariant: 'B3',
    without: 'the script gives a shard to whoever asks',
    edits: [
      edit(
        'src/redis/lua/hold-shard.lua',
        'local is_mine = not holder or holder == worker',
        'local is_mine = true'
      )
    ],
    tests: [SCRIPTS]
  },
  {
    invariant: 'B3',
    without: 'the script gives back a shard that another worker has',
    edits: [
      edit(
        'src/redis/lua/release-shard.lua',
        "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end\n",
        ''
      )
    ],
    tests: [SCRIPTS]
  }
]
