import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import type { RedisServer } from '../support/redis-server.js'
import { nowUs } from './history.js'

/** From when the new master was still known to be a replica, until all is whole again. */
export interface Failover {
  readonly from: number
  to: number
}

const POLL_MS = 100
const ANSWER_MS = 1_000

/**
 * Tells of each replica that becomes a master, whoever ordered it. On a busy machine a master that stood still for a
 * moment is replaced now and then, and what it confirmed may be lost as in any other failover.
 *
 * @param whole resolves when all follow the new master
 */
export function watchFailovers(
  servers: readonly RedisServer[],
  whole: () => Promise<void>,
  tell: (failover: Failover) => void
): AsyncDisposable {
  const watched = servers.map((server) => new WatchedServer(server))
  let isOver = false
  const run = async (): Promise<void> => {
    while (!isOver) {
      const risen = await Promise.all(watched.map((server) => server.roseFrom()))
      const from = Math.min(...risen.filter((at) => at !== undefined))
      if (from < Infinity) {
        const failover: Failover = { from, to: Infinity }
        tell(failover)
        failover.to = await whole().then(nowUs, () => Infinity)
      }
      await sleep(POLL_MS)
    }
  }
  const running = run()
  return {
    [Symbol.asyncDispose]: async () => {
      isOver = true
      await running
      for (const server of watched) server.close()
    }
  }
}

class WatchedServer {
  readonly #client: Redis
  /** When it was last asked and said that it is a replica; undefined once it is a master. */
  #replicaAt: number | undefined

  constructor({ host, port }: RedisServer) {
    this.#client = new Redis({
      host,
      port,
      commandTimeout: ANSWER_MS,
      maxRetriesPerRequest: 0,
      retryStrategy: () => POLL_MS
    })
    this.#client.on('error', () => undefined) // It is down; asked again.
  }

  /** When it was last known to be a replica, if it has become a master since. */
  async roseFrom(): Promise<number | undefined> {
    const askedAt = nowUs()
    const role = await this.#client.call('ROLE').then(
      (answer) => (answer as [string])[0],
      () => undefined
    )
    if (role === undefined) return undefined
    const before = this.#replicaAt
    this.#replicaAt = role === 'slave' ? askedAt : undefined
    return role === 'master' ? before : undefined
  }

  close(): void {
    this.#client.disconnect()
  }
}
