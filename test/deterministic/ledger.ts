import type { World } from './world.js'

/** What callers are given: a version of the row, and the load or write that it came from. */
export interface Row {
  readonly version: number
  readonly by: string
}

/** One call of a caller that reads, from its start. */
export interface Reading {
  readonly process: string
  readonly key: string
  /** Nothing below these may come out of it: what was over anywhere, and what this process itself had done. */
  readonly floor: number
  readonly ownFloor: number
  /** The least that memory may give out: what this process did, and what was over anywhere for as long as it may take to hear. */
  readonly memoryFloor: number
}

/** One run of a loader. */
interface Load {
  /** Begun without a lease because Redis did not answer: other processes' changes are not heard of meanwhile. */
  readonly isUnheard: boolean
  /** What was over anywhere when it began. */
  readonly floor: number
}

interface Lease {
  readonly token: string
  readonly untilMs: number
  readonly isHold: boolean
}

interface Guard {
  overlapped: boolean
  untilMs: number
}

/** A commit whose guard was already gone: while its writer lives it will delete what is cached, else nobody does. */
interface Unguarded {
  readonly process: { readonly isDead: boolean }
  readonly token: string | undefined
}

/** A change that Redis may never hear of: who made it gave up, or remembers it and dies. */
export interface Untold {
  readonly version: number
  readonly process: { readonly isDead: boolean }
  isGivenUp: boolean
}

/** Timers and rounding: where the store and the ledger may differ on whether something has run out. */
const SLACK_MS = 2
/** After this long memory serves nothing that another process changed: two heartbeats. */
const MEMORY_MS = 2_000

/**
 * What has happened, told in the order in which it happened, and the invariants held against it. It knows nothing of how
 * the engine works: only what was asked of the store and answered, what the source had, and what callers got.
 */
export class Ledger {
  readonly #world: World
  readonly #isCalm: boolean
  /** Committed version of each row. */
  readonly #committed = new Map<string, number>()
  readonly #floors = new Map<string, number>()
  readonly #ownFloors = new Map<string, number>()
  readonly #changes: { process: string; key: string; version: number; atMs: number }[] = []
  readonly #leases = new Map<string, Lease>()
  readonly #guards = new Map<string, Map<string, Guard>>()
  readonly #failedUntil = new Map<string, number>()
  readonly #loads = new Map<string, Load>()
  readonly #sentGuards = new Set<string>()
  readonly #unguarded = new Map<string, Unguarded[]>()
  /** Versions that were committed past the cache, and whose invalidation is not confirmed. */
  readonly #untold = new Map<string, Untold[]>()

  /** @param isCalm nothing breaks, and time passes only while nobody has anything to do: then leases and guards are kept */
  constructor(world: World, isCalm: boolean) {
    this.#world = world
    this.#isCalm = isCalm
  }

  // -- the source ---------------------------------------------------------------------------------------------------

  committed(key: string): number {
    return this.#committed.get(key) ?? 1
  }

  commit(key: string): number {
    const version = this.committed(key) + 1
    this.#committed.set(key, version)
    return version
  }

  /** A commit past the cache: until it is invalidated, what is cached may be old. */
  commitUntold(key: string, process: Untold['process']): Untold {
    const untold = { version: this.commit(key), process, isGivenUp: false }
    this.#untold.set(key, [...(this.#untold.get(key) ?? []), untold])
    return untold
  }

