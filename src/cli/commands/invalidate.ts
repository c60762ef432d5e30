import type { Command } from 'commander'
import { countExisting, dropKeys, mustBeEntries } from '../../admin/drop.js'
import { plural } from '../../admin/units.js'
import { confirm } from '../confirm.js'
import { fullKey } from '../keys.js'
import { json } from '../print.js'
import { withConnection, withOperator, type CommonFlags } from '../session.js'
import type { Terminal } from '../terminal.js'

interface Flags extends CommonFlags {
  readonly dryRun?: boolean
  readonly yes?: boolean
}

export function addInvalidate(program: Command, terminal: Terminal): void {
  withConnection(program.command('invalidate'))
    .description('declare entries wrong: the next read of each loads')
    .argument('<key...>', 'as corral keys shows them; without their namespace if --namespace is given')
    .option('--dry-run', 'only say how many there are')
    .option('--yes', 'do not ask')
    .action((keys: readonly string[], flags: Flags) => invalidate(keys, flags, terminal))
}

async function invalidate(given: readonly string[], flags: Flags, terminal: Terminal): Promise<void> {
  await withOperator(flags, terminal, async (operator, settings) => {
    const keys = given.map((key) => fullKey(key, settings))
    // Before anybody is asked.
    mustBeEntries(keys)
    const existing = await countExisting(operator, keys)
    if (flags.dryRun === true) {
      if (flags.json === true)
        return terminal.out(json({ keys: keys.length, existing, dropped: 0, dryRun: true }))
      return terminal.out(`${plural(existing, 'entry', 'entries')} of ${keys.length} would be dropped.\n`)
    }
    await confirm(terminal, `Drop ${plural(existing, 'entry', 'entries')}?`, flags.yes === true)
    // Also those that are not there: a load of one may be under way in this moment, and must not be stored.
    const dropped = await dropKeys(operator, keys)
    if (flags.json === true)
      return terminal.out(json({ keys: keys.length, existing, dropped, dryRun: false }))
    terminal.out(`${plural(dropped, 'entry', 'entries')} dropped.\n`)
  })
}
