import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { freePort } from './free-port.js'
import { type GuardedProcess, spawnGuarded } from './guarded-process.js'
import { createTemporaryFolder } from './temporary-folder.js'

export interface RedisServerOptions {
  /** A redis.conf. What it says of saving holds; port, address and folder are the test's own. */
  readonly config?: string
  /** More arguments for redis-server; a later one wins over the defaults. Example: `['--appendonly', 'yes']`. */
  readonly args?: readonly string[]
  /** A fixed port; a free one when left out. */
  readonly port?: number
  /** Another server program that understands the same arguments, such as valkey-server. */
  readonly program?: string
}

/** A private Redis on 127.0.0.1 with its own folder. It ends with this process, however this process ends. */
export interface RedisServer extends AsyncDisposable {
  readonly host: string
  readonly port: number
  readonly url: string
  /** Its working folder: where a dump or an append-only file would lie. */
  readonly folder: string
  readonly pid: number
  readonly running: boolean
  /** The last of what it logged. */
  log(): string
  /** Sends a signal that ends it and waits until it is gone. Port and folder are kept for `restart()`. */
  kill(signal?: 'SIGKILL' | 'SIGTERM' | 'SIGINT'): Promise<void>
  /** Freezes it: connections stay open and nothing answers. */
  pause(): void
  resume(): void
  /** Ends it in order (SIGTERM) if it runs, and starts it on the same port and folder. */
  restart(): Promise<void>
  /** Ends it and removes its folder. Safe to call twice. */
  stop(): Promise<void>
}

const HOST = '127.0.0.1'
const START_TIMEOUT_MS = 20_000
const PORT_ATTEMPTS = 10

export async function startRedisServer(options: RedisServerOptions = {}): Promise<RedisServer> {
  const program = options.program ?? 'redis-server'
  const folder = await createTemporaryFolder('redis')

  const launch = (port: number): Promise<GuardedProcess> => launchRedis(program, port, folder.path, options)

  let port: number
  let server: GuardedProcess
  try {
    ;({ port, server } = await launchOnFreePort(launch, options.port))
  } catch (error) {
    await folder.remove()
    throw error
  }

  const kill = async (signal: 'SIGKILL' | 'SIGTERM' | 'SIGINT'): Promise<void> => {
    server.signal(signal)
    // A frozen process takes no signal but SIGKILL until it goes on.
    if (signal !== 'SIGKILL') server.signal('SIGCONT')
    await server.wait()
  }
  const stop = async (): Promise<void> => {
    await server.end()
    await folder.remove()
  }

  return {
    host: HOST,
    port,
    url: `redis://${HOST}:${port}`,
    folder: folder.path,
    get pid() {
      return server.pid
    },
    get running() {
      return server.running
    },
    log: () => server.output(),
    kill: (signal = 'SIGKILL') => kill(signal),
    pause: () => server.signal('SIGSTOP'),
    resume: () => server.signal('SIGCONT'),
    restart: async () => {
      if (server.running) await kill('SIGTERM')
      server = await launch(port)
    },
    stop,
    [Symbol.asyncDispose]: stop
  }
}

/** Between finding a free port and taking it another process may take it: then another port is tried. */
async function launchOnFreePort(
  launch: (port: number) => Promise<GuardedProcess>,
  fixedPort: number | undefined
): Promise<{ port: number; server: GuardedProcess }> {
  for (let attempt = 1; ; attempt++) {
    const port = fixedPort ?? (await freePort())
    try {
      return { port, server: await launch(port) }
    } catch (error) {
      if (!(error instanceof PortTakenError) || fixedPort !== undefined || attempt === PORT_ATTEMPTS)
        throw error
    }
  }
}

class PortTakenError extends Error {}

async function launchRedis(
  program: string,
  port: number,
  folder: string,
  { config, args = [] }: RedisServerOptions
): Promise<GuardedProcess> {
  const server = await spawnGuarded(
    program,
    [
      ...(config === undefined ? [] : [config]),
      '--port',
      String(port),
      '--bind',
      HOST,
      '--dir',
      folder,
      '--daemonize',
      'no',
      '--logfile',
      '',
      // Nothing is kept unless the caller asks for it.
      ...(config === undefined ? ['--save', '', '--appendonly', 'no'] : []),
      ...args
    ],
    // Nothing in it is worth an orderly end, and a frozen one knows only SIGKILL.
    { endSignal: 'KILL', cwd: folder }
  )
  const deadline = Date.now() + START_TIMEOUT_MS
  while (!(await Promise.race([answersPing(port), server.exited.then(() => false)]))) {
    if (!server.running) throw startError(program, port, server.output())
    if (Date.now() > deadline) {
      await server.end()
      throw new Error(
        `${program} on port ${port} did not answer within ${START_TIMEOUT_MS} ms:\n${server.output()}`
      )
    }
    await sleep(10)
  }
  // Whoever took the port first may have answered in its place; the loser ends by itself at once.
  await sleep(0)
  if (!server.running) throw startError(program, port, server.output())
  return server
}

function startError(program: string, port: number, output: string): Error {
  if (/address already in use/i.test(output)) return new PortTakenError(`Port ${port} is taken`)
  if (/not found/.test(output)) {
    return new Error(
      `${program} is not in PATH; "npm test" and "npm run demo" install it. (${output.trim()})`
    )
  }
  return new Error(`${program} on port ${port} ended at once:\n${output}`)
}

/** True as soon as it serves: while it loads its data from disk it answers with an error that says LOADING. */
function answersPing(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: HOST })
    const settle = (answer: boolean): void => {
      socket.destroy()
      resolve(answer)
    }
    socket.setTimeout(1000, () => settle(false))
    socket.once('error', () => settle(false))
    socket.once('connect', () => socket.write('PING\r\n'))
    socket.once('data', (reply) => settle(/^(\+PONG|-NOAUTH|-NOPERM)/.test(reply.toString('latin1'))))
    socket.once('close', () => settle(false))
  })
}
