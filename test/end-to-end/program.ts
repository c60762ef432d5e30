import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { chmod } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

const ROOT = join(import.meta.dirname, '../..')
const SCAN_MS = 50

export interface Program {
  readonly child: ChildProcess
  /** Both streams, as far as they have come. */
  output(): string
  /** Waits until it has printed this. */
  printed(text: string | RegExp): Promise<void>
  /** Ctrl-C in a terminal: SIGINT for the whole group. */
  interrupt(): void
  /** The exit code, or the signal's name. */
  readonly ended: Promise<number | NodeJS.Signals>
  /** Ids of the processes it has started, and of its own. */
  processes(): number[]
  /** What it has left: command lines of processes, names in its temporary folder. Waits a while for it to be nothing. */
  leftovers(withinMs: number): Promise<string[]>
  /** Ends whatever is left, for a test that failed. */
  cleanUp(): Promise<void>
}

/** Runs a command of scripts/run.mjs as npm does, with a temporary folder of its own to see what it leaves there. */
export async function startProgram(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Program> {
  const folder = mkdtempSync(join(tmpdir(), 'corral-test-'))
  // PostgreSQL runs as another user when the tests run as root.
  await chmod(folder, 0o755)
  const { REDIS_URL: _redis, DATABASE_URL: _database, ...inherited } = process.env
  const child = spawn(process.execPath, ['scripts/run.mjs', ...args], {
    cwd: ROOT,
    env: { ...inherited, ...env, TMPDIR: folder },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true
  })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8')
    stream.on('data', (text: string) => {
      output += text
    })
  }
  const ended = new Promise<number | NodeJS.Signals>((resolve) => {
    child.once('exit', (code, signal) => resolve(code ?? signal ?? 'SIGKILL'))
  })
  const processes = (): number[] => processesWith(`TMPDIR=${folder}`)
  const leftovers = (): string[] => [
    ...processes().map(commandOf),
    ...(existsSync(folder) ? readdirSync(folder) : [])
  ]
  return {
    child,
    output: () => output,
    printed: async (text) => {
      while (!(typeof text === 'string' ? output.includes(text) : text.test(output))) {
        if (child.exitCode !== null) throw new Error(`It ended without having printed ${text}:\n${output}`)
        await sleep(SCAN_MS)
      }
    },
    interrupt: () => {
      process.kill(-(child.pid ?? 0), 'SIGINT')
    },
    ended,
    processes,
    leftovers: async (withinMs) => {
      const deadline = Date.now() + withinMs
      while (leftovers().length > 0 && Date.now() < deadline) await sleep(SCAN_MS)
      return leftovers()
    },
    cleanUp: async () => {
      for (const pid of processes()) kill(pid)
      rmSync(folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 })
    }
  }
}

/** Every process that inherited this variable, however far down and whoever adopted it. Linux alone tells that. */
export const canListProcesses = existsSync('/proc/self/environ')

function processesWith(variable: string): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => readProc(pid, 'environ').split('\0').includes(variable))
    .map(Number)
}

export function commandOf(pid: number): string {
  return readProc(String(pid), 'cmdline').replaceAll('\0', ' ')
}

/** A process may be gone between two looks, and a dead one that is not yet reaped has nothing to read. */
function readProc(pid: string, file: string): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8')
  } catch {
    return ''
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // Gone already.
  }
}
