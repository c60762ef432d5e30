import { CommandFailed, UsageError } from './exit.js'
import type { Terminal } from './terminal.js'

/** Asks before something is done that cannot be undone. Rejects unless the answer is yes, or `--yes` was given. */
export async function confirm(terminal: Terminal, question: string, isSure: boolean): Promise<void> {
  if (isSure) return
  if (!terminal.canAsk) {
    throw new UsageError(`${question} Nobody is here to ask: add --yes, or --dry-run to only see.`)
  }
  const answer = await terminal.ask(`${question} [y/N] `)
  if (!/^y(es)?$/i.test(answer.trim())) throw new CommandFailed('Nothing was changed.')
}
