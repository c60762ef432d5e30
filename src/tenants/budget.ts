import type { Clock } from '../clock.js'
import { RedisUnavailableError } from '../errors.js'
import { tenantPart } from '../keys/key-schema.js'
import type { BudgetPolicy } from '../options.js'
import type { TenantId } from '../ports.js'
import type { EntryStore } from '../tiers/entry-store.js'
import type { FillGate } from '../tiers/fill-gate.js'
import type { ReadRequest } from '../tiers/request.js'
import type { UsageLedger } from '../tiers/usage-ledger.js'
import { bytesOf, measureTenants } from './usage.js'

/** How often processes tell each other what they have stored. */
const SHARE_EVERY_MS = 1_000
/** While a turn lasts. */
const TURN_KEPT_TIMES = 3

export interface BudgetParts {
  readonly store: EntryStore
  readonly ledger: UsageLedger
  readonly clock: Clock
  readonly namespace: string
}

/**
 * Keeps a tenant from storing more than its budget; beyond it its values are returned and not stored, and only it
 * feels that. Refusing costs nothing; evicting the tenant's own least used entries would take an index of them, and a
 * command for every hit. See docs/decisions/0015-tenant-budgets.md.
 *
 * What a tenant takes is an estimate from above: one process in the fleet counts all entries every `recountEveryMs`, and
 * until then every process adds what it stored since, and takes off again what has expired of that.
 */
export class TenantBudget implements FillGate {
  readonly #policy: BudgetPolicy
  readonly #parts: BudgetParts
  /** Of tenants that this process has stored for since the last count. */
  readonly #accounts = new Map<string, Account>()
  readonly #timer: NodeJS.Timeout
  #countedAt = ''
  #sharing: Promise<void> | undefined
  /** A count may take minutes: what others store is learnt meanwhile as ever. */
  #isCounting = false
  #turnKeptAtMs = 0
  #closed = false

  constructor(policy: BudgetPolicy, parts: BudgetParts) {
    this.#policy = policy
    this.#parts = parts
    this.#timer = setInterval(() => this.#share(), SHARE_EVERY_MS)
    this.#timer.unref()
  }

  reserve({ key, tenant }: Stored, valueBytes: number): boolean {
    if (tenant === undefined) return true
    const account = this.#accountOf(tenant)
    const bytes = bytesOf(key, valueBytes)
    const isWithin = account.knownBytes + account.unsharedBytes + bytes <= this.#policy.maxBytesOf(tenant)
    // Not `>`: what a function answers that is no number admits nothing.
    if (!isWithin) return false
    account.unsharedBytes += bytes
    return true
  }

  stored({ key, tenant }: Stored, valueBytes: number, lifeMs: number): void {
    if (tenant === undefined || lifeMs >= this.#policy.recountEveryMs) return
    const { ending } = this.#accountOf(tenant)
    const endsAt = Math.ceil((this.#parts.clock.now() + lifeMs) / SHARE_EVERY_MS)
    ending.set(endsAt, (ending.get(endsAt) ?? 0) + bytesOf(key, valueBytes))
  }

  giveBack({ key, tenant }: Stored, valueBytes: number): void {
    if (tenant !== undefined) this.#accountOf(tenant).unsharedBytes -= bytesOf(key, valueBytes)
  }

  async close(): Promise<void> {
    this.#closed = true
    clearInterval(this.#timer)
    // Not for a count, which ends at its next page.
    await this.#sharing
  }

  #accountOf(tenant: TenantId): Account {
    const part = tenantPart(tenant)
    const known = this.#accounts.get(part)
    if (known !== undefined) {
      known.isInUse = true
      return known
    }
    const account: Account = { isInUse: true, knownBytes: 0, unsharedBytes: 0, ending: new Map() }
    this.#accounts.set(part, account)
    // What others have stored for it is known within this round trip, not within a second.
    this.#share()
    return account
  }

  #share(): void {
    if (this.#closed) return
    this.#sharing ??= this.#exchange()
      .catch(unshared)
      .finally(() => {
        this.#sharing = undefined
      })
  }

  async #exchange(): Promise<void> {
    // After the callers of this turn have had their say.
    await Promise.resolve()
    const { ledger } = this.#parts
    if (this.#accounts.size === 0) return
    const changes = new Map([...this.#accounts].map(([part, account]) => [part, this.#changeOf(account)]))
    // It counts here until the ledger has it, or a tenant would have all of its room again for the way there.
    const { bytes, countedAt } = await ledger.update(changes)
    for (const [part, account] of this.#accounts) {
      account.unsharedBytes -= changes.get(part) ?? 0
      account.knownBytes = bytes.get(part) ?? account.knownBytes
    }
    if (countedAt !== this.#countedAt) this.#forgetBefore(countedAt)
    if (this.#closed || this.#isCounting || !(await ledger.isMyTurn(this.#policy.recountEveryMs))) return
    this.#isCounting = true
    this.#turnKeptAtMs = this.#parts.clock.now()
    void this.#recount()
      .catch(unshared)
      .finally(() => {
        this.#isCounting = false
      })
  }

  /** What has to be told, with what has expired taken off. */
  #changeOf(account: Account): number {
    const now = this.#parts.clock.now() / SHARE_EVERY_MS
    for (const [endsAt, bytes] of account.ending) {
      if (endsAt > now) continue
      account.unsharedBytes -= bytes
      account.ending.delete(endsAt)
    }
    return account.unsharedBytes
  }

  /** A count has taken everything in: what was stored before it must not be taken off any more. */
  #forgetBefore(countedAt: string): void {
    this.#countedAt = countedAt
    for (const [part, account] of this.#accounts) {
      account.ending.clear()
      // Asked for again when it is used again: a process may see many tenants pass.
      if (!account.isInUse) this.#accounts.delete(part)
      account.isInUse = false
    }
  }

  async #recount(): Promise<void> {
    const { store, namespace, ledger, clock } = this.#parts
    if (this.#closed) return
    // What is told while it counts is added to the outcome: the estimate stays one from above.
    const { bytes: before, countedAt: since } = await ledger.all()
    const usages = await measureTenants(store, namespace, () => this.#goesOn())
    if (usages === undefined) return
    const corrections = new Map<string, number>()
    for (const part of new Set([...before.keys(), ...usages.keys()])) {
      corrections.set(part, (usages.get(part)?.bytes ?? 0) - (before.get(part) ?? 0))
    }
    await ledger.correct(corrections, { since, countedAt: `${store.nowMs()}-${clock.random()}` })
  }

  /** Of many millions of keys it takes longer than a turn lasts, and it would be several processes that count. */
  async #goesOn(): Promise<boolean> {
    const { ledger, clock } = this.#parts
    const { recountEveryMs } = this.#policy
    if (this.#closed) return false
    if (clock.now() - this.#turnKeptAtMs < recountEveryMs / TURN_KEPT_TIMES) return true
    this.#turnKeptAtMs = clock.now()
    await ledger.keepTurn(recountEveryMs)
    return !this.#closed
  }
}

type Stored = Pick<ReadRequest, 'key' | 'tenant'>

interface Account {
  /** Since the last count. */
  isInUse: boolean
  /** As the fleet has it. */
  knownBytes: number
  /** Stored by this process since it last told. */
  unsharedBytes: number
  /** Of what this process stored since the last count: what expires when, in units of SHARE_EVERY_MS. */
  readonly ending: Map<number, number>
}

/** The store has reported it; the next round tells it all. */
function unshared(error: unknown): void {
  if (!(error instanceof RedisUnavailableError)) throw error
}
