import { setTimeout as sleep } from 'node:timers/promises'
import type { Command } from 'commander'
import type { Operator } from '../../admin/connect.js'
import { ratesBetween, sampleServers, type ServerRates, type ServerSample } from '../../admin/server-stats.js'
import { bytesText, countText, durationText, percentText } from '../../admin/units.js'
import { milliseconds } from '../config.js'
import { Interrupted } from '../exit.js'
import { json, painter, table, type Paint } from '../print.js'
import { withConnection, withOperator, type CommonFlags } from '../session.js'
import type { Terminal } from '../terminal.js'

interface Flags extends CommonFlags {
  readonly interval: string
  readonly once?: boolean
}

export interface Row {
  readonly sample: ServerSample
  readonly rates: ServerRates
}

export function addTop(program: Command, terminal: Terminal): void {
  withConnection(program.command('top'))
    .description('what Redis does right now, again and again')
    .option('--interval <duration>', 'between two looks', '1s')
    .option('--once', 'one look, then end')
    .action((flags: Flags) => top(flags, terminal))
}

async function top(flags: Flags, terminal: Terminal): Promise<void> {
  const intervalMs = milliseconds(flags.interval, '--interval')
  const isLive = flags.once !== true && flags.json !== true && terminal.outIsTerminal
  const paint = painter(terminal)
  await withOperator(flags, terminal, async (operator) => {
    for await (const rows of looks(operator, intervalMs, terminal.interrupted)) {
      if (flags.json === true) terminal.out(flags.once === true ? json(rows) : `${JSON.stringify(rows)}\n`)
      // Home, and erase what is below: the screen is written over, not scrolled.
      else terminal.out(`${isLive ? '\u001B[H\u001B[J' : ''}${topText(rows, paint)}`)
      if (flags.once === true) return
    }
  }).catch((error: unknown) => {
    // Ctrl-C is how it ends.
    if (!(error instanceof Interrupted)) throw error
  })
}

async function* looks(
  operator: Operator,
  intervalMs: number,
  interrupted: AbortSignal
): AsyncGenerator<Row[]> {
  let before = await sampleServers(operator)
  while (!interrupted.aborted) {
    try {
      await sleep(intervalMs, undefined, { signal: interrupted })
    } catch {
      return
    }
    const after = await sampleServers(operator)
    yield after.flatMap((sample) => {
      // A node that has just joined has nothing to be compared with yet.
      const earlier = before.find(({ node }) => node === sample.node)
      return earlier === undefined ? [] : [{ sample, rates: ratesBetween(earlier, sample) }]
    })
    before = after
  }
}

const COLUMNS = [
  { title: 'node' },
  { title: 'commands/s', right: true },
  { title: 'found', right: true },
  { title: 'missed/s', right: true },
  { title: 'evicted/s', right: true },
  { title: 'expired/s', right: true },
  { title: 'in/s', right: true },
  { title: 'out/s', right: true },
  { title: 'memory', right: true },
  { title: 'keys', right: true },
  { title: 'clients', right: true },
  { title: 'ping', right: true }
]

export function topText(rows: readonly Row[], paint: Paint): string {
  const cells = rows.map(({ sample, rates }) => [
    sample.node,
    countText(rates.commands),
    rates.hitShare === undefined ? '-' : percentText(rates.hitShare),
    countText(rates.misses),
    rates.evicted > 0 ? paint('yellow', countText(rates.evicted)) : '0',
    countText(rates.expired),
    bytesText(rates.bytesIn),
    bytesText(rates.bytesOut),
    sample.maxBytes === 0 ? bytesText(sample.usedBytes) : percentText(sample.usedBytes / sample.maxBytes),
    countText(sample.keys),
    countText(sample.clients),
    durationText(sample.pingMs)
  ])
  return table(COLUMNS, cells, paint)
}
