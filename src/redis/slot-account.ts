export const SLOTS = 16_384

/**
 * What a node of a Cluster says of itself. Only that counts: where slots are being moved is known to the two nodes alone,
 * and what a node says of others may be old.
 */
export interface SlotAccount {
  readonly id: string
  /** Raised whenever it takes a slot, or takes over from another node. */
  readonly epoch: number
  readonly owns: ReadonlySet<number>
  /** Slots that are just being moved to another node, by that one's id. */
  readonly gives: ReadonlyMap<number, string>
  /** Slots that are just being moved here, by the id of the node that has them. */
  readonly takes: ReadonlyMap<number, string>
}

/** What it says of another node. */
export interface Hearsay {
  readonly id: string
  /** As `host:port`. */
  readonly address: string
  readonly epoch: number
  readonly owns: ReadonlySet<number>
  /** Those that answer say so. */
  readonly isLost: boolean
}

/** Pure: the reply to CLUSTER NODES. */
export function readAccount(reply: string): { own: SlotAccount; others: Hearsay[] } {
  let own: SlotAccount | undefined
  const others: Hearsay[] = []
  for (const line of reply.split('\n')) {
    const [id, where, flagList, , , , epochText, , ...slots] = line.trim().split(' ')
    if (id === undefined || where === undefined || flagList === undefined) continue
    const flags = flagList.split(',')
    const isPrimary = flags.includes('master')
    const owns = isPrimary ? slotsOf(slots) : new Set<number>()
    const epoch = Number(epochText)
    if (flags.includes('myself')) {
      const [gives, takes] = [marksOf(slots, '->-'), marksOf(slots, '-<-')]
      own = { id, epoch, owns, gives: isPrimary ? gives : NONE, takes: isPrimary ? takes : NONE }
    } else {
      const isLost = flags.includes('fail') || flags.includes('noaddr')
      others.push({ id, address: addressIn(where), epoch, owns, isLost })
    }
  }
  if (own === undefined) throw new Error('CLUSTER NODES does not say which node it is of')
  return { own, others }
}

/** Pure: the nodes that have to be asked as well before it is known who has every slot. */
export function notAskedYet(accounts: readonly SlotAccount[], hearsay: readonly Hearsay[]): Hearsay[] {
  const claimed = new Map<number, number>()
  for (const { owns, epoch } of accounts)
    for (const slot of owns) claimed.set(slot, Math.max(epoch, claimed.get(slot) ?? 0))
  const asked = new Set(accounts.map(({ id }) => id))
  const given = new Set(accounts.flatMap(({ gives }) => [...gives.values()]))
  const needed = new Map<string, Hearsay>()
  for (const node of hearsay) {
    if (asked.has(node.id)) continue
    // Whoever took over from it has a later epoch.
    const hasMore = [...node.owns].some((slot) => (claimed.get(slot) ?? -1) < node.epoch)
    if (hasMore || (given.has(node.id) && !node.isLost)) needed.set(node.id, node)
  }
  return [...needed.values()]
}

/**
 * Pure: in which order to scan nodes so that a key that travels meanwhile is met. Keys of a slot go from the node that
 * gives it to the one that takes it and never back, so who gives is scanned first; and who takes from one that takes
 * itself, once more after that.
 *
 * @param slots those of interest; undefined: all
 */
export function scanOrder(accounts: readonly SlotAccount[], slots?: ReadonlySet<number>): SlotAccount[] {
  const isAsked = (slot: number): boolean => slots === undefined || slots.has(slot)
  const has = ({ owns, takes, gives }: SlotAccount): boolean =>
    [...owns, ...takes.keys(), ...gives.keys()].some(isAsked)
  const involved = accounts.filter(has)
  const takers = involved.filter(({ takes }) => [...takes.keys()].some(isAsked))
  const takerIds = new Set(takers.map(({ id }) => id))
  const again = takers.filter(({ takes }) =>
    [...takes].some(([slot, from]) => isAsked(slot) && takerIds.has(from))
  )
  return [...involved.filter(({ id }) => !takerIds.has(id)), ...takers, ...again]
}

/**
 * Pure: the slots whose keys may have gone from one node to another between two looks. That a slot went away and came
 * back shows in the epoch of its owner.
 */
export function slotsThatMoved(before: readonly SlotAccount[], after: readonly SlotAccount[]): Set<number> {
  const [then, now] = [statesOf(before), statesOf(after)]
  const moved = new Set<number>()
  for (let slot = 0; slot < SLOTS; slot++) if (then[slot] !== now[slot]) moved.add(slot)
  return moved
}

const NONE: ReadonlyMap<number, string> = new Map()

function statesOf(accounts: readonly SlotAccount[]): string[] {
  const states = Array.from({ length: SLOTS }, () => '')
  for (const { id, epoch, owns, gives, takes } of accounts.toSorted((one, other) =>
    one.id < other.id ? -1 : 1
  )) {
    for (const slot of owns) states[slot] += ` ${id} ${epoch}`
    for (const [slot, to] of gives) states[slot] += ` ${id} > ${to}`
    for (const [slot, from] of takes) states[slot] += ` ${id} < ${from}`
  }
  return states
}

/** `0-100 200 [300->-id]`: without those in brackets. */
function slotsOf(fields: readonly string[]): Set<number> {
  const slots = new Set<number>()
  for (const field of fields) {
    const [first, last = first] = field.split('-')
    if (field.startsWith('[') || first === undefined) continue
    for (let slot = Number(first); slot <= Number(last); slot++) slots.add(slot)
  }
  return slots
}

function marksOf(fields: readonly string[], arrow: '->-' | '-<-'): Map<number, string> {
  const marks = fields.filter((field) => field.startsWith('[') && field.includes(arrow))
  return new Map(
    marks.map((mark) => {
      const [slot, id] = mark.slice(1, -1).split(arrow) as [string, string]
      return [Number(slot), id]
    })
  )
}

/** `host:port@bus-port,name`: by its name where it has one, because a certificate may be for that. */
function addressIn(where: string): string {
  const [address = '', name = ''] = where.split(',')
  const [hostAndPort = ''] = address.split('@')
  return name === '' ? hostAndPort : name + hostAndPort.slice(hostAndPort.lastIndexOf(':'))
}
