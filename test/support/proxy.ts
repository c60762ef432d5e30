import { connect, createServer, type AddressInfo, type Socket } from 'node:net'

/** A TCP proxy on 127.0.0.1 that can lose what it was given. */
export interface Proxy {
  readonly port: number
  /** From now on the connections of this moment stay open and carry nothing; new ones work. */
  swallow(): void
  /** Whether connections that are made from now on are accepted and then carry nothing. */
  swallowNew(swallows: boolean): void
  stop(): Promise<void>
}

export async function startProxy(targetPort: number): Promise<Proxy> {
  const pairs = new Set<readonly [client: Socket, server: Socket]>()
  let swallowsNew = false
  const proxy = createServer((client) => {
    const server = connect(targetPort, '127.0.0.1')
    const pair = [client, server] as const
    pairs.add(pair)
    if (swallowsNew) {
      client.resume()
      server.resume()
    } else {
      client.pipe(server)
      server.pipe(client)
    }
    for (const socket of pair) {
      // The other side ended it: both ends go, as with a network that passes everything on.
      socket.on('error', () => socket.destroy())
      socket.on('close', () => {
        pairs.delete(pair)
        for (const one of pair) one.destroy()
      })
    }
  })
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve))
  return {
    port: (proxy.address() as AddressInfo).port,
    swallow: () => {
      for (const [client, server] of pairs) {
        client.unpipe(server)
        server.unpipe(client)
        client.resume()
        server.resume()
      }
    },
    swallowNew: (swallows) => {
      swallowsNew = swallows
    },
    stop: () =>
      new Promise((resolve) => {
        for (const pair of pairs) for (const socket of pair) socket.destroy()
        proxy.close(() => resolve())
      })
  }
}
