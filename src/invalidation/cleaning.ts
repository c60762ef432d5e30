import { setTimeout as sleep } from 'node:timers/promises'
import type { Clock } from '../clock.js'
import type { Events } from '../events.js'
import { entriesOf, type Area } from '../keys/key-schema.js'
import type { EntryStore } from '../tiers/entry-store.js'

/** Removes from the store what a clear has made worthless. Nothing depends on it: such entries are served to nobody. */
export interface Cleaning {
  /** How it ended; never rejects. */
  readonly finished: Promise<CleaningReport>
  /** Ends it after the page in hand. What is left goes by its own time to live. */
  stop(): void
}

/** What became of a cleaning. */
export interface CleaningReport {
  /** `failed`: Redis did not answer; `error` says what. */
  readonly outcome: 'done' | 'stopped' | 'failed'
  /** Keys that were looked at. */
  readonly scanned: number
  /** Of those, the entries that were removed. */
  readonly removed: number
  readonly durationMs: number
  /** Undefined unless it failed. */
  readonly error: unknown
}

/** Keys that one SCAN looks at; a server is held up for well under a millisecond. */
const PAGE = 500
/** Entries that are judged in one go. */
const ENTRIES_AT_ONCE = 250
/** Between two pages the server is left alone for as long as the page took, but never longer than this. */
const LONGEST_PAUSE_MS = 50

export interface CleaningParts {
  readonly store: EntryStore
  readonly events: Events
  readonly clock: Clock
}

/** @param beforeMs what was stored before, on the store's clock, goes */
export function startCleaning(area: Area, beforeMs: number, parts: CleaningParts): Cleaning {
  const state = { isStopped: false }
  return {
    finished: clean(area, beforeMs, parts, state),
    stop: () => {
      state.isStopped = true
    }
  }
}

async function clean(
  area: Area,
  beforeMs: number,
  { store, events, clock }: CleaningParts,
  state: { readonly isStopped: boolean }
): Promise<CleaningReport> {
  const { collection, tenant } = area
  const startedAt = clock.now()
  let [scanned, removed] = [0, 0]
  const end = (outcome: CleaningReport['outcome'], error?: unknown): CleaningReport => {
    const report = { outcome, scanned, removed, durationMs: clock.now() - startedAt, error }
    events.emit('cleaned', { collection, tenant, ...report })
    return report
  }
  try {
    const { patterns, isIn } = entriesOf(area)
    let pageStartedAt = clock.now()
    for await (const page of store.scan(patterns, PAGE)) {
      if (state.isStopped) return end('stopped')
      const keys = page.filter(isIn)
      for (let at = 0; at < keys.length; at += ENTRIES_AT_ONCE) {
        removed += await store.dropOlder(keys.slice(at, at + ENTRIES_AT_ONCE), beforeMs)
      }
      scanned += keys.length
      events.emit('cleaning', { collection, tenant, scanned, removed })
      // It keeps the process alive: without Redis nothing else does for a script that waits for the end of it.
      await sleep(Math.min(LONGEST_PAUSE_MS, clock.now() - pageStartedAt))
      pageStartedAt = clock.now()
    }
    return end('done')
  } catch (error) {
    return end('failed', error)
  }
}
