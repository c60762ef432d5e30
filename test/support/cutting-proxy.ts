import { connect, createServer, type AddressInfo } from 'node:net'

/** A TCP proxy on 127.0.0.1 that loses the answer to one request, and the connection with it. */
export interface CuttingProxy {
  readonly port: number
  /** The next request that contains the text is passed on, and its answer is not. Resolves when that has happened. */
  loseAnswerTo(text: string): Promise<void>
  /** The same, unless no such request comes in time. Answers whether one came; later ones have their answer. */
  loseAnswerWithin(ms: number, text: string): Promise<boolean>
  stop(): Promise<void>
}

export async function startCuttingProxy(targetPort: number): Promise<CuttingProxy> {
  const open = new Set<() => void>()
  let armed: { readonly text: string; readonly done: () => void } | undefined
  const proxy = createServer((client) => {
    const server = connect(targetPort, '127.0.0.1')
    let isCut = false
    const end = (): void => {
      open.delete(end)
      client.destroy()
      server.destroy()
    }
    open.add(end)
    client.on('data', (bytes) => {
      if (armed !== undefined && bytes.includes(armed.text)) {
        isCut = true
        armed.done()
        armed = undefined
      }
      server.write(bytes)
    })
    server.on('data', (bytes) => {
      // The answer shows that the request was carried out.
      if (isCut) end()
      else client.write(bytes)
    })
    for (const socket of [client, server]) {
      socket.on('error', end)
      socket.on('close', end)
    }
  })
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve))
  const loseAnswerTo = (text: string): Promise<void> =>
    new Promise((done) => {
      armed = { text, done }
    })
  return {
    port: (proxy.address() as AddressInfo).port,
    loseAnswerTo,
    loseAnswerWithin: async (ms, text) => {
      let timer: NodeJS.Timeout | undefined
      const late = new Promise<false>((resolve) => {
        timer = setTimeout(() => {
          armed = undefined
          resolve(false)
        }, ms)
      })
      const isLost = await Promise.race([loseAnswerTo(text).then(() => true), late])
      clearTimeout(timer)
      return isLost
    },
    stop: () =>
      new Promise((resolve) => {
        for (const end of open) end()
        proxy.close(() => resolve())
      })
  }
}
