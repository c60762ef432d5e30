import { edit, type Mutation } from './mutation.js'

const MEMORY = 'test/deterministic/memory-protocol.test.ts'
/** With real servers, for what the play has no model of: several of them, and what one of them has lost. */
const NEWS = 'test/faults/memory-news.test.ts'
const ORDER = 'test/faults/channel-order.test.ts'
const STORE = 'src/tiers/generations.test.ts'
const CHANGES = 'src/tiers/redis-changes.ts'
const NOTHING_DROPPED_AFTER = edit(
  CHANGES,
  '    } finally {\n      for (const key of keys) memory?.drop(key)\n    }\n',
  '    } finally {\n      void memory\n    }\n'
)

/** Of values that are kept in the process. */
export const MEMORY_MUTATIONS: readonly Mutation[] = [
  {
    invariant: 'M1',
    without: 'an answer is kept although news of its change came first',
    edits: [
      edit(
        'src/tiers/drop-log.ts',
        'return position >= this.#floor && (this.#droppedAt.get(key) ?? 0) <= position',
        'return position >= this.#floor'
      )
    ],
    tests: [MEMORY]
  },
  {
    invariant: 'M1',
    without: 'a value is served whatever became of what it was kept under',
    edits: [edit('src/tiers/memory-tier.ts', ' || !entry.stands) return false', ') return false')],
    tests: [MEMORY]
  },
  {
    invariant: 'M2',
    without: 'news of a change drop nothing',
    edits: [edit('src/redis/coherence.ts', '      this.#kept?.drop(key)\n', '')],
    tests: [MEMORY]
  },
  {
    invariant: 'M2',
    without: "a process's own change drops nothing here, neither before it is sent nor after its reply",
    edits: [
      edit(CHANGES, '    for (const key of keys) memory?.drop(key)\n    try {', '    try {'),
      NOTHING_DROPPED_AFTER
    ],
    tests: [MEMORY]
  },
  {
    invariant: 'M2',
    without: "a process's own change drops nothing here after its reply",
    edits: [NOTHING_DROPPED_AFTER],
    tests: [MEMORY]
  },
  {
    invariant: 'M3',
    without: 'what is kept is served whenever the last proof was',
    edits: [edit('src/tiers/memory-tier.ts', 'nowMs >= this.#trustedUntilMs || ', '')],
    tests: [MEMORY]
  },
  {
    invariant: 'M3',
    without: 'a heartbeat asks the tracked connection alone',
    edits: [
      edit(
        'src/redis/tracked-pair.ts',
        'Promise.all([tracked.getBuffer(this.#flagKey), subscriber.ping()])',
        'Promise.all([tracked.getBuffer(this.#flagKey)])'
      )
    ],
    tests: [MEMORY]
  },
  {
    invariant: 'M3',
    without: 'a heartbeat asks the subscriber alone',
    edits: [
      edit(
        'src/redis/tracked-pair.ts',
        'Promise.all([tracked.getBuffer(this.#flagKey), subscriber.ping()])',
        'Promise.all([null, subscriber.ping()])'
      )
    ],
    tests: [MEMORY]
  },
  {
    invariant: 'M4',
    without: 'a lost connection leaves what is kept, and the next one believes it',
    edits: [
      edit(
        'src/redis/coherence.ts',
        "        const why = mode === 'channel' ? this.#refusal : undefined\n        this.#kept?.dropAll()\n",
        "        const why = mode === 'channel' ? this.#refusal : undefined\n"
      ),
      edit(
        'src/redis/coherence.ts',
        "        if (this.#mode !== mode && this.#mode !== 'paused') return\n        this.#kept?.dropAll()\n",
        "        if (this.#mode !== mode && this.#mode !== 'paused') return\n"
      )
    ],
    tests: [MEMORY]
  },
  {
    invariant: 'M4',
    without: 'a flush of everything drops nothing',
    edits: [
      edit(
        'src/redis/coherence.ts',
        '      this.#kept?.dropAll()\n      return this.#listeners.wakeAll()',
        '      return this.#listeners.wakeAll()'
      )
    ],
    tests: [MEMORY]
  },
  {
    invariant: 'M4',
    without: 'a number left out in the channel is overlooked',
    edits: [
      edit('src/redis/change-channel.ts', 'if (sequence !== this.#last + 1) this.#gap()\n', ''),
      edit(
        'src/redis/change-channel.ts',
        'else if (before !== undefined && before.number > this.#last) {\n      this.#gap()\n      return this.#connectAnew()\n    }\n',
        ''
      )
    ],
    tests: [MEMORY]
  },
  {
    invariant: 'M4',
    without: 'a change is not announced to those whom Redis does not tell',
    edits: [
      edit(
        'src/redis/coherence.ts',
        'return isKnown && !this.#isListenedTo ? undefined : this.#channel.announcement(keys)',
        'return undefined as never as Announcement'
      )
    ],
    tests: [MEMORY]
  },
  {
    invariant: 'M1',
    without: 'what is read on one server is kept, and its changes are made on another',
    edits: [
      edit(
        'src/redis/tracked-pair.ts',
        "    if (new Set(servers).size > 1) throw new Error('the connections lead to different servers')\n",
        ''
      )
    ],
    tests: [NEWS]
  },
  {
    invariant: 'M1',
    without: 'a value is kept although news of what it stands under came first',
    edits: [
      edit(
        'src/tiers/memory-shelf.ts',
        'return isTold === true ? cells : undefined',
        'return isTold === undefined ? undefined : cells'
      )
    ],
    tests: [MEMORY]
  },
  {
    invariant: 'M1',
    without: 'a value is kept under a tag that was to be moved, and could not be',
    edits: [
      edit(
        'src/tiers/generation.ts',
        'if (cell.hard !== hard || cell.undelivered || cell.guardedUntilMs !== 0) return OUTDATED',
        'if (cell.hard !== hard || cell.guardedUntilMs !== 0) return OUTDATED'
      )
    ],
    tests: [STORE]
  },
  {
    invariant: 'M1',
    without: 'a value is kept while any tag was to be moved, and none could be',
    edits: [edit('src/tiers/generations.ts', 'if (scope.isUndelivered || standingOf(', 'if (standingOf(')],
    tests: [STORE]
  },
  {
    invariant: 'M2',
    without: 'news of a counter leave what is kept under it',
    edits: [edit('src/tiers/redis-store.ts', '        this.generations.changed(key)\n', '')],
    tests: [MEMORY]
  },
  {
    invariant: 'M2',
    without: 'what is kept under a tag outlives a change of which Redis could not be told',
    edits: [
      edit(
        'src/tiers/generation.ts',
        '    this.#undelivered = is\n    this.version++\n',
        '    this.#undelivered = is\n'
      )
    ],
    tests: ['src/tiers/generation.test.ts']
  },
  {
    invariant: 'M2',
    without: 'that nobody listens to the channel counts for the next server, too',
    edits: [edit('src/redis/coherence.ts', '    link.onLost(() => this.#forgetListeners())\n', '')],
    tests: [ORDER]
  },
  {
    invariant: 'M4',
    without: 'the sign that somebody listens is lost, and another one is taken for it',
    edits: [
      edit('src/redis/change-channel.ts', 'if (listening !== before) {', 'if (before === undefined) {')
    ],
    tests: [ORDER]
  },
  {
    invariant: 'M4',
    without: 'a counter of messages that was set back is gone by',
    edits: [
      edit(
        'src/redis/change-channel.ts',
        '    if (heard !== undefined && number < heard) return this.#gap()\n',
        ''
      )
    ],
    tests: [ORDER]
  }
]
