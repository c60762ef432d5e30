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

/** Above a question that is to be read; `--dry-run` lists them all. */
const MOST_GROUPS = 30

export function addClear(program: Command, terminal: Terminal): void {
  withConnection(program.command('clear'))
    .description('declare a collection, a tenant or the whole namespace wrong, at once and without a herd')
    .option('--collection <name>', 'of every tenant, or with --tenant of one; ~ for what has none')
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
  await withOperator(flags, terminal, async (operator, settings) => {
    const scope = scopeOf(flags, settings)
    const counting = progressBar(terminal, 'counting')
    // To clear moves a counter, which needs no node that is lost: what that one has need not be counted.
    const survey = await surveyKeys(operator, scope, counting.report, (node) =>
      terminal.err(`${node} does not answer: what it has is not counted.\n`)
    )
      .catch((error: unknown) => {
        // Nor does it need to know what there is.
        if (flags.dryRun === true || !isRefusal(error)) throw error
        terminal.err(`What there is cannot be counted: ${error.message}\n`)
        return undefined
      })
      .finally(counting.end)
    const entries = survey && survey.keys - survey.internalKeys
    const report = { scope, soft: flags.soft === true, entries }
    if (flags.dryRun === true) return told(terminal, flags, { ...report, removed: 0, dryRun: true }, survey)
    if (flags.json !== true && survey !== undefined)
      terminal.err(surveyText(survey, painter(terminal, terminal.errIsTerminal), MOST_GROUPS))
    const many =
      entries === undefined ? 'however many entries there are' : plural(entries, 'entry', 'entries')
    const what = `${flags.soft === true ? 'Make stale' : 'Clear'} ${scopeText(scope)}: ${many}?`
    await confirm(terminal, what, flags.yes === true)
    const cleaning = progressBar(terminal, 'removing')
    const removed = await clearScope(operator, {
      scope,
      soft: flags.soft === true,
      expected: entries ?? 0,
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
    /** Undefined where they could not be counted. */
    readonly entries: number | undefined
    readonly removed: number
    readonly dryRun: boolean
  },
  survey: Survey | undefined
): void {
  if (flags.json === true) return terminal.out(json(report))
  if (report.dryRun && survey !== undefined) return terminal.out(surveyText(survey, painter(terminal)))
  if (report.soft) return terminal.out('Stale from now on; each is refreshed by its next reader.\n')
  terminal.out(`Cleared; ${plural(report.removed, 'entry', 'entries')} removed.\n`)
}

/** Redis does not let this user look; to clear takes less. */
function isRefusal(error: unknown): error is Error {
  return error instanceof Error && /^(NOPERM|ERR) /.test(error.message)
}
