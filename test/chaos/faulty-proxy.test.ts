import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, it } from 'vitest'
import { until } from '../support/until.js'
import { startFaultyProxy } from './faulty-proxy.js'

it('a proxy keeps the order of what it carries, also when a delay ends while something is delayed', async () => {
  let received = ''
  let accepted: Socket | undefined
  const server = createServer((socket) => {
    accepted = socket
    socket.setEncoding('utf8').on('data', (text) => (received += String(text)))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const proxy = await startFaultyProxy((server.address() as AddressInfo).port)
  const client = connect(proxy.port, '127.0.0.1').setNoDelay(true)
  await once(client, 'connect')
  let sent = ''
  const send = async (text: string): Promise<void> => {
    sent += text
    client.write(text)
    await sleep(2)
  }
  for (let round = 0; round < 10; round++) {
    proxy.delay(40)
    for (const letter of 'abcde') await send(letter)
    proxy.heal()
    for (const letter of 'fghij') await send(letter)
  }
  await until('all has arrived', () => received.length === sent.length)
  expect(received).toBe(sent)
  client.destroy()
  accepted?.destroy()
  await proxy.stop()
  server.close()
})
