import { connect, createServer, type AddressInfo } from 'node:net'
import { openOperator, type OperatorTarget } from '../../src/admin/connect.js'
import { examine } from '../../src/admin/doctor/doctor.js'
import type { Finding } from '../../src/admin/doctor/finding.js'
import type { GatherOptions } from '../../src/admin/doctor/gather.js'

/** What the doctor finds at an address, by id; of the first node when there are several. */
export async function examined(
  url: string,
  options: GatherOptions = {},
  target: Partial<OperatorTarget> = {}
): Promise<Map<string, Finding>> {
  const operator = await openOperator({ url, timeoutMs: 5_000, ...target })
  try {
    const report = await examine(operator, options)
    return new Map(report.nodes[0]!.findings.map((finding) => [finding.id, finding]))
  } finally {
    operator.close()
  }
}

export interface SpoilingProxy extends AsyncDisposable {
  readonly url: string
}

/** Stands between the doctor and a Redis: what it answers comes later, or altered. */
export async function spoilingProxy(
  port: number,
  { delayMs = 0, alter = (reply: Buffer) => reply }: { delayMs?: number; alter?: (reply: Buffer) => Buffer }
): Promise<SpoilingProxy> {
  const proxy = createServer((client) => {
    const server = connect(port, '127.0.0.1')
    client.pipe(server)
    server.on('data', (reply) => setTimeout(() => client.write(alter(reply)), delayMs))
    for (const [socket, other] of [
      [client, server],
      [server, client]
    ] as const) {
      socket.on('error', () => socket.destroy())
      socket.on('close', () => other.destroy())
    }
  })
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve))
  return {
    url: `redis://127.0.0.1:${(proxy.address() as AddressInfo).port}`,
    [Symbol.asyncDispose]: async () => {
      await new Promise((resolve) => proxy.close(resolve))
    }
  }
}
