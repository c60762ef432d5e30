import { RedisUnavailableError } from '../errors.js'
import type { RedisClient } from './client.js'
import { addressOf } from './cluster-connections.js'
import { troubleOf } from './error-class.js'
import type { RedisLink } from './link.js'
import { addressFor } from './redirection.js'
import { notAskedYet, readAccount, type Hearsay, type SlotAccount } from './slot-account.js'

/** Any connection of a driver to one node has this. */
interface NodeConnection extends RedisClient {
  duplicate(options: { host: string; port: number; lazyConnect: true }): NodeConnection
}

const ACTION = 'ask who has which slots'

/**
 * What the nodes of a Cluster say of themselves, and the connections to them. All are asked at once, so one that is silent
 * holds nobody up; it is missed only when nobody else has what it had.
 */
export class SlotAccounts {
  readonly #link: RedisLink
  readonly #connections = new Map<string, RedisClient>()
  /** To nodes that the driver does not know: one that is just given its first slot. */
  readonly #own = new Map<string, NodeConnection>()

  constructor(link: RedisLink) {
    this.#link = link
  }

  /** Of all that have slots, or are being given one. Rejects when one of them does not tell. */
  async all(): Promise<readonly SlotAccount[]> {
    // A node that was given up since leads nowhere, and another may have its place.
    this.#connections.clear()
    const { client } = this.#link
    const primaries = client.nodes?.('master') ?? []
    const accounts = new Map<string, SlotAccount>()
    const hearsay: Hearsay[] = []
    const ask = async (connections: readonly RedisClient[]): Promise<PromiseSettledResult<string>[]> => {
      const replies = await Promise.allSettled(connections.map((connection) => this.#ask(connection)))
      for (const [index, reply] of replies.entries()) {
        if (reply.status === 'rejected') continue
        const { own, others } = readAccount(reply.value)
        this.#connections.set(own.id, connections[index]!)
        accounts.set(own.id, own)
        hearsay.push(...others)
      }
      return replies
    }
    const asked = await ask(primaries)
    if (accounts.size === 0)
      asked.push(...(await ask((client.nodes?.('all') ?? []).filter((node) => !primaries.includes(node)))))
    const failures = asked.filter((one) => one.status === 'rejected').map(({ reason }) => reason as unknown)
    if (accounts.size === 0) throw failures[0] ?? new RedisUnavailableError(ACTION)
    // One that answers, and does not tell: it may have anything.
    for (const failure of failures) if (!isDown(failure)) throw failure
    for (;;) {
      const missing = notAskedYet([...accounts.values()], hearsay)
      if (missing.length === 0) return [...accounts.values()]
      const replies = await ask(missing.map(({ address }) => this.#at(address)))
      for (const [index, { id, address }] of missing.entries()) {
        const reply = replies[index]!
        if (reply.status === 'rejected') throw reply.reason
        if (accounts.has(id)) continue
        const cause = new Error(`the connection is away: another node answers at ${address}`)
        throw new RedisUnavailableError(ACTION, { cause })
      }
    }
  }

  connectionTo({ id }: SlotAccount): RedisClient {
    return this.#connections.get(id)!
  }

  close(): void {
    for (const connection of this.#own.values()) connection.disconnect()
  }

  /** What one node leaves unanswered says nothing of the others. */
  async #ask(connection: RedisClient): Promise<string> {
    return String(
      await this.#link.call(
        ACTION,
        () => connection.call('CLUSTER', 'NODES'),
        () => false
      )
    )
  }

  #at(told: string): RedisClient {
    const { client } = this.#link
    const address = addressFor(client, told)
    const nodes = (client.nodes?.('all') ?? []) as NodeConnection[]
    const known = nodes.find((node) => addressOf(node) === address) ?? this.#own.get(address)
    if (known !== undefined) return known
    const portAt = address.lastIndexOf(':')
    const [host, port] = [address.slice(0, portAt), Number(address.slice(portAt + 1))]
    const own = nodes[0]!.duplicate({ host, port, lazyConnect: true })
    // What goes wrong shows in the calls.
    own.on('error', () => undefined)
    this.#own.set(address, own)
    return own
  }
}

function isDown(error: unknown): boolean {
  return error instanceof RedisUnavailableError && troubleOf(error.cause).errorClass === 'down'
}
