import { connect, createServer, type AddressInfo, type Socket } from 'node:net'

export type Direction = 'to-server' | 'from-server'

/** A TCP proxy on 127.0.0.1 in which things go wrong. Faults hold for connections of now and of later, until `heal`. */
export interface FaultyProxy {
  readonly port: number
  /** Everything comes so much later, in order. */
  delay(ms: number): void
  /** What goes this way is lost, and nobody is told. Connections that lost something are reset at `heal`, as TCP would not go on. */
  hole(direction: Direction): void
  /** Every connection breaks. */
  reset(): void
  /** The next answer of each connection is lost, and the connection with it: the command has run, its sender does not know. */
  loseReply(): void
  heal(): void
  stop(): Promise<void>
}

interface Pair {
  readonly sockets: readonly Socket[]
  losesReply: boolean
  hasLost: boolean
}

export async function startFaultyProxy(targetPort: number): Promise<FaultyProxy> {
  const pairs = new Set<Pair>()
  const holes = new Set<Direction>()
  let delayMs = 0

  const end = (pair: Pair): void => {
    pairs.delete(pair)
    for (const socket of pair.sockets) socket.destroy()
  }

  const carry = (pair: Pair, from: Socket, to: Socket, direction: Direction): void => {
    from.setNoDelay(true)
    // What is delayed goes ahead of what came after it, also when the delay has ended meanwhile: as TCP keeps order.
    const delayed: { readonly bytes: Buffer; readonly dueAt: number }[] = []
    const goOn = (): void => {
      while (delayed[0] !== undefined && delayed[0].dueAt <= performance.now()) {
        const { bytes } = delayed.shift()!
        if (to.writable) to.write(bytes)
      }
      const [next] = delayed
      if (next !== undefined) setTimeout(goOn, next.dueAt - performance.now())
    }
    const carryLater = (bytes: Buffer): void => {
      delayed.push({ bytes, dueAt: performance.now() + delayMs })
      if (delayed.length === 1) goOn()
    }
    from.on('data', (bytes) => {
      if (holes.has(direction)) {
        pair.hasLost = true
        return
      }
      if (direction === 'from-server' && pair.losesReply) return end(pair)
      if (delayMs === 0 && delayed.length === 0) to.write(bytes)
      else carryLater(bytes)
    })
    from.on('error', () => end(pair))
    from.on('close', () => end(pair))
  }

  const proxy = createServer((client) => {
    const server = connect(targetPort, '127.0.0.1')
    const pair: Pair = { sockets: [client, server], losesReply: false, hasLost: false }
    pairs.add(pair)
    carry(pair, client, server, 'to-server')
    carry(pair, server, client, 'from-server')
  })
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve))

  return {
    port: (proxy.address() as AddressInfo).port,
    delay: (ms) => (delayMs = ms),
    hole: (direction) => holes.add(direction),
    reset: () => {
      for (const pair of pairs) end(pair)
    },
    loseReply: () => {
      for (const pair of pairs) pair.losesReply = true
    },
    heal: () => {
      delayMs = 0
      holes.clear()
      for (const pair of pairs) if (pair.hasLost) end(pair)
    },
    stop: () =>
      new Promise((resolve) => {
        for (const pair of pairs) end(pair)
        proxy.close(() => resolve())
      })
  }
}
