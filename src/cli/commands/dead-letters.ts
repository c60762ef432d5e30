import { Argument, type Command } from 'commander'
import type { DeadLetter } from '../../index.js'
import { confirm } from '../confirm.js'
import { unlessInterrupted } from '../exit.js'
import { plural } from '../../admin/units.js'
import { json, printable } from '../print.js'
import type { Terminal } from '../terminal.js'
import { importCache, type UserCache } from '../user-cache.js'

interface Flags {
  readonly queue?: string
  readonly json?: boolean
  readonly yes?: boolean
}

const ACTIONS = ['list', 'replay', 'drop'] as const
type Action = (typeof ACTIONS)[number]

export function addDeadLetters(program: Command, terminal: Terminal): void {
  program
    .command('dead-letters')
    .description('what sinks could never take: list it, send it again, or forget it')
    .argument('<module>', 'a file that exports the cache, as "cache" or as default')
    .addArgument(new Argument('[action]', 'what to do with them').choices([...ACTIONS]).default('list'))
    .option('--queue <name>', 'of this collection or ingest alone')
    .option('--json', 'for machines')
    .option('--yes', 'do not ask')
    .action((module: string, action: Action, flags: Flags) => handle(module, action, flags, terminal))
}

async function handle(module: string, action: Action, flags: Flags, terminal: Terminal): Promise<void> {
  const cache = await importCache(module, terminal)
  try {
    await unlessInterrupted(terminal.interrupted, () => carryOut(cache, action, flags, terminal))
  } finally {
    await cache.close()
  }
}

async function carryOut(cache: UserCache, action: Action, flags: Flags, terminal: Terminal): Promise<void> {
  const letters = await cache.deadLetters.list(flags.queue)
  if (action === 'list') return list(letters, flags, terminal)
  const what = plural(letters.length, 'dead letter', 'dead letters')
  await confirm(terminal, `${action === 'replay' ? 'Send again' : 'Forget'} ${what}?`, flags.yes === true)
  // While they were listed, say: the command is over, and nothing is done behind it.
  terminal.interrupted.throwIfAborted()
  const done = await cache.deadLetters[action](letters)
  if (flags.json === true) return terminal.out(json({ found: letters.length, [action]: done }))
  terminal.out(
    `${plural(done, 'dead letter', 'dead letters')} ${action === 'replay' ? 'sent again' : 'forgotten'}.\n`
  )
}

/** Values are not shown: they may be anybody's data. */
function list(letters: readonly DeadLetter[], flags: Flags, terminal: Terminal): void {
  const shown = letters.map(({ queue, shard, letter, at, reason }) => ({ queue, shard, letter, at, reason }))
  if (flags.json === true) return terminal.out(json(shown))
  for (const { queue, shard, letter, at, reason } of shown) {
    terminal.out(`${at.toISOString()}  ${queue}/${shard}  ${letter}  ${printable(reason)}\n`)
  }
  if (shown.length === 0) terminal.out('There are no dead letters.\n')
}
