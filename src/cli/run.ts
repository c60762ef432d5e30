import { readFileSync } from 'node:fs'
import { Command, CommanderError } from 'commander'
import { redactedUrl } from '../admin/connect.js'
import { addBench } from './commands/bench.js'
import { addClear } from './commands/clear.js'
import { addCompletion } from './commands/completion.js'
import { addDeadLetters } from './commands/dead-letters.js'
import { addDoctor } from './commands/doctor.js'
import { addInspect } from './commands/inspect.js'
import { addInvalidate } from './commands/invalidate.js'
import { addKeys } from './commands/keys.js'
import { addStats } from './commands/stats.js'
import { addTop } from './commands/top.js'
import { addWorker } from './commands/worker.js'
import { CommandFailed, EXIT, Interrupted, UsageError } from './exit.js'
import { painter } from './print.js'
import type { Terminal } from './terminal.js'

/** Every command, in the order in which help lists them. Each adds itself: its flags, and what it does. */
const COMMANDS = [
  addDoctor,
  addStats,
  addTop,
  addInspect,
  addKeys,
  addInvalidate,
  addClear,
  addWorker,
  addDeadLetters,
  addBench,
  addCompletion
]

/** Runs one command line, without the name of the program. Gives the exit code, and never rejects. */
export async function run(args: readonly string[], terminal: Terminal): Promise<number> {
  const program = new Command('corral')
    .description('Look at, and look after, a Redis that Corral caches in.')
    .version(packageVersion())
    .addHelpText('after', HELP)
  for (const add of COMMANDS) add(program, terminal)
  // What commander prints goes where everything else does, and it must not end the process.
  for (const command of [program, ...program.commands]) {
    command.exitOverride().configureOutput({
      writeOut: terminal.out,
      writeErr: terminal.err,
      getOutHasColors: () => terminal.outIsTerminal,
      getErrHasColors: () => terminal.errIsTerminal
    })
  }
  try {
    await program.parseAsync(args, { from: 'user' })
    return EXIT.fine
  } catch (error) {
    return exitCodeOf(error, terminal)
  }
}

const HELP = `
Settings: a flag wins over the environment (REDIS_URL, CORRAL_NAMESPACE, …), that over corral.config.json.
Exit codes: 0 fine; 1 the doctor found something, or it could not be done; 2 the command line is wrong; 130 Ctrl-C.`

function exitCodeOf(error: unknown, terminal: Terminal): number {
  if (error instanceof CommanderError) {
    // It has printed what is wrong, or the help that was asked for.
    return error.exitCode === 0 ? EXIT.fine : EXIT.usage
  }
  // A progress bar may stand there.
  if (error instanceof Interrupted && terminal.errIsTerminal) terminal.err('\r\u001B[K')
  const message = messageOf(error)
  if (message !== '') terminal.err(`${painter(terminal, terminal.errIsTerminal)('red', message)}\n`)
  if (error instanceof UsageError) return EXIT.usage
  return error instanceof Interrupted ? EXIT.interrupted : EXIT.failed
}

/** With the reason behind it, and without credentials that a driver may have put into it. */
function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  if (error instanceof CommandFailed || error instanceof UsageError) return error.message
  const causes: string[] = []
  for (let at: unknown = error; at instanceof Error; at = at.cause) causes.push(at.message)
  return redactedUrl(causes.filter((text) => text !== '').join(' '))
}

function packageVersion(): string {
  // src/cli and dist/cli are equally deep.
  const file = new URL('../../package.json', import.meta.url)
  return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version
}
