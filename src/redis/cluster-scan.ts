import { RedisUnavailableError } from '../errors.js'
import type { RedisClient } from './client.js'
import { primaryAt } from './cluster-connections.js'
import { troubleOf } from './error-class.js'
import type { RedisLink } from './link.js'
import { scanOrder, slotsThatMoved, SLOTS, type SlotAccount } from './slot-account.js'
import { SlotAccounts } from './slot-accounts.js'

/** A slot changes hands in four steps, and may be met at each of them. */
const MOST_PASSES = 10
const ACTION = 'find every entry'

type Pages = AsyncGenerator<readonly string[]>

export interface ClusterSearch {
  readonly link: RedisLink
  /** Pages through what one node has. */
  readonly scan: (node: RedisClient) => Pages
  readonly slotOf: (key: string) => number
  /** False: once over all nodes is enough, and what travels meanwhile may be missed. */
  readonly isWhole: boolean
}

/** Pages through what all primaries have. Rejects with `RedisUnavailableError` when one that is needed does not tell. */
export async function* scanCluster(search: ClusterSearch): Pages {
  const { link } = search
  const accounts = new SlotAccounts(link)
  try {
    const before = await accounts.all().catch((error: unknown) => {
      if (!isDenied(error)) throw error
      return undefined
    })
    link.nodes?.mayAskForAccount(before !== undefined)
    yield* before === undefined ? scanWhatDriverKnows(search) : scanByAccounts(search, accounts, before)
  } finally {
    accounts.close()
  }
}

/**
 *   1. SCAN is at node B, and done.
 *   2. A slot is moved from A to B, with its keys.
 *   3. SCAN comes to A, and nobody has seen these keys.
 *
 * So the nodes are asked for their slots before and after; what was moved in between is looked for again, and nothing
 * else. Each slot is moved once in a long resharding, so the second pass is mostly the last.
 */
async function* scanByAccounts(
  { scan, slotOf, isWhole }: ClusterSearch,
  accounts: SlotAccounts,
  first: readonly SlotAccount[]
): Pages {
  let before = first
  let slots: ReadonlySet<number> | undefined
  for (let pass = 0; pass < MOST_PASSES; pass++) {
    for (const account of scanOrder(before, slots)) {
      for await (const keys of scan(accounts.connectionTo(account))) {
        const sought = slots
        yield sought === undefined ? keys : keys.filter((key) => sought.has(slotOf(key)))
      }
    }
    if (!isWhole) return
    const after = await accounts.all()
    const moved = slotsThatMoved(before, after)
    slots = slots === undefined ? moved : new Set([...slots].filter((slot) => moved.has(slot)))
    if (slots.size === 0) return
    before = after
  }
  throw noEnd(`${slots!.size} slots of the Cluster were moved in each of ${MOST_PASSES} passes`)
}

/**
 * For a user that may not ask the nodes: the driver knows who has which slots, and not which are on their way. A key that
 * travels past one pass lies where the next one looks, so everything is searched twice, and once more while owners change.
 *
 * Missed is what goes to a node that has no slot before the search and none after it: no driver knows that one.
 */
async function* scanWhatDriverKnows({ link, scan, isWhole }: ClusterSearch): Pages {
  let before = await ownersBySlot(link)
  for (let pass = 0; pass < MOST_PASSES; pass++) {
    for (const owner of new Set(before)) {
      const node = primaryAt(link.client, owner)
      if (node === undefined) throw noEnd(`the connection is away: ${owner} is not known`)
      yield* scan(node)
    }
    if (!isWhole) return
    const after = await ownersBySlot(link)
    const stayed = after.every((owner, slot) => owner === before[slot])
    if (stayed && pass > 0) return
    before = after
  }
  throw noEnd(`slots of the Cluster were moved in each of ${MOST_PASSES} passes`)
}

async function ownersBySlot(link: RedisLink): Promise<readonly string[]> {
  await link.call(
    ACTION,
    (client) =>
      new Promise<void>((resolve, reject) =>
        client.refreshSlotsCache!((error) => (error == null ? resolve() : reject(error)))
      ),
    () => false
  )
  const owners = Array.from({ length: SLOTS }, (_, slot) => link.client.slots?.[slot]?.[0] ?? '')
  const unknown = owners.filter((owner) => owner === '').length
  if (unknown > 0) throw noEnd(`nobody has ${unknown} slots of the Cluster`)
  return owners
}

function noEnd(reason: string): RedisUnavailableError {
  return new RedisUnavailableError(ACTION, { cause: new Error(reason) })
}

function isDenied(error: unknown): boolean {
  return error instanceof RedisUnavailableError && troubleOf(error.cause).errorClass === 'misconfigured'
}
