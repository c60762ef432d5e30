import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export interface TemporaryFolder {
  readonly path: string
  remove(): Promise<void>
}

/**
 * Removes every folder it was told of when its standard input ends, which happens when this process ends in whatever
 * way, `kill -9` included. Its retries are for a server that is still writing into the folder while it is being killed.
 */
const SWEEPER = `
folders=''
while read -r folder; do folders="$folders
$folder"; done
for attempt in 1 2 3 4 5 6 7 8 9 10; do
  left=''
  for folder in $folders; do
    rm -rf -- "$folder" 2>/dev/null
    [ -e "$folder" ] && left=yes
  done
  [ -z "$left" ] && exit 0
  sleep 0.5
done
`

let sweeper: ChildProcess | undefined

/** A new private folder under the system's temporary folder. It does not outlive this process, however that ends. */
export async function createTemporaryFolder(purpose: string): Promise<TemporaryFolder> {
  const path = join(tmpdir(), `corral-${purpose}-${randomBytes(6).toString('hex')}`)
  if (/\s/.test(path))
    throw new Error(`The temporary folder must have no white space in its path; set TMPDIR: ${path}`)
  // The sweeper is told first: a kill between the two lines leaves a name to sweep, never a folder.
  await tellSweeper(path)
  await mkdir(path, { mode: 0o700 })
  return {
    path,
    remove: () => rm(path, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 })
  }
}

function tellSweeper(path: string): Promise<void> {
  sweeper ??= startSweeper()
  const input = sweeper.stdin
  if (input === null) throw new Error('The sweeper of temporary folders has no standard input')
  return new Promise((resolve, reject) => {
    input.write(`${path}\n`, (error) => (error ? reject(error) : resolve()))
  })
}

function startSweeper(): ChildProcess {
  // A process group of its own: Ctrl-C in the terminal must not reach it before its work begins.
  const child = spawn('sh', ['-c', SWEEPER], { stdio: ['pipe', 'ignore', 'ignore'], detached: true })
  child.on('error', () => {
    sweeper = undefined
  })
  child.unref()
  unrefStream(child.stdin)
  return child
}

/** Keeps an open pipe from keeping the event loop alive; Node's types leave out that pipes of children are sockets. */
export function unrefStream(stream: unknown): void {
  ;(stream as { unref?: () => void } | null)?.unref?.()
}
