import { setTimeout as sleep } from 'node:timers/promises'
import type { Command } from 'commander'
import { redactedUrl, type Operator } from '../../admin/connect.js'
import {
  ratesBetween,
  sampleServers,
  type ServerRates,
  type ServerSample,
  type SilentServer
} from '../../admin/server-stats.js'
import { bytesText, countText, durationText, percentText } from '../../admin/units.js'
import { milliseconds } from '../config.js'
import { Interrupted } from '../exit.js'
import { json, painter, printable, table, type Paint } from '../print.js'
import { withConnection, withOperator, type CommonFlags } from '../session.js'
import type { Terminal } from '../terminal.js'
import { silentText } from './stats.js'

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
  const { interrupted } = terminal
  let hasSeen = false
  while (!interrupted.aborted) {
    try {
      return await withOperator(flags, terminal, async (operator) => {
        for await (const look of looks(operator, intervalMs, interrupted)) {
          hasSeen = true
          show(look, flags, terminal)
          if (flags.once === true) return
        }
      })
    } catch (error) {
      // Ctrl-C is how it ends.
      if (error instanceof Interrupted) return
      // What was there and is lost is what one wants to see come back.
      if (!hasSeen || flags.once === true) throw error
      terminal.err(`${printable(redactedUrl((error as Error).message))} It is tried again.\n`)
      await pause(intervalMs, interrupted)
    }
  }
}

function show({ rows, silent }: Look, { json: isJson, once }: Flags, terminal: Terminal): void {
  // Home, and erase what is below: the screen is written over, not scrolled.
  const isLive = once !== true && isJson !== true && terminal.outIsTerminal
  if (isJson === true) terminal.out(once === true ? json(rows) : `${JSON.stringify(rows)}\n`)
  else terminal.out(`${isLive ? '\u001B[H\u001B[J' : ''}${topText(rows, painter(terminal))}`)
  if (silent.length > 0) terminal.err(`${printable(silentText(silent))}\n`)
}

interface Look {
  readonly rows: readonly Row[]
  readonly silent: readonly SilentServer[]
}

async function* looks(
  operator: Operator,
  intervalMs: number,
  interrupted: AbortSignal
): AsyncGenerator<Look> {
  let before = await sampleServers(operator)
  while (await pause(intervalMs, interrupted)) {
    const after = await sampleServers(operator)
    const rows = after.servers.flatMap((sample) => {
      // A node that has just joined has nothing to be compared with yet.
      const earlier = before.servers.find(({ node }) => node === sample.node)
      return earlier === undefined ? [] : [{ sample, rates: ratesBetween(earlier, sample) }]
    })
    yield { rows, silent: after.silent }
    before = after
  }
}

/** False when it was ended by Ctrl-C. */
function pause(ms: number, interrupted: AbortSignal): Promise<boolean> {
  return sleep(ms, undefined, { signal: interrupted }).then(
    () => true,
    () => false
  )
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
