import type { Command } from 'commander'
import { keysInScope, surveyKeys } from '../../admin/survey.js'
import { UsageError } from '../exit.js'
import { scopeOf, type ScopeFlags } from '../keys.js'
import { json, painter, printable } from '../print.js'
import { progressBar } from '../progress.js'
import { withConnection, withOperator, type CommonFlags } from '../session.js'
import type { Terminal } from '../terminal.js'
import { surveyText } from './stats.js'

interface Flags extends CommonFlags, ScopeFlags {
  readonly limit: string
  readonly count?: boolean
}

export function addKeys(program: Command, terminal: Terminal): void {
  withConnection(program.command('keys'))
    .description('the keys of the namespace, found by SCAN in pages')
    .option('--collection <name>', 'only of this collection; ~ for what has none')
    .option('--tenant <tenant>', 'only of this tenant, as it stands in keys')
    .option('--limit <count>', 'stop after so many; 0 for all', '1000')
    .option('--count', 'counts and sizes instead of names')
    .action((flags: Flags) => keys(flags, terminal))
}

async function keys(flags: Flags, terminal: Terminal): Promise<void> {
  const limit = Number(flags.limit)
  if (!Number.isInteger(limit) || limit < 0) {
    throw new UsageError(`--limit is "${flags.limit}"; needed: a whole number, 0 for all.`)
  }
  await withOperator(flags, terminal, async (operator, settings) => {
    const scope = scopeOf(flags, settings)
    const bar = progressBar(terminal, 'scanning')
    if (flags.count === true) {
      const survey = await surveyKeys(operator, scope, bar.report).finally(bar.end)
      return terminal.out(flags.json === true ? json(survey) : surveyText(survey, painter(terminal)))
    }
    const found: string[] = []
    let [shown, isCut] = [0, false]
    for await (const page of keysInScope(operator, scope, bar.report)) {
      const room = limit === 0 ? page.keys.length : limit - shown
      const names = page.keys.slice(0, room).map((key) => operator.keyPrefix + key)
      shown += names.length
      // Names go out as they come, no faster than they are read, and none is kept; a JSON document cannot do so.
      if (flags.json === true) found.push(...names)
      else {
        bar.end()
        terminal.out(names.map((key) => `${printable(key)}\n`).join(''))
        await terminal.flushed()
      }
      isCut = page.keys.length > room
      if (isCut) break
    }
    bar.end()
    if (flags.json === true) return terminal.out(json({ keys: found, isCut }))
    if (isCut) terminal.err(`There are more than ${limit}; --limit 0 shows all.\n`)
  })
}
