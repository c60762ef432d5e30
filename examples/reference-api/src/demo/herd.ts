import { once } from 'node:events'
import { request } from 'node:http'
import { connect, type Socket } from 'node:net'

export interface HerdResult {
  readonly requests: number
  readonly answered: number
  /** Left without an answer when their patience was over. */
  readonly gaveUp: number
  /** Answered with another status than 200, or cut off. */
  readonly failed: number
  /** From the common start to the end of each answer; Infinity for those without one. In order, in milliseconds. */
  readonly latenciesMs: readonly number[]
  /** From the common start until the last answer, or until the patience was over. */
  readonly wallMs: number
}

export interface HerdOptions {
  readonly requests: number
  readonly patienceMs: number
  readonly onProgress: (answered: number) => void
  /** Runs when the first has lost its patience, before anyone leaves. */
  readonly onPatienceOver: () => Promise<void>
}

const CONNECTING_AT_ONCE = 200
const PROGRESS_MS = 200

/**
 * Lets many requests hit one page in the same instant. The connections are opened beforehand, in turn over all
 * processes, so that what is measured is the answer and not the handshakes.
 */
export async function releaseHerd(
  urls: readonly string[],
  path: string,
  options: HerdOptions
): Promise<HerdResult> {
  const sockets = await openConnections(urls, options.requests)
  const startedAt = performance.now()
  const latenciesMs: number[] = []
  let failed = 0
  const timer = setInterval(() => options.onProgress(latenciesMs.length), PROGRESS_MS)
  const all = Promise.all(
    sockets.map(async ({ socket, url }) => {
      try {
        const status = await ask(socket, new URL(path, url))
        if (status === 200) latenciesMs.push(performance.now() - startedAt)
        else failed++
      } catch (error) {
        if (!(error instanceof LeftError)) failed++
      }
    })
  )
  let wallMs: number
  try {
    const settled = await settlesWithin(all, options.patienceMs)
    wallMs = performance.now() - startedAt
    if (!settled) {
      await options.onPatienceOver()
      for (const { socket } of sockets) socket.destroy(new LeftError())
      await all
    }
  } finally {
    clearInterval(timer)
  }
  const answered = latenciesMs.length
  const gaveUp = options.requests - answered - failed
  latenciesMs.sort((a, b) => a - b)
  for (let index = answered; index < options.requests; index++) latenciesMs.push(Number.POSITIVE_INFINITY)
  return { requests: options.requests, answered, gaveUp, failed, latenciesMs, wallMs }
}

/** A client's own decision to leave, as opposed to being cut off. */
class LeftError extends Error {}

interface Connection {
  readonly socket: Socket
  readonly url: string
}

async function openConnections(urls: readonly string[], count: number): Promise<Connection[]> {
  const connections: Connection[] = []
  while (connections.length < count) {
    const batch = Array.from(
      { length: Math.min(CONNECTING_AT_ONCE, count - connections.length) },
      async (_, index) => {
        const url = urls[(connections.length + index) % urls.length] ?? ''
        const { hostname, port } = new URL(url)
        const socket = connect({ host: hostname, port: Number(port), noDelay: true })
        // Until the herd is released nobody else listens, and an API that ends meanwhile resets those that wait.
        socket.on('error', () => undefined)
        await once(socket, 'connect')
        return { socket, url }
      }
    )
    connections.push(...(await Promise.all(batch)))
  }
  return connections
}

function ask(socket: Socket, url: URL): Promise<number> {
  return new Promise((resolve, reject) => {
    // A request over one that is gone would wait for an event that has been.
    if (socket.destroyed) return reject(socket.errored ?? new Error('Cut off before the request'))
    request(url, { createConnection: () => socket }, (response) => {
      response.on('end', () => resolve(response.statusCode ?? 0))
      response.on('error', reject)
      response.resume()
    })
      .on('error', reject)
      .end()
  })
}

async function settlesWithin(work: Promise<unknown>, ms: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<false>((resolve) => {
    timer = setTimeout(resolve, ms, false)
  })
  return Promise.race([work.then(() => true), late]).finally(() => clearTimeout(timer))
}
