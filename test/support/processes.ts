import { fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'

/** What a worker can be asked to do: a name and a function for each, with arguments and results that can be cloned. */
export type Commands = Record<string, (...args: never[]) => unknown>

export interface WorkerExit {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

export interface WorkerProcess<Served extends Commands> extends AsyncDisposable {
  readonly pid: number
  readonly exited: Promise<WorkerExit>
  readonly running: boolean
  /** Runs a command in the worker. Rejects with the worker's error, or when the worker ends before it answers. */
  call<Name extends keyof Served & string>(
    name: Name,
    ...args: Parameters<Served[Name]>
  ): Promise<Awaited<ReturnType<Served[Name]>>>
  /** The last 64 kB of what it printed. */
  output(): string
  signal(signal: NodeJS.Signals): void
  /** Ends it, SIGKILL when nothing else is said, and waits until it is gone. Safe to call twice. */
  kill(signal?: NodeJS.Signals): Promise<WorkerExit>
}

export interface WorkerOptions {
  readonly args?: readonly string[]
  /** Added to this process's environment. */
  readonly env?: NodeJS.ProcessEnv
  /** How long it may take until it serves commands, in milliseconds. Default 20 s. */
  readonly startTimeoutMs?: number
}

/** An error of a worker as it crosses the channel, where class and cause are lost. */
export class WorkerError extends Error {
  readonly code: string | undefined

  constructor(name: string, message: string, code: string | undefined) {
    super(message)
    this.name = name
    this.code = code
  }
}

type ToWorker = { id: number; command: string; args: unknown[] }
type FromWorker =
  | { type: 'ready' }
  | { type: 'result'; id: number; result: unknown }
  | { type: 'error'; id: number; name: string; message: string; code: string | undefined }

const KEPT_OUTPUT_CHARACTERS = 65_536
const DEFAULT_START_TIMEOUT_MS = 20_000

/** Starts `file` (TypeScript is fine) as another Node process; it serves its commands with `serveCommands`. */
export async function startWorker<Served extends Commands>(
  file: URL,
  options: WorkerOptions = {}
): Promise<WorkerProcess<Served>> {
  const child = fork(fileURLToPath(file), options.args ?? [], {
    execArgv: ['--import', 'tsx'],
    env: { ...process.env, ...options.env },
    // Structured clone: Date, Map, BigInt and bytes arrive as they were sent.
    serialization: 'advanced',
    stdio: ['ignore', 'pipe', 'pipe', 'ipc']
  })

  let output = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8')
    stream?.on('data', (text: string) => {
      output = (output + text).slice(-KEPT_OUTPUT_CHARACTERS)
    })
  }

  let running = true
  const exited = new Promise<WorkerExit>((resolve) => {
    child.once('close', (code, signal) => {
      running = false
      resolve({ code, signal })
    })
  })

  const waiting = new Map<number, { resolve: (result: unknown) => void; reject: (error: Error) => void }>()
  let resolveReady: () => void = () => undefined
  let rejectReady: (error: Error) => void = () => undefined
  const ready = new Promise<void>((resolve, reject) => {
    resolveReady = resolve
    rejectReady = reject
  })
  child.on('message', (message: FromWorker) => {
    if (message.type === 'ready') return resolveReady()
    const call = waiting.get(message.id)
    waiting.delete(message.id)
    if (message.type === 'result') call?.resolve(message.result)
    else call?.reject(new WorkerError(message.name, message.message, message.code))
  })
  child.once('error', rejectReady)
  void exited.then(({ code, signal }) => {
    const error = new Error(`The worker ended (code ${code}, signal ${signal}):\n${output}`)
    rejectReady(error)
    for (const call of waiting.values()) call.reject(error)
    waiting.clear()
  })

  const timeoutMs = options.startTimeoutMs ?? DEFAULT_START_TIMEOUT_MS
  const timer = setTimeout(() => {
    rejectReady(new Error(`The worker served no commands within ${timeoutMs} ms:\n${output}`))
    child.kill('SIGKILL')
  }, timeoutMs)
  try {
    await ready
  } finally {
    clearTimeout(timer)
  }

  let lastId = 0
  const kill = async (signal: NodeJS.Signals): Promise<WorkerExit> => {
    if (running) child.kill(signal)
    return exited
  }

  return {
    pid: child.pid ?? 0,
    exited,
    get running() {
      return running
    },
    call: (command, ...args) =>
      new Promise((resolve, reject) => {
        const id = ++lastId
        waiting.set(id, { resolve: resolve as (result: unknown) => void, reject })
        const request: ToWorker = { id, command, args }
        child.send(request, (error) => {
          if (error === null) return
          waiting.delete(id)
          reject(error)
        })
      }),
    output: () => output,
    signal: (signal) => {
      if (running) child.kill(signal)
    },
    kill: (signal = 'SIGKILL') => kill(signal),
    [Symbol.asyncDispose]: async () => {
      await kill('SIGKILL')
    }
  }
}

/** Called once by a worker's file. The worker ends with the process that started it. */
export function serveCommands(commands: Commands): void {
  const send = (message: FromWorker): void => {
    process.send?.(message)
  }
  process.on('message', (request: ToWorker) => {
    void (async () => {
      try {
        const command = commands[request.command] as ((...args: unknown[]) => unknown) | undefined
        if (command === undefined) throw new Error(`The worker has no command "${request.command}"`)
        send({ type: 'result', id: request.id, result: await command(...request.args) })
      } catch (error) {
        const { name, message, code } = error as Error & { code?: string }
        send({ type: 'error', id: request.id, name, message, code })
      }
    })()
  })
  process.once('disconnect', () => process.exit(0))
  send({ type: 'ready' })
}
