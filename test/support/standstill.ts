import { spawn } from 'node:child_process'
import { once } from 'node:events'

/**
 * Stops what it is given, and lets it go on when its standard input ends. That is when it is told to, or when the process
 * that has the other end is gone: what stands still does not notice that, and would stay for ever.
 */
const KEEPER = `
kill -s STOP "$@" 2>/dev/null
echo stopped
while read -r line; do :; done
kill -s CONT "$@" 2>/dev/null
exit 0
`

/** Processes that do nothing until `goOn`, or until this process ends, in whatever way. */
export interface Standstill {
  goOn(): Promise<void>
}

/** Resolves when they are stopped; those that have ended are left out. */
export async function standStill(pids: readonly number[]): Promise<Standstill> {
  // A process group of its own: Ctrl-C in the terminal must not reach it before its work is done.
  const keeper = spawn('sh', ['-c', KEEPER, 'keeper', ...pids.map(String)], {
    stdio: ['pipe', 'pipe', 'ignore'],
    detached: true
  })
  const ended = once(keeper, 'exit')
  await Promise.race([once(keeper.stdout, 'data'), ended])
  return {
    async goOn() {
      keeper.stdin.end()
      await ended
    }
  }
}
