import { BEHIND_MUTATIONS } from './behind-mutations.js'
import { MEMORY_MUTATIONS } from './memory-mutations.js'
import { edit, type Mutation } from './mutation.js'
import { SHARD_MUTATIONS } from './shard-mutations.js'

const READS = 'test/deterministic/read-protocol.test.ts'
const WRITES = 'test/deterministic/write-protocol.test.ts'
const SCRIPTS = 'test/deterministic/scripts.test.ts'
/** For what a play of thousands of plans meets by chance alone. */
const INTERLEAVED = 'test/integration/interleavings.test.ts'
/** Where the clock of Redis is set back. */
const CLOCKS = 'test/integration/clocks.test.ts'

/**
 * The engine is mutated where the interleavings play it; the Lua scripts, which they do not play, are caught by the
 * comparison with the store that they do play.
 */
const ENTRY_MUTATIONS: readonly Mutation[] = [
  {
    invariant: 'I1',
    without: 'a fill is stored whatever has become of its lease',
    edits: [
      edit('src/tiers/local-store.ts', 'if (this.#leaseOf(key, token)[1] === undefined) return false\n', '')
    ],
    tests: [READS]
  },
  {
    invariant: 'I1',
    without: 'a fill is stored where nothing stands any more',
    edits: [
      edit(
        'src/tiers/local-store.ts',
        'if (this.#leaseOf(key, token)[1] === undefined) return false',
        'if (this.#entries.has(key) && this.#leaseOf(key, token)[1] === undefined) return false'
      )
    ],
    tests: [READS]
  },
  {
    invariant: 'I1',
    without: 'the script stores a fill whatever has become of its lease',
    edits: [
      edit(
        'src/redis/lua/fill-entry.lua',
        'if not (holds_as_loader(header, token) or holds_as_refresher(header, token)) then return 0 end',
        ''
      )
    ],
    tests: [SCRIPTS]
  },
  {
    invariant: 'I1',
    without: 'the script stores a fill where nothing stands any more',
    edits: [
      edit(
        'src/redis/lua/fill-entry.lua',
        'if header == nil or is_foreign(header) then return 0 end\nif not (',
        'if header ~= nil and is_foreign(header) then return 0 end\nif header ~= nil and not ('
      )
    ],
    tests: [SCRIPTS]
  },
  {
    invariant: 'I1',
    without: 'a failed load marks an entry that is no longer its own',
    edits: [
      edit(
        'src/tiers/local-store.ts',
        "if (holder === undefined) return false\n    if (holder === 'hold' || isUncacheable(frame)) this",
        "if (holder !== 'value' || isUncacheable(frame)) this"
      )
    ],
    tests: [READS]
  },
  {
    invariant: 'I1',
    without: 'the script lets any refresh fill a value',
    edits: [
      edit(
        'src/redis/lua/includes/entry-header.lua',
        'return is_value(header) and lease_token_of(header) == token',
        'return is_value(header)'
      )
    ],
    tests: [SCRIPTS]
  },
  {
    invariant: 'I2',
    without: 'the loader starts while the lease is being asked for',
    edits: [
      edit(
        'src/read/loading.ts',
        'const answer = await this.#askForLease(',
        `const early = this.#early.get(flight) ?? this.#runLoader(request, plan)
        early.catch(() => undefined)
        this.#early.set(flight, early)
        const answer = await this.#askForLease(`
      ),
      edit(
        'src/read/loading.ts',
        'const { value, durationMs } = await this.#runLoader(request, plan)\n      const packed = await this.#pack(request, value, durationMs, capture)\n      stopRenewing()',
        'const { value, durationMs } = await this.#early.get(flight)!\n      const packed = await this.#pack(request, value, durationMs, capture)\n      stopRenewing()'
      ),
      edit(
        'src/read/loading.ts',
        '  #aborted = false\n',
        '  #aborted = false\n  readonly #early = new WeakMap<Flight, Promise<Loaded>>()\n'
      )
    ],
    tests: [READS]
  },
  {
    invariant: 'I3',
    without: 'an invalidation leaves the lease of a load that is under way',
    edits: [
      edit(
        'src/tiers/local-store.ts',
        'return keys.filter((key) => this.#delete(key)).length',
        `return keys.filter((key) => {
      const header = readHeader(this.#entries.get(key) ?? Buffer.alloc(0))
      return typeof header === 'object' && header.state === 'hold' ? false : this.#delete(key)
    }).length`
      )
    ],
    tests: [READS]
  },
  {
    invariant: 'I4',
    without: 'a lease is granted to whoever asks',
    edits: [
      edit(
        'src/tiers/local-store.ts',
        "if (header.state === 'hold' && !force) {\n      return { kind: 'held', leftMs: this.#lifeOf(key), by: 'loader', seenStands: false }\n    }",
        "if (header.state === 'hold') return this.#hold(key, token, leaseMs)"
      )
    ],
    tests: [READS]
  },
  {
    invariant: 'I4',
    without: 'the script grants a lease to whoever asks',
    edits: [edit('src/redis/lua/take-lease.lua', 'return { 2, life_ms, 0 }', 'return hold()')],
    tests: [SCRIPTS]
  },
  {
    invariant: 'I4',
    without: 'the script grants a refresh to whoever asks',
    edits: [edit('src/redis/lua/take-lease.lua', 'return { 2, left, 1 }', '')],
    tests: [SCRIPTS]
  },
  {
    invariant: 'I4',
    without: 'a lease is not renewed while its loader runs',
    edits: [
      edit(
        'src/read/lease-keeper.ts',
        'const kept = await store.renewLease(key, token, leaseMs).catch(unknown)',
        'const kept = await Promise.resolve(true).catch(unknown)'
      )
    ],
    tests: [READS]
  },
  {
    invariant: 'I5',
    without: 'everybody who joined a flight gets what it brought home',
    edits: [edit('src/read/flight.ts', 'ticket < validBelow ? give?.() : undefined', 'give?.()')],
    tests: [READS]
  },
  {
    invariant: 'I5',
    without: 'who joins while the fill is under way gets its value',
    edits: [
      edit(
        'src/read/settling.ts',
        'isCurrent ? flight.marked : cameBeforeLoad)',
        'isCurrent ? Number.POSITIVE_INFINITY : cameBeforeLoad)'
      )
    ],
    tests: [READS]
  },
  {
    invariant: 'I5',
    without: 'a refused fill counts as a stored one for who joined while it loaded',
    edits: [
      edit(
        'src/read/settling.ts',
        'return await landingOf(packed, 0, cameBeforeLoad)',
        'return await landingOf(packed, 0, flight.marked)'
      )
    ],
    tests: [READS]
  },
  {
    invariant: 'I5',
    without: 'a read joins one that has been sent',
    edits: [
      edit(
        'src/redis/read-batch.ts',
        'const joined = this.#pending.get(key)\n    if (joined !== undefined) return joined.promise\n',
        `const joined = this.#pending.get(key)?.promise ?? this.#sent.get(key)
    if (joined !== undefined) return joined
`
      ),
      edit(
        'src/redis/read-batch.ts',
        'this.#pending.set(key, { question, promise, resolve, reject })',
        `this.#pending.set(key, { question, promise, resolve, reject })
    this.#sent.set(key, promise)
    const over = (): void => void this.#sent.delete(key)
    promise.then(over, over)`
      ),
      edit(
        'src/redis/read-batch.ts',
        '  #underWay = 0\n',
        '  #underWay = 0\n  readonly #sent = new Map<string, Promise<T>>()\n'
      )
    ],
    tests: [READS]
  },
  {
    invariant: 'I5',
    without: 'an old value that was dropped is still there to fall back on',
    edits: [
      edit(
        'src/read/loading.ts',
        "if ('seenStands' in answer && !answer.seenStands) fallback = undefined",
        ''
      )
    ],
    tests: [INTERLEAVED]
  },
  {
    invariant: 'I5',
    without: 'an old value is fallen back on although the lease was lost while the load failed',
    edits: [edit('src/read/settling.ts', " || outcome === 'lost') throw error", ') throw error')],
    tests: [INTERLEAVED]
  },
  {
    invariant: 'I5',
    without: 'a process does not leave the flights that its own invalidation makes wrong',
    edits: [edit('src/read/reader.ts', 'this.#parts.loading.detach(key)\n', '')],
    tests: [READS]
  },
  {
    invariant: 'I5',
    without: 'a process reads what it knows to be wrong, and Redis does not know yet',
    edits: [
      edit(
        'src/write/pending-invalidations.ts',
        'return this.#keys.size > 0 && this.#keys.has(key)',
        'return this.#keys.size > 1e9 && this.#keys.has(key)'
      )
    ],
    tests: [READS]
  },
  {
    invariant: 'I5',
    without: 'a value is served whatever was cleared since it was loaded',
    edits: [
      edit(
        'src/tiers/generation.ts',
        'if (print === undefined || value.hardHigh !== print.hardHigh || value.hardLow !== print.hardLow)\n    return OUTDATED\n',
        'if (print === undefined) return OUTDATED\n'
      )
    ],
    tests: [READS]
  },
  {
    invariant: 'I5',
    without: 'a value is served whatever tag of it was invalidated since it was loaded',
    edits: [
      edit(
        'src/tiers/generation.ts',
        'if (cell.hard !== hard || cell.undelivered || cell.guardedUntilMs !== 0) return OUTDATED',
        'if (cell.undelivered || cell.guardedUntilMs !== 0) return OUTDATED'
      )
    ],
    tests: [READS]
  },
  {
    invariant: 'I5',
    without: 'clearing returns while other processes still go by their copies of a counter',
    edits: [
      edit(
        'src/tiers/counter-copies.ts',
        'if (this.#copyMs === 0) return\n',
        'if (this.#copyMs >= 0) return\n'
      )
    ],
    tests: [READS]
  },
  {
    invariant: 'I5',
    without: 'what was loaded before a clear is stored under the generation after it',
    edits: [
      edit(
        'src/read/loading.ts',
        'const packed = await this.#pack(request, value, durationMs, capture)\n      stopRenewing()',
        'const packed = await this.#pack(request, value, durationMs, (await this.#capture(request)) ?? capture)\n      stopRenewing()'
      )
    ],
    tests: [READS]
  },
  {
    invariant: 'I5',
    without: 'what was loaded before a tag was invalidated is stored under the tag after it',
    edits: [
      edit(
        'src/tiers/generation.ts',
        'const isMoved = capture.epoch === undefined || hard === 0 || Math.max(hard, soft) > capture.epoch',
        'const isMoved = capture.epoch === undefined || hard === 0'
      )
    ],
    tests: [READS]
  },
  {
    invariant: 'I5',
    without: 'a stored fill counts as current for who joined it, whatever was cleared while it was loaded',
    edits: [edit('src/read/settling.ts', 'isCurrent ? flight.marked : cameBeforeLoad)', 'flight.marked)')],
    tests: [READS]
  },
  {
    invariant: 'I6',
    without: 'a load has no deadline',
    edits: [
      edit(
        'src/read/load-runner.ts',
        '() => setImmediate(() => controller.abort(late()))',
        '() => setImmediate(() => late())'
      )
    ],
    tests: [READS]
  },
  {
    invariant: 'I6',
    without: 'calls under way wait on for their own deadlines once it is plain that Redis says nothing',
    edits: [edit('src/redis/link.ts', "this.#patience.end(() => new Error('Connection is closed.'))", '')],
    tests: ['test/faults/redis-away.test.ts']
  },
  {
    invariant: 'I6',
    without: 'no timer stands behind the push that wakes a waiter',
    edits: [
      edit(
        'src/read/loading.ts',
        'const timer = setTimeout(goOn, Math.max(1, ms))',
        'const timer = setTimeout(() => undefined, Math.max(1, ms))'
      )
    ],
    tests: [READS]
  },
  {
    invariant: 'I6',
    without: 'a failed load is not remembered',
    edits: [
      edit(
        'src/tiers/local-store.ts',
        "if (holder === 'hold' || isUncacheable(frame)) this.#put(key, frame, lifeMs)",
        "if (holder === 'hold' || isUncacheable(frame)) this.#delete(key)"
      )
    ],
    tests: [READS]
  },
  {
    invariant: 'I6',
    without: 'the script does not remember a failed load',
    edits: [
      edit(
        'src/redis/lua/fail-load.lua',
        "redis.call('SET', key, frame, 'PX', life_ms)",
        "redis.call('DEL', key)"
      )
    ],
    tests: [SCRIPTS]
  },
  {
    invariant: 'W1',
    without: 'a writer puts no guard',
    edits: [
      edit(
        'src/write/guards.ts',
        'this.keys.map((key) => store.guard(key, this.#token, guardMs, false))',
        'this.keys.map((key) => Promise.resolve([store, key, guardMs]))'
      )
    ],
    tests: [WRITES]
  },
  {
    invariant: 'W1',
    without: 'a guard is not renewed while its writer works',
    edits: [
      edit(
        'src/write/guards.ts',
        'this.keys.map((key) => store.guard(key, this.#token, guardMs, true))',
        'this.keys.map((key) => Promise.resolve([store, key, guardMs]))'
      )
    ],
    tests: [WRITES]
  },
  {
    invariant: 'W1',
    without: 'a lease is granted under a guard',
    edits: [
      edit(
        'src/tiers/local-store.ts',
        "return { kind: 'held', leftMs: this.#lifeOf(key), by: 'writer', seenStands: false }",
        'return this.#hold(key, token, leaseMs)'
      )
    ],
    tests: [WRITES]
  },
  {
    invariant: 'W1',
    without: 'the script grants a lease under a guard',
    edits: [
      edit(
        'src/redis/lua/take-lease.lua',
        'if is_guarded(header) and not is_left_behind then return { 5, life_ms, 0 } end',
        ''
      )
    ],
    tests: [SCRIPTS]
  },
  {
    invariant: 'W1',
    without: 'a row is published where the guard is gone',
    edits: [
      edit(
        'src/tiers/local-store.ts',
        'if (isMine && frame !== undefined && isLatest(guard, version, unknown))',
        'if (frame !== undefined && isLatest(guard, version, unknown))'
      )
    ],
    tests: [WRITES]
  },
  {
    invariant: 'W1',
    without: 'the script publishes a row where the guard is gone',
    edits: [
      edit(
        'src/redis/lua/publish-entry.lua',
        "  redis.call('DEL', key)\n  return 0\nend\nremove_writer(guard, index)",
        'else\nremove_writer(guard, index)\nend'
      )
    ],
    tests: [SCRIPTS]
  },
  {
    invariant: 'W1',
    without: 'of overlapping writers, the last to finish publishes its row',
    edits: [
      edit(
        'src/codec/guard-frame.ts',
        'if (!guard.overlapped) return true',
        'if (guard !== NO_GUARD) return true'
      )
    ],
    tests: [WRITES]
  },
  {
    invariant: 'W1',
    without: 'the script lets the last of overlapping writers publish its row',
    edits: [
      edit(
        'src/redis/lua/publish-entry.lua',
        'local latest = not guard.overlapped or ',
        'local latest = true or '
      )
    ],
    tests: [SCRIPTS]
  },
  {
    invariant: 'W1',
    without: 'of overlapping writers, one with a lower version publishes its row',
    edits: [
      edit(
        'src/codec/guard-frame.ts',
        'return version !== undefined && (guard.version === undefined || version > guard.version)',
        'return version !== undefined'
      )
    ],
    tests: [WRITES]
  },
  {
    invariant: 'W1',
    without: 'a writer that is not heard of any more counts as done',
    edits: [edit('src/codec/guard-frame.ts', ' || writers.length < all.length', '')],
    tests: [WRITES]
  },
  {
    invariant: 'W1',
    without: 'the script counts a writer that is not heard of any more as done',
    edits: [
      edit('src/redis/lua/includes/guard.lua', '  if at > WRITERS_AT then guard.unknown = true end\n', '')
    ],
    tests: [SCRIPTS]
  },
  {
    invariant: 'W1',
    without: 'a guard that was not confirmed is published under',
    edits: [
      edit(
        'src/write/writer.ts',
        'RedisUnavailableError) return NOT_GUARDED',
        `RedisUnavailableError) {
        const stand = async ({ scope }: ReadRequest) => [scope, await generations.capture(scope)] as const
        return new Map(await Promise.all(change.requests.map(stand)))
      }`
      )
    ],
    tests: ['test/integration/write.test.ts']
  },
  {
    invariant: 'W1',
    without: 'an invalidation that Redis did not take is forgotten',
    edits: [edit('src/write/guards.ts', 'pending.add(undelivered, moved ? [] : this.#cells(), store)\n', '')],
    tests: ['test/integration/write.test.ts']
  },
  {
    invariant: 'W3',
    without: 'the guard of a write over its deadline is left to run out',
    edits: [
      edit(
        'src/write/writer.ts',
        'if (controller.signal.aborted) this.#keepGuarded(guards, working)',
        'if (controller.signal.aborted) guards.abandon()'
      )
    ],
    tests: [WRITES]
  },
  {
    invariant: 'I4',
    without: 'the script lets anybody renew a lease',
    edits: [
      edit(
        'src/redis/lua/renew-lease.lua',
        'if holds_as_loader(header, token) then',
        'if is_hold(header) then'
      )
    ],
    tests: [SCRIPTS]
  },
  {
    invariant: 'I4',
    without: 'the script lets anybody give a lease back',
    edits: [
      edit(
        'src/redis/lua/release-lease.lua',
        'if holds_as_loader(header, token) then',
        'if is_hold(header) then'
      )
    ],
    tests: [SCRIPTS]
  },
  {
    invariant: 'I5',
    without: 'a clear moves a counter to the clock of Redis, also when that was set back',
    edits: [
      edit(
        'src/redis/lua/includes/generation.lua',
        'counter.hard = math.max(counter.hard + 1, counter.soft + 1, least)',
        'counter.hard = least'
      )
    ],
    tests: [CLOCKS]
  },
  {
    invariant: 'I6',
    without: 'a lease from before the clock of Redis was set back is waited for',
    edits: [
      edit('src/redis/lua/includes/entry-header.lua', '  if left > LEASE_MOST_MS then return 0 end\n', '')
    ],
    tests: [CLOCKS]
  },
  {
    invariant: 'W1',
    without: 'the script renews a guard that is gone',
    edits: [edit('src/redis/lua/guard-entry.lua', '  if renewal then return 0 end\n', '')],
    tests: [SCRIPTS]
  },
  {
    invariant: 'W1',
    without: 'the script stores under a guard what is set by hand',
    edits: [
      edit(
        'src/redis/lua/set-entry.lua',
        'is_foreign(header) or is_guarded(header) or',
        'is_foreign(header) or'
      )
    ],
    tests: [SCRIPTS]
  },
  {
    invariant: 'I5',
    without: 'an older answer about a counter that comes later undoes the newer one',
    edits: [
      edit(
        'src/tiers/generation.ts',
        '    if ((askedAtMs < this.askedAtMs && isNoLater) || (wasUnderWay && isEarlier)) return\n',
        ''
      )
    ],
    tests: ['src/tiers/generation.test.ts']
  },
  {
    invariant: 'I5',
    without: 'a load begins under a tag that was to be moved, and could not be',
    edits: [
      edit(
        'src/tiers/generations.ts',
        '    if (scope.isUndelivered) return undefined\n    await',
        '    await'
      )
    ],
    tests: ['src/tiers/generations.test.ts']
  },
  {
    invariant: 'I5',
    without: 'what was loaded is stored under a tag that was to be moved, and could not be',
    edits: [
      edit(
        'src/tiers/generation.ts',
        'if (isMoved || undelivered || guardedUntilMs !== 0)',
        'if (isMoved || guardedUntilMs !== 0)'
      )
    ],
    tests: ['src/tiers/generations.test.ts']
  }
]

export const MUTATIONS: readonly Mutation[] = [
  ...ENTRY_MUTATIONS,
  ...MEMORY_MUTATIONS,
  ...BEHIND_MUTATIONS,
  ...SHARD_MUTATIONS
]