  /** Whoever made that change was told that Redis has confirmed its invalidation. */
  isTold(key: string, { version }: Untold): void {
    const left = (this.#untold.get(key) ?? []).filter((one) => one.version > version)
    this.#untold.set(key, left)
  }

  /** A guard that was asked for, whether or not Redis has run it. Who changed nothing before has not asked. */
  guardSent(key: string, token: string): void {
    this.#sentGuards.add(`${key} ${token}`)
  }

  /** A commit of a write-through: is its guard still there? */
  committedByWriter(key: string, token: string | undefined, process: Unguarded['process']): void {
    const guard = this.#guards.get(key)?.get(token ?? '')
    if (guard !== undefined && guard.untilMs > this.#world.time.nowMs) return
    if (this.#isCalm && guard !== undefined)
      this.#world.violated('W1', `a commit of ${key} whose guard ran out, and nothing was amiss`)
    if (!this.#sentGuards.has(`${key} ${token}`)) return
    const others = this.#unguarded.get(key) ?? []
    this.#unguarded.set(key, [...others, { process, token }])
  }

  // -- the store, as it ran each step --------------------------------------------------------------------------------

  granted(key: string, token: string, leaseMs: number, force: boolean, isHold: boolean): void {
    const now = this.#world.time.nowMs
    const lease = this.#leases.get(key)
    const isHeld = lease !== undefined && lease.token !== token && lease.untilMs > now + SLACK_MS
    const isHeldBySame = lease !== undefined && lease.token === token && lease.untilMs > now && !force
    if (isHeld && !force)
      this.#world.violated(
        'I4',
        `a second lease on ${key} while ${lease.token} has ${lease.untilMs - now} ms left`
      )
    if (this.#isCalm && !force && lease !== undefined && lease.token !== token && !isHeld)
      this.#world.violated('I4', `the lease of ${lease.token} on ${key} ran out, and nothing was amiss`)
    if (!force && (this.#failedUntil.get(key) ?? 0) > now + SLACK_MS)
      this.#world.violated('I6', `a lease on ${key} while its failed load is remembered`)
    for (const guard of this.#guards.get(key)?.values() ?? []) {
      if (guard.untilMs > now + SLACK_MS)
        this.#world.violated('W1', `a lease on ${key} under a standing guard`)
    }
    this.#failedUntil.delete(key)
    // Who asks again gets the lease that stands, as it stands.
    const untilMs = isHeldBySame ? lease.untilMs : now + leaseMs
    this.#leases.set(key, { token, untilMs, isHold })
  }

  renewed(key: string, token: string, leaseMs: number): void {
    const lease = this.#leases.get(key)
    if (lease?.token !== token)
      return this.#world.violated('I1', `${token} renewed a lease on ${key} that was void`)
    this.#leases.set(key, { ...lease, untilMs: this.#world.time.nowMs + leaseMs })
  }

  filled(key: string, token: string, version: number | undefined): void {
    const lease = this.#leases.get(key)
    if (lease?.token !== token)
      this.#world.violated('I1', `${token} filled ${key} under a lease that was void`)
    else if (lease.isHold && lease.untilMs + SLACK_MS < this.#world.time.nowMs)
      this.#world.violated('I1', `${token} filled ${key} after its lease had run out`)
    this.#stored(key, version)
  }

  failed(key: string, token: string, lifeMs: number): void {
    const lease = this.#leases.get(key)
    if (lease?.token !== token)
      this.#world.violated('I1', `${token} marked ${key} failed under a lease that was void`)
    this.#leases.delete(key)
    // A value whose refresh failed may end before its pause does, and then its absence is nobody's failure.
    if (lease?.isHold === true) this.#failedUntil.set(key, this.#world.time.nowMs + lifeMs)
  }

  released(key: string): void {
    this.#leases.delete(key)
  }

  guarded(key: string, token: string, lifeMs: number): void {
    const untilMs = this.#world.time.nowMs + lifeMs
    const guards = this.#guards.get(key) ?? new Map<string, Guard>()
    const others = this.#othersStanding(key, token)
    this.#void(key)
    for (const other of others) other.overlapped = true
    guards.set(token, { overlapped: guards.get(token)?.overlapped === true || others.length > 0, untilMs })
    this.#guards.set(key, guards)
    this.#untold.delete(key)
    this.#unguarded.delete(key)
  }

  /** @param isVersioned whether the row told its version to the cache */
  published(
    key: string,
    token: string,
    version: number | undefined,
    isVersioned: boolean,
    stored: boolean
  ): void {
    const others = this.#othersStanding(key, token)
    const guard = this.#guards.get(key)?.get(token)
    const isGone = guard === undefined || guard.untilMs + SLACK_MS < this.#world.time.nowMs
    this.#guards.get(key)?.delete(token)
    const unguarded = this.#unguarded.get(key)
    if (unguarded !== undefined)
      this.#unguarded.set(
        key,
        unguarded.filter((one) => one.token !== token)
      )
    if (!stored) {
      if (others.length === 0) this.dropped(key)
      return
    }
    if (isGone) this.#world.violated('W1', `${token} published ${key} without a guard`)
    else if (others.length > 0)
      this.#world.violated('W1', `${token} published ${key} under another writer's guard`)
    else if (guard.overlapped && !isVersioned)
      this.#world.violated('W1', `${token} published ${key} though another writer was there, with no version`)
    this.#void(key)
    this.#stored(key, version)
  }

  /** A DEL, an eviction, a flush: whatever was there is void. */
  dropped(key: string): void {
    this.#void(key)
    this.#guards.delete(key)
    this.#unguarded.delete(key)
    this.#untold.delete(key)
  }

  // -- loads --------------------------------------------------------------------------------------------------------

  loadBegins(load: string, key: string, isUnheard: boolean): void {
    this.#loads.set(`${load} ${key}`, { isUnheard, floor: this.floorOf(key) })
  }

  // -- callers ------------------------------------------------------------------------------------------------------

  floorOf(key: string): number {
    return this.#floors.get(key) ?? 1
  }

  /** From now on nobody gets less than `version`; the memory of processes other than this, a while from now. */
  isOver(process: string, key: string, version: number): void {
    this.#floors.set(key, Math.max(this.floorOf(key), version))
    this.#changes.push({ process, key, version, atMs: this.#world.time.nowMs })
  }

  /** The same, for this process alone: Redis has not been told. */
  isOverFor(process: string, key: string, version: number): void {
    const name = `${process} ${key}`
    this.#ownFloors.set(name, Math.max(this.#ownFloors.get(name) ?? 1, version))
  }

  begin(process: string, key: string): Reading {
    const ownFloor = this.#ownFloors.get(`${process} ${key}`) ?? 1
    const heardUntilMs = this.#world.time.nowMs - MEMORY_MS - SLACK_MS
    const known = this.#changes.filter(
      (one) => one.key === key && (one.process === process || one.atMs < heardUntilMs)
    )
    const memoryFloor = Math.max(ownFloor, ...known.map(({ version }) => version))
    return { process, key, floor: this.floorOf(key), ownFloor, memoryFloor }
  }

  /** A read has its answer. */
  got(reading: Reading, row: Row | undefined, source: string): void {
    const { key, process } = reading
    const version = row?.version ?? 0
    const load = row && this.#loads.get(`${row.by} ${key}`)
    // What was loaded without a lease is never stored, so it comes from no other place.
    const isUnheard = (source === 'loader' || source === 'many') && load?.isUnheard === true
    this.#world.count(isUnheard ? 'read without Redis' : `read from ${source}`)
    const floor =
      source === 'memory'
        ? reading.memoryFloor
        : Math.max(reading.ownFloor, isUnheard ? load.floor : reading.floor)
    if (source === 'memory' && version < reading.floor) this.#world.count('old from memory, within its bound')
    const what = `${process} read ${key} v${version} (${source}, ${row?.by})`
    if (version > this.committed(key) || version < 1)
      this.#world.violated('no phantom', `${what}, which no commit made`)
    else if (version < floor)
      this.#world.violated(
        source === 'memory' ? 'M2, M3' : 'W1, I5',
        `${what}; v${floor} was over ${source === 'memory' ? 'too long ' : ''}before it began`
      )
    else this.#world.note(what)
  }

  /** Whether what is cached may be old for its TTL: the limits that docs/guides/write-through.md states. */
  mayStayOld(key: string): boolean {
    const isUntold = ({ process, isGivenUp }: Untold): boolean => isGivenUp || process.isDead
    if ((this.#untold.get(key) ?? []).some(isUntold)) return true
    return (this.#unguarded.get(key) ?? []).some(({ process }) => process.isDead)
  }

  #stored(key: string, version: number | undefined): void {
    if (version !== undefined && version > this.committed(key))
      this.#world.violated('W2', `${key} v${version} is cached, and not committed`)
    this.#leases.delete(key)
    this.#failedUntil.delete(key)
  }

  #void(key: string): void {
    this.#leases.delete(key)
    this.#failedUntil.delete(key)
  }

  /** Guards of others that stand without a doubt; one that runs out in this very moment may be seen either way. */
  #othersStanding(key: string, token: string): Guard[] {
    return [...(this.#guards.get(key) ?? [])]
      .filter(([other, { untilMs }]) => other !== token && untilMs > this.#world.time.nowMs)
      .map(([, guard]) => guard)
  }
}
