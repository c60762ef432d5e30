import { connect, createServer, type AddressInfo, type Socket } from 'node:net'

/** A TCP proxy on 127.0.0.1 that can lose, hold back and delay what it was given. */
export interface Proxy {
  readonly port: number
  /** Bytes that came through from the server, since the start. */
  readonly received: number
  /**
   * From now on the connections of this moment stay open and carry nothing, or nothing in one direction; new ones work.
   */
  swallow(direction?: 'both' | 'to-client' | 'to-server'): void
  /** Where connections that are made from now on lead, as behind a name that was given to another server. */
  leadTo(port: number): void
  /** Whether connections that are made from now on are accepted and then carry nothing. */
  swallowNew(swallows: boolean): void
  /** From now on what the servers say is kept back, until `release`. */
  hold(): void
  /** Hands on what was kept back, a connection after the other, each in one piece. `reversed`: the youngest first. */
  release(reversed?: boolean): void
  /** Whatever the servers say from now on arrives so much later. */
  delay(ms: number): void
  /** Resets every connection of this moment. */
  reset(): void
  stop(): Promise<void>
}

interface Pair {
  readonly client: Socket
  readonly server: Socket
  readonly held: Buffer[]
  toClient: boolean
  toServer: boolean
}

export async function startProxy(firstTargetPort: number): Promise<Proxy> {
  const pairs = new Set<Pair>()
  let targetPort = firstTargetPort
  let swallowsNew = false
  let isHolding = false
  let delayMs = 0
  let received = 0

  const handOn = (pair: Pair, chunk: Buffer): void => {
    if (!pair.toClient) return
    if (delayMs === 0) pair.client.write(chunk)
    else setTimeout(() => pair.client.write(chunk), delayMs)
  }
  const proxy = createServer((client) => {
    const server = connect(targetPort, '127.0.0.1')
    const pair: Pair = { client, server, held: [], toClient: !swallowsNew, toServer: !swallowsNew }
    pairs.add(pair)
    client.on('data', (chunk) => void (pair.toServer && server.write(chunk)))
    server.on('data', (chunk: Buffer) => {
      received += chunk.length
      if (isHolding) pair.held.push(chunk)
      else handOn(pair, chunk)
    })
    for (const socket of [client, server]) {
      socket.setNoDelay(true)
      // The other side ended it: both ends go, as with a network that passes everything on.
      socket.on('error', () => socket.destroy())
      socket.on('close', () => {
        pairs.delete(pair)
        client.destroy()
        server.destroy()
      })
    }
  })
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve))
  return {
    port: (proxy.address() as AddressInfo).port,
    get received() {
      return received
    },
    swallow: (direction = 'both') => {
      for (const pair of pairs) {
        if (direction !== 'to-server') pair.toClient = false
        if (direction !== 'to-client') pair.toServer = false
      }
    },
    leadTo: (port) => {
      targetPort = port
    },
    swallowNew: (swallows) => {
      swallowsNew = swallows
    },
    hold: () => {
      isHolding = true
    },
    release: (reversed = false) => {
      isHolding = false
      const inOrder = reversed ? [...pairs].reverse() : [...pairs]
      for (const pair of inOrder) {
        if (pair.held.length > 0) handOn(pair, Buffer.concat(pair.held.splice(0)))
      }
    },
    delay: (ms) => {
      delayMs = ms
    },
    reset: () => {
      for (const { client } of pairs) client.resetAndDestroy()
    },
    stop: () =>
      new Promise((resolve) => {
        for (const { client, server } of pairs) for (const socket of [client, server]) socket.destroy()
        proxy.close(() => resolve())
      })
  }
}
