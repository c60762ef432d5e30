import { once } from 'node:events'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import express, { type NextFunction, type Request, type Response } from 'express'
import { describeProblem, Problem } from './problems.js'
import type { ApiRequest } from './requests.js'
import type { ApiAnswer, Route } from './routes.js'
import { StartError } from './start-error.js'

export interface ApiServer {
  readonly url: string
  /** Takes no new requests, waits for the answers under way. */
  close(): Promise<void>
}

export interface ServeOptions {
  /** 0 or nothing: a free one. */
  readonly port?: number
  readonly host?: string
}

/** Longer than a load balancer in front keeps a connection, so that it is never closed under a request. */
const KEEP_ALIVE_MS = 65_000
const IDLE_CHECK_MS = 20
/** Plenty for what this API is sent. */
const BODY_LIMIT = '16kb'

export async function serve(routes: readonly Route[], options: ServeOptions = {}): Promise<ApiServer> {
  const app = express()
  app.disable('x-powered-by')
  // Answers differ from tenant to tenant; a proxy must not hand one to another.
  app.use((_request, response, next) => {
    response.vary('X-Tenant')
    next()
  })
  const readJson = express.json({ limit: BODY_LIMIT, strict: false })
  for (const route of routes) {
    if (route.method === 'put' || route.method === 'post')
      app[route.method](route.path, refuseOther, readJson)
    app[route.method](route.path, async (request, response) => {
      send(response, await route.handle(toApiRequest(request, response)))
    })
  }
  app.use((request, response) => {
    response.status(404).json({ error: `There is no ${request.method} ${request.path}.` })
  })
  app.use((error: unknown, request: Request, response: Response, _next: NextFunction) => {
    const { status, headers, body } = describeProblem(error)
    if (status === 500 && !response.destroyed)
      console.error(`${request.method} ${request.path} failed:`, error)
    if (response.headersSent) return response.destroy()
    response.status(status).set(headers).json(body)
  })

  const host = options.host ?? '127.0.0.1'
  const server = app.listen(options.port ?? 0, host)
  server.keepAliveTimeout = KEEP_ALIVE_MS
  try {
    await once(server, 'listening')
  } catch (error) {
    throw whyNot(error as NodeJS.ErrnoException, options.port)
  }
  const { port } = server.address() as AddressInfo
  return { url: `http://${host}:${port}`, close: () => close(server) }
}

/** Why it does not listen. */
function whyNot(error: NodeJS.ErrnoException, port: number | undefined): Error {
  if (error.code === 'EADDRINUSE')
    return new StartError(`Port ${port} is in use: set PORT to another, or to 0 for a free one.`)
  if (error.code === 'EACCES')
    return new StartError(`Port ${port} is for root only: set PORT to one above 1023.`)
  return error
}

/** What is no JSON would be ignored by its parser, and look like an empty body. */
function refuseOther(request: Request, _response: Response, next: NextFunction): void {
  // A POST without a body says so in its length.
  const isEmpty = request.method === 'POST' && request.get('content-length') === '0'
  if (!isEmpty && request.is('json') === false)
    throw new Problem(415, 'Send JSON, with "Content-Type: application/json".')
  next()
}

function send(response: Response, answer: ApiAnswer): void {
  response.status(answer.status ?? 200)
  if ('json' in answer) response.json(answer.json)
  else response.type(answer.contentType).send(answer.text)
}

function toApiRequest(request: Request, response: Response): ApiRequest {
  const leaving = new AbortController()
  response.once('close', () => {
    if (!response.writableFinished) leaving.abort(new Error('The client has left'))
  })
  return {
    params: request.params as Record<string, string>,
    query: request.query,
    header: (name) => request.get(name),
    body: request.body as unknown,
    signal: leaving.signal
  }
}

async function close(server: Server): Promise<void> {
  // A connection that has just had its answer is kept alive for the next request, which will not come here.
  const timer = setInterval(() => server.closeIdleConnections(), IDLE_CHECK_MS)
  await new Promise<void>((resolve) => server.close(() => resolve()))
  clearInterval(timer)
}
