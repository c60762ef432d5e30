import type { Command } from 'commander'
import { sampleServers, type ServerSample, type SilentServer } from '../../admin/server-stats.js'
import { surveyKeys, type Survey } from '../../admin/survey.js'
import { bytesText, countText, durationText, percentText } from '../../admin/units.js'
import { requiredNamespace } from '../config.js'
import { CommandFailed } from '../exit.js'
import { facts, json, painter, printable, table, type Paint } from '../print.js'
import { progressBar } from '../progress.js'
import { withConnection, withOperator, type CommonFlags } from '../session.js'
import type { Terminal } from '../terminal.js'

interface Flags extends CommonFlags {
  readonly keys?: boolean
}

export function addStats(program: Command, terminal: Terminal): void {
  withConnection(program.command('stats'))
    .description('how Redis does: memory, hit share, evictions; with --keys what the namespace holds')
    .option('--keys', 'count entries and bytes of each collection and tenant (SCAN, in pages)')
    .action((flags: Flags) => stats(flags, terminal))
}

async function stats(flags: Flags, terminal: Terminal): Promise<void> {
  const { servers, silent, survey } = await withOperator(flags, terminal, async (operator, settings) => {
    const samples = await sampleServers(operator)
    if (flags.keys !== true) return { ...samples, survey: undefined }
    const namespace = requiredNamespace(settings)
    const bar = progressBar(terminal, 'counting keys')
    try {
      return { ...samples, survey: await surveyKeys(operator, { namespace }, bar.report) }
    } finally {
      bar.end()
    }
  })
  if (flags.json === true)
    terminal.out(json({ servers, silent, ...(survey === undefined ? {} : { survey }) }))
  else {
    const paint = painter(terminal)
    for (const server of servers) terminal.out(`${serverText(server, paint)}\n`)
    if (survey !== undefined) terminal.out(surveyText(survey, paint))
  }
  if (silent.length > 0) throw new CommandFailed(silentText(silent))
}

/** A line for each. */
export function silentText(silent: readonly SilentServer[]): string {
  return silent.map(({ node, because }) => `${node} says nothing: ${because}`).join('\n')
}

export function serverText(server: ServerSample, paint: Paint): string {
  const looked = server.hits + server.misses
  return facts(
    [
      ['node', `${paint('bold', server.node)}  ${server.version}, ${server.role}`],
      ['up for', durationText(server.uptimeSeconds * 1_000)],
      ['keys', countText(server.keys)],
      [
        'memory',
        server.maxBytes === 0
          ? `${bytesText(server.usedBytes)}, no limit`
          : `${bytesText(server.usedBytes)} of ${bytesText(server.maxBytes)} (${percentText(server.usedBytes / server.maxBytes)})`
      ],
      ['eviction', `${server.evictionPolicy}, ${countText(server.evicted)} evicted`],
      [
        'look-ups',
        looked === 0 ? 'none' : `${countText(looked)}, ${percentText(server.hits / looked)} found`
      ],
      ['clients', countText(server.clients)],
      ['replicas', countText(server.replicas)],
      ['round trip', durationText(server.pingMs)]
    ],
    paint
  )
}

/** @param most groups to show, the largest first */
export function surveyText(survey: Survey, paint: Paint, most = Number.POSITIVE_INFINITY): string {
  const sizeText = (bytes: number): string => (survey.unsized === 0 ? bytesText(bytes) : '?')
  const rows = survey.groups
    .slice(0, most)
    .map(({ collection, tenant, keys, bytes }) => [
      printable(collection ?? '(no entries)'),
      printable(tenant ?? ''),
      countText(keys),
      sizeText(bytes),
      sizeText(keys === 0 ? 0 : bytes / keys)
    ])
  const columns = [
    { title: 'collection' },
    { title: 'tenant' },
    { title: 'keys', right: true },
    { title: 'memory', right: true },
    { title: 'each', right: true }
  ]
  const rest = survey.groups.length - rows.length
  const more = rest === 0 ? '' : `… and ${countText(rest)} more\n`
  return `${table(columns, rows, paint)}${more}${countText(survey.keys)} keys, ${sizeText(survey.bytes)}; ${countText(survey.internalKeys)} of them Corral’s own\n`
}
