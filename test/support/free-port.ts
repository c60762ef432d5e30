import { randomInt } from 'node:crypto'
import { createServer } from 'node:net'

/**
 * Below the range from which systems draw the ports of outgoing connections (32768 and up on Linux, 49152 on macOS), so
 * that a server can come back on its port while thousands of connections are opened around it. The bus of a Redis Cluster
 * node is 10,000 above its port: that is below that range as well, and above every port that is handed out here, so it
 * meets no other server.
 */
const LOWEST_PORT = 15_000
const HIGHEST_PORT = 22_499
const MAX_ATTEMPTS = 100

/** A TCP port on 127.0.0.1 that was free a moment ago. Another process may take it first: whoever starts a server retries. */
export async function freePort(): Promise<number> {
  for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
    const port = randomInt(LOWEST_PORT, HIGHEST_PORT + 1)
    if (await canListen(port)) return port
  }
  throw new Error(
    `No free port between ${LOWEST_PORT} and ${HIGHEST_PORT} on 127.0.0.1 in ${MAX_ATTEMPTS} attempts`
  )
}

function canListen(port: number): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EADDRINUSE' || error.code === 'EACCES') resolve(false)
      else reject(error)
    })
    server.listen({ port, host: '127.0.0.1', exclusive: true }, () => server.close(() => resolve(true)))
  })
}
