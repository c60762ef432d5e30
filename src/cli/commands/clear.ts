import type { Command } from 'commander'
import { clearScope } from '../../admin/clear.js'
import { surveyKeys, type Survey } from '../../admin/survey.js'
import { plural } from '../../admin/units.js'
import { confirm } from '../confirm.js'
import { UsageError } from '../exit.js'
import { scopeOf, scopeText, type ScopeFlags } from '../keys.js'
import { json, painter } from '../print.js'
import { progressBar } from '../progress.js'
import { withConnection, withOperator, type CommonFlags } from '../session.js'
import type { Terminal } from '../terminal.js'
import { surveyText } from './stats.js'

interface Flags extends CommonFlags, ScopeFlags {
  readonly all?: boolean
  readonly soft?: boolean
  readonly dryRun?: boolean
  readonly yes?: boolean
}

export function addClear(program: Command, terminal: Terminal): void {
  withConnection(program.command('clear'))
    .description('declare a collection, a tenant or the whole namespace wrong, at once and without a herd')
    .option('--collection <name>', 'of every tenant, or with --tenant of one')
    .option('--tenant <tenant>', 'as it stands in keys')
    .option('--all', 'the whole namespace')
    .option('--soft', 'values become stale: they may be served while each is refreshed')
    .option('--dry-run', 'only say what there is')
    .option('--yes', 'do not ask')
    .action((flags: Flags) => clear(flags, terminal))
}

async function clear(flags: Flags, terminal: Terminal): Promise<void> {
  const isNarrow = flags.collection !== undefined || flags.tenant !== undefined
  if (isNarrow === (flags.all === true)) {
    throw new UsageError(
      'Say what to clear: --collection, --tenant or both; or --all for the whole namespace.'
    )
  }
  if (flags.soft === true && flags.collection === '~') {
    throw new UsageError(
      'What has no collection cannot be made stale as a whole; without --soft it is dropped.'
    )
  }
  await withOperator(flags, terminal, async (operator, settings) => {
    const scope = scopeOf(flags, settings)
    const counting = progressBar(terminal, 'counting')
    // To clear moves a counter, which needs no node that is lost: what that one has need not be counted.
    const survey = await surveyKeys(operator, scope, counting.report, (node) =>
      terminal.err(`${node} does not answer: what it has is not counted.\n`)
    ).finally(counting.end)
    const entries = survey.keys - survey.internalKeys
    const report = { scope, soft: flags.soft === true, entries }
    if (flags.dryRun === true) return told(terminal, flags, { ...report, removed: 0, dryRun: true }, survey)
    if (flags.json !== true) terminal.err(surveyText(survey, painter(terminal, terminal.errIsTerminal)))
    const what = `${flags.soft === true ? 'Make stale' : 'Clear'} ${scopeText(scope)}: ${plural(entries, 'entry', 'entries')}?`
    await confirm(terminal, what, flags.yes === true)
    const cleaning = progressBar(terminal, 'removing')
    const removed = await clearScope(operator, {
      scope,
      soft: flags.soft === true,
      expected: entries,
      timeoutMs: settings.target.timeoutMs,
      progress: cleaning.report,
      // Whatever becomes of the rest, Ctrl-C among it.
      onCleared: () => {
        if (flags.json !== true && flags.soft !== true)
          terminal.err('It is cleared; removing it from Redis.\n')
      }
    }).finally(cleaning.end)
    told(terminal, flags, { ...report, removed, dryRun: false }, survey)
  })
}

function told(
  terminal: Terminal,
  flags: Flags,
  report: {
    readonly soft: boolean
    readonly entries: number
    readonly removed: number
    readonly dryRun: boolean
  },
  survey: Survey
): void {
  if (flags.json === true) return terminal.out(json(report))
  if (report.dryRun) return terminal.out(surveyText(survey, painter(terminal)))
  if (report.soft) return terminal.out('Stale from now on; each is refreshed by its next reader.\n')
  terminal.out(`Cleared; ${plural(report.removed, 'entry', 'entries')} removed.\n`)
}
