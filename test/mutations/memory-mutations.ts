import { edit, type Mutation } from './mutation.js'

const MEMORY = 'test/deterministic/memory-protocol.test.ts'
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
  }
]
