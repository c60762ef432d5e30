import { InvalidArgumentError, type Command } from 'commander'
import { runBench, type BenchResult } from '../../admin/bench.js'
import { bytesText, countText, durationText, parseBytes } from '../../admin/units.js'
import { milliseconds, requiredNamespace } from '../config.js'
import { json, painter, table, type Paint } from '../print.js'
import { withConnection, withOperator, type CommonFlags } from '../session.js'
import type { Terminal } from '../terminal.js'

interface Flags extends CommonFlags {
  readonly sizes: readonly number[]
  readonly concurrency: number
  readonly duration: string
}

const LARGEST = 16 * 1024 * 1024
const MOST_CALLERS = 10_000

export function addBench(program: Command, terminal: Terminal): void {
  withConnection(program.command('bench'))
    .description('latency and throughput that a cache gets from this Redis over this network')
    .option('--sizes <list>', "sizes of values, as in '200,10kb'", sizes, [200, 10 * 1024])
    .option('--concurrency <callers>', 'callers at the same time', callers, 50)
    .option('--duration <duration>', 'of each measurement', '500ms')
    .action((flags: Flags) => bench(flags, terminal))
}

async function bench(flags: Flags, terminal: Terminal): Promise<void> {
  const durationMs = milliseconds(flags.duration, '--duration')
  const results = await withOperator(flags, terminal, (operator, settings) =>
    runBench(operator, {
      namespace: requiredNamespace(settings),
      sizes: flags.sizes,
      concurrency: flags.concurrency,
      durationMs,
      onStep: (step) => {
        if (terminal.errIsTerminal) terminal.err(`\r${step}\u001B[K`)
      }
    })
  )
  if (terminal.errIsTerminal) terminal.err('\r\u001B[K')
  if (flags.json === true) terminal.out(json(results))
  else terminal.out(benchText(results, painter(terminal)))
}

export function benchText(results: readonly BenchResult[], paint: Paint): string {
  const columns = [
    { title: 'what' },
    { title: 'value', right: true },
    { title: 'keys/s', right: true },
    { title: 'MB/s', right: true },
    { title: 'p50', right: true },
    { title: 'p95', right: true },
    { title: 'p99', right: true },
    { title: 'worst', right: true }
  ]
  const rows = results.map(({ name, valueBytes, keysPerSecond, megabytesPerSecond, latencyMs }) => [
    name,
    valueBytes === 0 ? '' : bytesText(valueBytes),
    countText(keysPerSecond),
    megabytesPerSecond === 0 ? '' : megabytesPerSecond.toFixed(1),
    durationText(latencyMs.p50),
    durationText(latencyMs.p95),
    durationText(latencyMs.p99),
    durationText(latencyMs.max)
  ])
  return table(columns, rows, paint)
}

function sizes(text: string): number[] {
  return text.split(',').map((one) => {
    const bytes = parseBytes(one)
    if (bytes === undefined || bytes < 1 || bytes > LARGEST) {
      throw new InvalidArgumentError(`"${one}" is no size from 1 to 16mb.`)
    }
    return bytes
  })
}

function callers(text: string): number {
  const count = Number(text)
  if (Number.isInteger(count) && count >= 1 && count <= MOST_CALLERS) return count
  throw new InvalidArgumentError(`Needed: a whole number from 1 to ${MOST_CALLERS}.`)
}
