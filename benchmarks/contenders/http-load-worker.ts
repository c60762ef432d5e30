/** Those who ask an HTTP API, in a process of their own. */
import { Agent, get } from 'node:http'
import autocannon from 'autocannon'
import { serveCommands } from '../../test/support/processes.js'
import { openLoop } from '../support/open-loop.js'
import { randomOf, zipfIds } from '../support/zipf.js'

export interface HttpAsking {
  readonly port: number
  readonly keys: number
  readonly skew: number
  readonly connections: number
  readonly seconds: number
}

export interface Throughput {
  readonly perSecond: number
  readonly sent: number
  readonly errors: number
}

export interface Latency {
  readonly p50Ms: number
  readonly p99Ms: number
  readonly errors: number
}

const commands = {
  /** Asks for each key, so that whoever caches has it. */
  async warm(port: number, keys: number): Promise<void> {
    for (let id = 0; id < keys; id++) {
      const response = await fetch(`http://127.0.0.1:${port}/products/${id}`)
      const row = (await response.json()) as { id: number }
      if (response.status !== 200 || row.id !== id) throw new Error(`asked for ${id}, got ${response.status}`)
    }
  },

  /** Each connection asks again as soon as it has its answer. */
  async flood({ port, keys, skew, connections, seconds }: HttpAsking): Promise<Throughput> {
    const ids = zipfIds(keys, skew, 2 ** 16, randomOf(1))
    let asked = 0
    const { requests, duration, errors, non2xx, timeouts } = await autocannon({
      url: `http://127.0.0.1:${port}`,
      connections,
      duration: seconds,
      requests: [
        { setupRequest: (request) => ({ ...request, path: `/products/${ids[asked++ % ids.length]}` }) }
      ]
    })
    return { perSecond: requests.total / duration, sent: requests.sent, errors: errors + non2xx + timeouts }
  },

  /** Requests come at their rate, whether those before are answered or not. */
  async steady({ port, keys, skew, connections, seconds }: HttpAsking, perSecond: number): Promise<Latency> {
    const count = seconds * perSecond
    const ids = zipfIds(keys, skew, count, randomOf(1))
    const agent = new Agent({ keepAlive: true, maxSockets: connections })
    const { tookMs, errors } = await openLoop(count, perSecond, (request) =>
      ask(agent, port, `/products/${ids[request]}`)
    )
    agent.destroy()
    tookMs.sort()
    return {
      p50Ms: tookMs[Math.floor(count * 0.5)]!,
      p99Ms: tookMs[Math.floor(count * 0.99)]!,
      errors
    }
  }
}

export type HttpLoadWorker = typeof commands

serveCommands(commands)

function ask(agent: Agent, port: number, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const request = get({ agent, host: '127.0.0.1', port, path }, (response) => {
      response.resume()
      response.once('error', reject)
      response.once('end', () =>
        response.statusCode === 200 ? resolve() : reject(new Error(`status ${response.statusCode}`))
      )
    })
    request.once('error', reject)
  })
}
