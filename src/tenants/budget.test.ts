import { setImmediate as nextTurn } from 'node:timers/promises'
import { afterEach, describe, expect, it } from 'vitest'
import { LocalStore } from '../tiers/local-store.js'
import { LocalLedger, type LedgerState } from '../tiers/usage-ledger.js'
import { until } from '../../test/support/until.js'
import { TenantBudget } from './budget.js'

const MINUTE_MS = 60_000
const MAX_BYTES = 10_000
const ACME = { key: 'shop:tenant:acme:rows:1', tenant: 'acme' }

let nowMs = 0
const clock = { now: () => nowMs, random: () => 0.5 }

/** What waits until it is let on, one at a time. */
class Gate {
  readonly #waiting: (() => void)[] = []
  #isOpen = false

  async pass(): Promise<void> {
    if (!this.#isOpen) await new Promise<void>((resolve) => this.#waiting.push(resolve))
  }

  isReached(): Promise<void> {
    return until('somebody waits', () => this.#waiting.length > 0)
  }

  async letOn(): Promise<void> {
    await this.isReached()
    this.#waiting.shift()!()
  }

  open(): void {
    this.#isOpen = true
    for (const letOn of this.#waiting.splice(0)) letOn()
  }
}

const gates: Gate[] = []
const opened: TenantBudget[] = []
afterEach(async () => {
  for (const gate of gates.splice(0)) gate.open()
  await Promise.all(opened.splice(0).map((budget) => budget.close()))
  nowMs = 0
})

const newGate = (): Gate => {
  const gate = new Gate()
  gates.push(gate)
  return gate
}

/** Has three pages, each of which comes when it is let on. */
class PagedStore extends LocalStore {
  readonly gate = newGate()
  scans = 0

  override async *scan(): AsyncGenerator<readonly string[]> {
    this.scans++
    for (const page of [[], [], [ACME.key]]) {
      await this.gate.pass()
      yield page
    }
  }
}

/** Takes an update when it is let on. */
class SlowLedger extends LocalLedger {
  readonly gate = newGate()

  override async update(changes: ReadonlyMap<string, number>): Promise<LedgerState> {
    await this.gate.pass()
    return super.update(changes)
  }
}

const open = (store: LocalStore, ledger: LocalLedger): TenantBudget => {
  const policy = { maxBytesOf: () => MAX_BYTES, recountEveryMs: MINUTE_MS }
  const budget = new TenantBudget(policy, { store, ledger, clock, namespace: 'shop' })
  opened.push(budget)
  return budget
}
const openStore = async (): Promise<PagedStore> => {
  const store = new PagedStore(1_000_000, clock)
  await store.set(ACME.key, Buffer.alloc(1_000), 60 * MINUTE_MS)
  return store
}
const notedIn = async (ledger: LocalLedger): Promise<number> => (await ledger.all()).bytes.get('acme') ?? 0

describe('a budget', () => {
  it('counts what is on its way to the ledger', async () => {
    const ledger = new SlowLedger(clock.now)
    const budget = open(await openStore(), ledger)
    expect(budget.reserve(ACME, 6_000)).toBe(true)
    await ledger.gate.isReached()
    expect(budget.reserve(ACME, 6_000)).toBe(false)
    await ledger.gate.letOn()
    await until('it is there', async () => (await notedIn(ledger)) > 6_000)
    await nextTurn()
    expect(budget.reserve(ACME, 6_000)).toBe(false)
  })

  it('is corrected once by two counts that overlap', async () => {
    const ledger = new LocalLedger(clock.now)
    const [one, two] = [await openStore(), await openStore()]
    open(one, ledger).reserve(ACME, 5_000)
    await one.gate.isReached()
    const noted = await notedIn(ledger)
    // The process that counts was stopped for longer than its turn lasts.
    nowMs += 2 * MINUTE_MS
    open(two, ledger).reserve(ACME, 100)
    await two.gate.isReached()
    for (const { gate } of [one, two]) for (let page = 0; page < 3; page++) await gate.letOn()
    // What is there, and what was told while it was counted.
    const there = ACME.key.length + 64 + 1_000
    const told = ACME.key.length + 64 + 100
    expect(noted).toBeGreaterThan(5_000)
    await nextTurn()
    expect(await notedIn(ledger)).toBe(there + told)
  })

  it('is counted by one process, however long that takes, which learns meanwhile what others store', async () => {
    const ledger = new LocalLedger(clock.now)
    const [one, two] = [await openStore(), await openStore()]
    const [counting, other] = [open(one, ledger), open(two, ledger)]
    expect(counting.reserve(ACME, 100)).toBe(true)
    for (let page = 0; page < 2; page++) {
      await one.gate.isReached()
      nowMs += MINUTE_MS - 1
      await one.gate.letOn()
    }
    await one.gate.isReached()
    expect(other.reserve(ACME, 9_000)).toBe(true)
    // It takes no turn when it tells what it stored.
    await until('it is told', async () => (await notedIn(ledger)) > 9_000)
    const hasRoom = (): boolean => {
      const isGranted = counting.reserve(ACME, 5_000)
      if (isGranted) counting.giveBack(ACME, 5_000)
      return isGranted
    }
    await until('it is learnt', () => !hasRoom())
    expect([one.scans, two.scans]).toEqual([1, 0])
    await one.gate.letOn()
  })
})
