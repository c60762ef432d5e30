import type { Command } from 'commander'
import { milliseconds } from '../config.js'
import type { Terminal } from '../terminal.js'
import { importCache } from '../user-cache.js'

interface Flags {
  readonly drain: string
}

export function addWorker(program: Command, terminal: Terminal): void {
  program
    .command('worker')
    .description('bring what was written behind to its sinks, until SIGTERM or Ctrl-C')
    .argument('<module>', 'a file that exports the cache, as "cache" or as default')
    .option('--drain <time>', 'how long it flushes what waits before it ends', '5s')
    .action((module: string, flags: Flags) => work(module, flags, terminal))
}

async function work(module: string, { drain }: Flags, terminal: Terminal): Promise<void> {
  const drainMs = milliseconds(drain, '--drain', 0)
  const cache = await importCache(module, terminal)
  const ended = untilTold(terminal)
  try {
    const worker = cache.worker()
    cache.on('redisState', ({ state }) => terminal.err(`Redis: ${state}\n`))
    // A forgotten migration is an exit code, not a line in a log. A database that says nothing must not keep it from ending.
    const isReady = await Promise.race([worker.ready().then(() => true), ended.then(() => false)])
    if (isReady) terminal.out(`${worker.name} works\n`)
    await ended
    await worker.stop({ drain: drainMs })
    terminal.out(`${worker.name} has stopped\n`)
  } finally {
    await cache.close()
  }
}

function untilTold({ interrupted }: Terminal): Promise<void> {
  return new Promise((resolve) => {
    // While its module was being loaded, say.
    if (interrupted.aborted) return resolve()
    interrupted.addEventListener('abort', () => resolve(), { once: true })
    // Not once: systemd tells everybody, and npm hands it on. A second one would end what flushes as it stands.
    process.on('SIGTERM', () => resolve())
  })
}
