import { spawn } from 'node:child_process'
import type { Readable } from 'node:stream'
import { unrefStream } from './temporary-folder.js'

/**
 * Starts a server that cannot outlive this process. A shell stands between: it holds one end of a pipe whose other end
 * only this process has, so the pipe ends when this process ends in whatever way (return, crash, Ctrl-C, `kill -9`), and
 * then the shell ends the server. The shell itself runs in a process group of its own, out of reach of the terminal's Ctrl-C.
 *
 * $1 = signal that ends the server, $2 = tenths of a second it gets before SIGKILL, then the command.
 * File descriptor 3 carries the server's process id back; 4 is the pipe.
 */
const GUARD = `
signal=$1; patience=$2; shift 2
exec 4<&0 0</dev/null
"$@" 3>&- 4<&- &
server=$!
(
  exec 3>&-
  while read -r line <&4; do :; done
  kill -s "$signal" "$server" 2>/dev/null
  while kill -0 "$server" 2>/dev/null; do
    [ "$patience" -le 0 ] && kill -s KILL "$server" 2>/dev/null
    patience=$((patience - 1))
    sleep 0.1
  done
) &
guard=$!
echo "$server" >&3
exec 3>&- 4<&-
wait "$server"; code=$?
kill "$guard" 2>/dev/null; wait "$guard" 2>/dev/null
exit "$code"
`

export interface GuardOptions {
  /** How the server is asked to end when this process ends or `end()` is called. */
  readonly endSignal: 'KILL' | 'TERM' | 'INT' | 'QUIT'
  /** How long it may take to end before SIGKILL, in milliseconds; rounded up to tenths of a second. */
  readonly patienceMs?: number
  readonly env?: NodeJS.ProcessEnv
  readonly cwd?: string
  /** Run as this user; only root can. */
  readonly uid?: number
  readonly gid?: number
}

export interface GuardedProcess {
  readonly pid: number
  /**
   * Settles when the server has ended, with the code a shell gives: 128 + n when signal n ended it. Does not keep this
   * process alive.
   */
  readonly exited: Promise<number>
  /** `exited`, and keeps this process alive until then. */
  wait(): Promise<number>
  readonly running: boolean
  /** The last 64 kB of what it printed, for error messages. */
  output(): string
  signal(signal: NodeJS.Signals): void
  /** Ends it as `endSignal` says and waits until it is gone. */
  end(): Promise<void>
}

const KEPT_OUTPUT_CHARACTERS = 65_536

export async function spawnGuarded(
  command: string,
  args: readonly string[],
  options: GuardOptions
): Promise<GuardedProcess> {
  const patience = Math.ceil((options.patienceMs ?? 0) / 100)
  const child = spawn('sh', ['-c', GUARD, 'guard', options.endSignal, String(patience), command, ...args], {
    stdio: ['pipe', 'pipe', 'pipe', 'pipe'],
    detached: true,
    env: options.env ?? process.env,
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    ...(options.uid === undefined ? {} : { uid: options.uid }),
    ...(options.gid === undefined ? {} : { gid: options.gid })
  })

  let running = true
  let output = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8')
    stream?.on('data', (text: string) => {
      output = (output + text).slice(-KEPT_OUTPUT_CHARACTERS)
    })
  }
  // The write end may be gone before we close it, when the server has ended by itself.
  child.stdin?.on('error', () => undefined)

  const exited = new Promise<number>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code) => {
      running = false
      child.stdin?.destroy()
      resolve(code ?? 1)
    })
  })
  exited.catch(() => {
    running = false
  })

  const pid = Number(await Promise.race([readAll(child.stdio[3] as Readable), exited.then(() => '')]))
  if (!(pid > 0)) throw new Error(`${command} could not be started: ${output.trim()}`)

  const handles = [child, ...child.stdio]
  for (const handle of handles) unrefStream(handle)

  const wait = async (): Promise<number> => {
    // Child and pipes are unreferenced, and between the end of the one and of the others nothing else may be pending.
    const keepAlive = setInterval(() => undefined, 60_000)
    try {
      return await exited
    } finally {
      clearInterval(keepAlive)
    }
  }

  return {
    pid,
    exited,
    get running() {
      return running
    },
    output: () => output,
    signal: (signal) => {
      if (running) process.kill(pid, signal)
    },
    wait,
    end: async () => {
      child.stdin?.end()
      await wait()
    }
  }
}

async function readAll(stream: Readable): Promise<string> {
  let text = ''
  stream.setEncoding('utf8')
  for await (const part of stream as AsyncIterable<string>) text += part
  return text
}
