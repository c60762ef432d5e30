import { edit, type Mutation } from './mutation.js'

const SCRIPTS = 'test/deterministic/shard-scripts.test.ts'
const ROWS_BEHIND = 'test/behind/collection.test.ts'

/** Of the scripts over what is written behind, and of who may bring it to the source. */
export const SHARD_MUTATIONS: readonly Mutation[] = [
  {
    invariant: 'B2',
    without: 'the script counts on a base that was read from another entry',
    edits: [
      edit(
        'src/redis/lua/append-operations.lua',
        '    if token_of(header) ~= token then return NEEDS_BASE end\n',
        ''
      )
    ],
    tests: [SCRIPTS]
  },
  {
    invariant: 'B2',
    without: 'the script counts on a number that was cleared since',
    edits: [edit('src/redis/lua/append-operations.lua', ' and frame:sub(47, 58) == stamp', '')],
    tests: [SCRIPTS]
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
  },
  {
    invariant: 'B2',
    without: 'the script appends under the guard of a write through',
    edits: [
      edit(
        'src/redis/lua/append-operations.lua',
        'elseif header ~= nil and is_guarded(header) then status = GUARDED',
        'elseif false then status = GUARDED'
      )
    ],
    tests: [ROWS_BEHIND]
  },
  {
    invariant: 'B2',
    without: 'the script lets a write through whose guard was lost delete what is unflushed',
    edits: [
      edit(
        'src/redis/lua/publish-entry.lua',
        'if header ~= nil and not is_foreign(header) and is_unflushed(header) then return 0 end\n',
        ''
      )
    ],
    tests: [ROWS_BEHIND]
  },
  {
    invariant: 'B2',
    without: 'the script grants a lease where what is unflushed was deleted from outside',
    edits: [
      edit(
        'src/redis/lua/take-lease.lua',
        "  if KEYS[2] and redis.call('HEXISTS', KEYS[2], key) == 1 then return { 6 } end\n",
        ''
      )
    ],
    tests: [ROWS_BEHIND]
  },
  {
    invariant: 'B1',
    without: 'the script forgets at once what a producer has sent',
    edits: [
      edit('src/redis/lua/settle-entries.lua', '> 3600000 then', '>= 0 then'),
      edit(
        'src/redis/lua/settle-entries.lua',
        "redis.call('HLEN', producers) > 256",
        "redis.call('HLEN', producers) > 0"
      )
    ],
    tests: [SCRIPTS]
  },
  {
    invariant: 'B1',
    without: 'the script accepts what was divided among another number of shards',
    edits: [
      edit(
        'src/redis/lua/append-operations.lua',
        'if shards and shards ~= ARGV[3] then return { 3, tonumber(shards) } end\n',
        ''
      )
    ],
    tests: [SCRIPTS]
  },
  {
    invariant: 'B1',
    without: 'the sink applies what a worker brings that has lost its shard',
    edits: [
      edit(
        'src/sinks/postgres-books.ts',
        "return Number(rows[0]?.['epoch']) === epoch",
        "return Number(rows[0]?.['epoch']) >= epoch"
      )
    ],
    tests: ['test/behind/sink-contract.test.ts']
  }
]
