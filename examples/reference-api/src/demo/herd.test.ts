import { once } from 'node:events'
import { createServer, type AddressInfo, type Socket } from 'node:net'
import { expect, it } from 'vitest'
import { releaseHerd } from './herd.js'

it('counts those whose connection is cut while the others still connect', async () => {
  // The backlog has room for 511: when the 101st is let in, most of 1,000 are still connecting.
  const waiting = new Set<Socket>()
  const server = createServer((socket) => {
    socket.on('error', () => undefined)
    if (waiting.size < 100) return void waiting.add(socket)
    for (const one of waiting) one.resetAndDestroy()
    socket.on('data', () => socket.end('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n'))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  try {
    const result = await releaseHerd([`http://127.0.0.1:${(server.address() as AddressInfo).port}`], '/', {
      requests: 1_000,
      patienceMs: 60_000,
      onProgress: () => undefined,
      onPatienceOver: async () => undefined
    })
    expect(result).toMatchObject({ answered: 900, failed: 100, gaveUp: 0 })
  } finally {
    server.close()
  }
})
