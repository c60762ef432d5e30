import { spawn, spawnSync } from 'node:child_process'
import { constants } from 'node:os'

/** Something the user can do something about: the message says what. */
export class Failure extends Error {
  constructor(message, exitCode = 1) {
    super(message)
    this.exitCode = exitCode
  }
}

const FORWARDED = ['SIGINT', 'SIGTERM', 'SIGHUP']
const PARENT_CHECK_MS = 500

const running = new Set()
let interruptedBy

for (const signal of FORWARDED) {
  process.on(signal, () => {
    interruptedBy = signal
    if (running.size === 0) process.exit(codeOf(signal))
    // Ctrl-C reaches the whole group, a plain `kill` only this process: a child must bear the same signal twice.
    for (const child of running) child.kill(signal)
  })
}

/** When npm is killed in a way it cannot pass on, this process becomes an orphan: that counts as SIGTERM. */
export function stopWithParent() {
  const parent = process.ppid
  setInterval(() => {
    if (process.ppid !== parent) process.kill(process.pid, 'SIGTERM')
  }, PARENT_CHECK_MS).unref()
}

/** Runs a program in this terminal and gives its exit code. After Ctrl-C it waits for the program's own end. */
export function run(program, args, { cwd, env, channel = false } = {}) {
  return new Promise((resolve, reject) => {
    const stdio = channel ? ['inherit', 'inherit', 'inherit', 'ipc'] : 'inherit'
    const child = spawn(program, args, { cwd, env: { ...process.env, ...env }, stdio })
    running.add(child)
    child.once('error', (error) => {
      running.delete(child)
      reject(new Failure(`${program} could not be started: ${error.message}`))
    })
    child.once('exit', (code, signal) => {
      running.delete(child)
      if (interruptedBy !== undefined) process.exit(code ?? codeOf(interruptedBy))
      resolve(code ?? codeOf(signal))
    })
  })
}

/** True when a program can be started and says that all is well; nothing is printed. */
export function succeeds(program, args) {
  return spawnSync(program, args, { stdio: 'ignore' }).status === 0
}

function codeOf(signal) {
  return 128 + (constants.signals[signal] ?? 1)
}
