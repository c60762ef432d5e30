import { setTimeout as sleep } from 'node:timers/promises'
import type { FaultyProxy } from './faulty-proxy.js'
import type { ServerFault } from './topology.js'

/** What goes wrong on the way of one process to its Redis. */
export function proxyFaults(proxies: readonly FaultyProxy[], where = ''): ServerFault[] {
  const through = (
    what: string,
    weight: number,
    strike: (proxy: FaultyProxy) => void,
    longestMs: number
  ): ServerFault => ({
    what: `${what}${where}`,
    weight,
    mayLoseGuards: true,
    strike: async (random) => {
      const proxy = proxies[Math.floor(random() * proxies.length)]!
      strike(proxy)
      await sleep(longestMs * random())
      proxy.heal()
    }
  })
  return [
    through('a slow connection', 2, (proxy) => proxy.delay(25), 1_500),
    through('a connection slower than the deadline', 2, (proxy) => proxy.delay(400), 1_500),
    through('a connection that loses what is asked', 2, (proxy) => proxy.hole('to-server'), 1_500),
    through('a connection that loses what is answered', 3, (proxy) => proxy.hole('from-server'), 1_500),
    through('a connection reset', 2, (proxy) => proxy.reset(), 10),
    through('an answer lost with its connection', 4, (proxy) => proxy.loseReply(), 10)
  ]
}
