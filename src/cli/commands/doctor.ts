import { Option, type Command } from 'commander'
import { examine, type Report } from '../../admin/doctor/doctor.js'
import type { Finding, Severity } from '../../admin/doctor/finding.js'
import { parseBytes, plural } from '../../admin/units.js'
import { CommandFailed, UsageError } from '../exit.js'
import { json, painter, printable, wrapped, type Paint } from '../print.js'
import { withConnection, withOperator, type CommonFlags } from '../session.js'
import type { Terminal } from '../terminal.js'

interface Flags extends CommonFlags {
  readonly memoryLimit?: string
  readonly sample: string
  readonly failOn: 'fail' | 'warn' | 'unknown'
  readonly all?: boolean
}

export function addDoctor(program: Command, terminal: Terminal): void {
  withConnection(program.command('doctor'))
    .description('examine a running Redis: what would hurt, why, and the line that mends it')
    .option(
      '--memory-limit <bytes>',
      "what Redis may use, as in '2gb'; else the container's limit or the machine's memory"
    )
    .option('--sample <keys>', 'keys of the namespace to look at on each node', '20000')
    .addOption(
      new Option('--fail-on <severity>', 'the mildest finding that makes the exit code 1')
        .choices(['fail', 'warn', 'unknown'])
        .default('fail')
    )
    .option('--all', 'what is right as well, in full')
    .action((flags: Flags) => doctor(flags, terminal))
}

async function doctor(flags: Flags, terminal: Terminal): Promise<void> {
  const memoryLimitBytes = flags.memoryLimit === undefined ? undefined : parseBytes(flags.memoryLimit)
  if (flags.memoryLimit !== undefined && memoryLimitBytes === undefined) {
    throw new UsageError(`--memory-limit is "${flags.memoryLimit}"; needed: a size such as 512mb or 2gb.`)
  }
  const sampleKeys = Number(flags.sample)
  if (!Number.isInteger(sampleKeys) || sampleKeys < 0) {
    throw new UsageError(`--sample is "${flags.sample}"; needed: a whole number of keys.`)
  }
  const report = await withOperator(flags, terminal, (operator, { namespace }) =>
    examine(operator, { namespace, memoryLimitBytes, sampleKeys })
  )
  if (flags.json === true) terminal.out(json(report))
  else terminal.out(reportText(report, flags.all === true, painter(terminal), terminal.columns))
  if (isBad(report, flags.failOn)) throw new CommandFailed()
}

function isBad({ counts }: Report, failOn: Flags['failOn']): boolean {
  if (counts.fail > 0) return true
  if (failOn === 'fail') return false
  return counts.warn > 0 || (failOn === 'unknown' && counts.unknown > 0)
}

const MARKS: Readonly<Record<Severity, readonly [Parameters<Paint>[0], string]>> = {
  fail: ['red', '✗ fail'],
  warn: ['yellow', '! warn'],
  unknown: ['magenta', '? unknown'],
  pass: ['green', '✓ pass']
}
const ORDER: readonly Severity[] = ['fail', 'warn', 'unknown', 'pass']
const INDENT = '            '

export function reportText(report: Report, isLong: boolean, paint: Paint, columns: number): string {
  const parts: string[] = []
  for (const { node, findings } of report.nodes) {
    parts.push(paint('bold', node), '\n\n')
    for (const severity of ORDER) {
      for (const finding of findings) {
        if (finding.severity === severity) parts.push(findingText(finding, isLong, paint, columns))
      }
    }
    parts.push('\n')
  }
  const { fail, warn, unknown, pass } = report.counts
  parts.push(
    [plural(fail, 'failure'), plural(warn, 'warning'), `${unknown} not to be seen`, `${pass} fine`].join(
      ', '
    ),
    '\n'
  )
  return parts.join('')
}

function findingText(finding: Finding, isLong: boolean, paint: Paint, columns: number): string {
  const { severity, title, id, why, fix } = finding
  const what = printable(finding.what)
  const [colour, mark] = MARKS[severity]
  const head = `${paint(colour, mark.padEnd(10))}  ${paint('bold', title)} ${paint('dim', `(${id})`)}`
  if (severity === 'pass' && !isLong) return `${head}: ${what}\n`
  return [
    `${head}\n`,
    wrapped(what, INDENT, columns),
    why === '' ? '' : wrapped(why, INDENT, columns),
    ...fix.map((one) => `${INDENT}${paint('dim', `${one.in}:`)} ${paint('cyan', printable(one.line))}\n`),
    '\n'
  ].join('')
}
