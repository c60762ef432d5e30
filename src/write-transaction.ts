import { TagRef } from './ad-hoc.js'
import type { WriteTransaction } from './cache.js'
import { EntryRef } from './collection.js'
import { InvalidOptionError } from './errors.js'
import type { ReadRequest } from './tiers/request.js'
import type { TagTarget } from './write/guards.js'
import { rowsOf } from './write/new-rows.js'
import type { Change, NewRow } from './write/writer.js'

type EntriesByKey = ReadonlyMap<string, ReadRequest>

/**
 * What a `cache.write` makes wrong: entries, each once, and tags. Those of another cache would be guarded here and read there,
 * in another Redis perhaps.
 *
 * @param home stands for this cache
 */
export function targetsOf(
  refs: Iterable<EntryRef<unknown> | TagRef>,
  home: object,
  assertWritable: (request: ReadRequest) => void
): { readonly entries: EntriesByKey; readonly tags: readonly TagTarget[] } {
  const entries = new Map<string, ReadRequest>()
  const tags: TagTarget[] = []
  for (const ref of refs) {
    if (ref instanceof TagRef) {
      if (!TagRef.isOf(home, ref)) throw new InvalidOptionError('refs', ref.tag, 'tags of this cache')
      tags.push(TagRef.targetOf(ref))
      continue
    }
    const { key } = checkedRef(ref)
    if (!EntryRef.isOf(home, ref)) throw new InvalidOptionError('refs', key, 'entries of this cache')
    const request = EntryRef.requestOf(ref)
    assertWritable(request)
    entries.set(key, request)
  }
  return { entries, tags }
}

/** The user's change, with what it publishes noted until it is over. */
export function withPublish<Result>(
  entries: EntriesByKey,
  change: (transaction: WriteTransaction) => Promise<Result>
): Change<Result>['work'] {
  return async (signal) => {
    const rows = new Map<string, NewRow>()
    let isOver = false
    const publish = <Value>(ref: EntryRef<Value>, row: Value | undefined): void => {
      const { key } = checkedRef(ref)
      if (isOver) throw new InvalidOptionError('ref', key, 'to be published before the change is over')
      if (!entries.has(key))
        throw new InvalidOptionError('ref', key, 'an entry that was given to cache.write')
      // Of several rows the last counts, also when that is none.
      rows.delete(key)
      for (const [rowKey, newRow] of rowsOf(EntryRef.requestOf(ref), row)) rows.set(rowKey, newRow)
    }
    try {
      return { result: await change({ signal, publish }), rows: new Map(rows) }
    } finally {
      isOver = true
    }
  }
}

function checkedRef<Value>(ref: EntryRef<Value>): EntryRef<Value> {
  if (ref instanceof EntryRef) return ref
  throw new InvalidOptionError('ref', ref, 'what key() of a collection gives, or tag()')
}
