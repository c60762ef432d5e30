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
        'src/behind/claimed-shard.ts',
        'const mark = marks.get(entry.producer)',
        'const mark = marks.size < 0 ? marks.get(entry.producer) : undefined'
      )
    ],
    tests: [BEHIND]
  },
  {
    invariant: 'B1',
    without: 'a mark covers what Redis had refused',
    edits: [
      edit(
        'src/behind/marks.ts',
        'index <= mark.index && !mark.without.includes(index)',
        'index <= mark.index'
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
        '        this.#claimed = undefined\n        if (error instanceof Fenced)',
        '        if (error instanceof Fenced)'
      )
    ],
    tests: [BEHIND]
  },
  {
    invariant: 'B1',
    without: 'a worker that was fenced settles what it did not apply',
    edits: [edit('src/behind/claimed-shard.ts', "if (outcome === 'fenced') throw new Fenced()\n", '')],
    tests: [BEHIND]
  },
  {
    invariant: 'B1',
    without: 'the stream is trimmed before the sink has committed',
    edits: [
      edit(
        'src/behind/claimed-shard.ts',
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
        '    const merged = after(before, operation)',
        '    const merged = before ?? after(undefined, operation)'
      )
    ],
    tests: [BEHIND]
  },
  {
    invariant: 'B1',
    without: 'of two increments in a batch the last one counts',
    edits: [edit('src/behind/coalesce.ts', 'id, tenant, by: before.by + by }', 'id, tenant, by }')],
    tests: [BEHIND]
  },
  {
    invariant: 'B1',
    without: 'an increment after a deletion in a batch adds to the row that was there',
    edits: [
      edit(
        'src/behind/coalesce.ts',
        "      if (before?.kind === 'delete') return { kind: 'put', id, tenant, value: by, replaces: true }\n",
        ''
      )
    ],
    tests: [BEHIND]
  },
  {
    invariant: 'B1',
    without: 'an increment joins one that has been sent',
    edits: [
      edit(
        'src/behind/producer.ts',
        'for (let batch = this.#waiting.shift(); batch !== undefined; batch = this.#waiting.shift()) {',
        'for (let batch = this.#waiting[0]; batch; this.#waiting.shift(), batch = this.#waiting[0]) {'
      )
    ],
    tests: [BEHIND]
  },
  {
    invariant: 'B2',
    without: 'an increment adds to what was read, and names the entry that is there by then',
    edits: [
      edit(
        'src/behind/entries.ts',
        "if (typeof value === 'number') return { number: value, token: entry.token, isNew: false }",
        "const { token } = (await store.read(request)).entry as typeof entry\n    if (typeof value === 'number') return { number: value, token, isNew: false }"
      )
    ],
    tests: [BEHIND]
  },
  {
    invariant: 'B2',
    without: 'each caller of increments that went as one is told what they all came to',
    edits: [edit('src/behind/producer.ts', '    number -= by\n', '')],
    tests: [BEHIND]
  },
  {
    invariant: 'B2',
    without: 'an entry that shows what was put aside is kept',
    edits: [
      edit(
        'src/behind/claimed-shard.ts',
        "        if (poison.record.key !== '') fates.set(poison.record.key, '0')\n",
        ''
      )
    ],
    tests: [BEHIND]
  },
  {
    invariant: 'B2',
    without: 'an entry that shows what the table had before is kept',
    edits: [
      edit(
        'src/behind/claimed-shard.ts',
        "if (isApplied || record.isReplay) fates.set(record.key, '0')",
        "if (record.isReplay) fates.set(record.key, '0')"
      )
    ],
    tests: [BEHIND]
  },
  {
    invariant: 'B2',
    without: 'the script keeps a number that was added to while a part of it was put aside',
    edits: [
      edit(
        'src/redis/lua/settle-entries.lua',
        '    elseif is_dropped and is_counter(header) then',
        '    elseif is_dropped and false then'
      )
    ],
    tests: [SCRIPTS]
  }
]
