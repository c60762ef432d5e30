import { systemClock } from '../../src/clock.js'
import { PayloadCodec } from '../../src/codec/codec.js'
import { Events } from '../../src/events.js'
import type { EntryOptions } from '../../src/options.js'
import { resolveEntryPolicy, resolveWritePolicy } from '../../src/resolve-options.js'
import { ConcurrencyLimit } from '../../src/policy/concurrency-limit.js'
import { Failures } from '../../src/read/failures.js'
import { Judge } from '../../src/read/judge.js'
import { LoadRunner } from '../../src/read/load-runner.js'
import { Loading } from '../../src/read/loading.js'
import { Reader } from '../../src/read/reader.js'
import { newCollectionStats } from '../../src/stats.js'
import type { EntryStore } from '../../src/tiers/entry-store.js'
import { ADMIT_ALL } from '../../src/tiers/fill-gate.js'
import type { Scope } from '../../src/tiers/generation.js'
import type { Lookup, ReadRequest } from '../../src/tiers/request.js'

/** The read path over a store of the test's own, as one process of a fleet has it. */
export class TestProcess {
  readonly stats = newCollectionStats()
  readonly #reader: Reader
  readonly #options: EntryOptions
  readonly #scope: Scope

  constructor(store: EntryStore, options: EntryOptions) {
    const [clock, events, codec] = [
      systemClock,
      new Events(),
      new PayloadCodec({ compressAboveBytes: Number.POSITIVE_INFINITY, maxValueBytes: 1e6 })
    ]
    const failures = new Failures(clock)
    const judge = new Judge(store, codec, events, clock, failures)
    const loads = new LoadRunner(new ConcurrencyLimit(100, 100), events, clock)
    const loading = new Loading({
      store,
      codec,
      events,
      clock,
      loads,
      failures,
      judge,
      gate: ADMIT_ALL,
      leaseMs: 2_000
    })
    this.#options = options
    this.#scope = store.generations.scope('test', 'test', undefined, false)
    this.#reader = new Reader({
      store,
      events,
      failures,
      judge,
      loading,
      loads,
      isInvalidationPending: () => false
    })
  }

  read(key: string, load: () => Promise<unknown>): Promise<Lookup> {
    return this.#reader.read(this.#request(key, load))
  }

  #request(key: string, load: () => Promise<unknown>): ReadRequest {
    const source: ReadRequest['source'] = {
      name: 'test',
      policy: resolveEntryPolicy(this.#options),
      stats: this.stats,
      loadLimit: undefined,
      schema: undefined,
      writing: resolveWritePolicy({}),
      write: undefined,
      remove: undefined,
      version: undefined,
      tags: undefined,
      load,
      loadMany: undefined
    }
    return { source, key, id: key, tenant: undefined, scope: this.#scope }
  }
}

type Hook = (key: string) => Promise<unknown>

/** A store in which a test can let something happen just before, or just after, a step of the protocol. */
export function hooked(
  store: EntryStore,
  hooks: { before?: Partial<Record<keyof EntryStore, Hook>>; after?: Partial<Record<keyof EntryStore, Hook>> }
): EntryStore {
  return new Proxy(store, {
    get(target, name: keyof EntryStore) {
      const member: unknown = Reflect.get(target, name, target)
      if (typeof member !== 'function') return member
      const [before, after] = [hooks.before?.[name], hooks.after?.[name]]
      if (before === undefined && after === undefined) return member.bind(target) as unknown
      return async (...args: unknown[]) => {
        const key = typeof args[0] === 'string' ? args[0] : (args[0] as { key: string }).key
        await before?.(key)
        const result: unknown = await (member as (...all: unknown[]) => unknown).apply(target, args)
        await after?.(key)
        return result
      }
    }
  })
}
