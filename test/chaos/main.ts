/**
 * The fault lab: a fleet of real processes reads and writes through the cache while everything around it breaks.
 *
 *     npm run chaos -- --minutes 10 [--seed 7] [--topology single|sentinel|cluster] [--report run.json]
 *
 * `--report` writes what ran and what was found, as JSON, and beside it as Markdown. Ends with 1, and prints the seed and the
 * shortest history it can find, when something was seen that must not happen; with 2 when it was not told what to do.
 */
import { constants } from 'node:fs'
import { access, writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { parseArgs } from 'node:util'
import '../support/end-with-parent.js'
import { runLab, type Progress } from './lab.js'
import { asMarkdown, exitCodeOf, violationIn } from './report.js'
import type { TopologyName } from './topology.js'

const TOPOLOGIES: readonly string[] = ['single', 'sentinel', 'cluster']
const USAGE = `npm run chaos -- [--minutes 1] [--seed N] [--topology ${TOPOLOGIES.join('|')}] [--report run.json]`

const values = optionsIn(process.argv.slice(2))
if (values.help === true) {
  console.log(USAGE)
  process.exit(0)
}
const minutes = Number(values.minutes)
const seed = Number(values.seed)
if (!(minutes > 0)) refuse(`--minutes must be a number above 0, not "${values.minutes}"`)
if (!Number.isInteger(seed)) refuse(`--seed must be a whole number, not "${values.seed}"`)
if (!TOPOLOGIES.includes(values.topology))
  refuse(`--topology must be one of ${TOPOLOGIES.join(', ')}, not "${values.topology}"`)
const topology = values.topology as TopologyName
if (values.report !== undefined) {
  const folder = dirname(values.report)
  await access(folder, constants.W_OK).catch(() =>
    refuse(`--report needs a folder to write in, not "${folder}"`)
  )
}

console.log(`The fault lab: ${topology}, ${minutes} minutes, seed ${seed}`)
const report = await runLab({ minutes, seed, topology, onProgress: show })
if (process.stdout.isTTY) process.stdout.write('\n')
const settings = { minutes, seed, topology }
console.log(asMarkdown(settings, report))
for (const line of violationIn(settings, report)) console.log(line)
if (values.report !== undefined) {
  await writeFile(values.report, `${JSON.stringify({ ...settings, ...report }, null, 2)}\n`)
  await writeFile(values.report.replace(/(\.json)?$/, '.md'), asMarkdown(settings, report))
}
process.exit(exitCodeOf(report))

function show({ round, elapsedMs, operations, faults, doing }: Progress): void {
  const elapsed = Math.round(elapsedMs / 1000)
  const line = `round ${round + 1}, ${elapsed} s of ${minutes * 60} s: ${operations} operations checked, ${faults} faults, ${doing}`
  if (process.stdout.isTTY) process.stdout.write(`\r\u001b[K${line}`)
  else if (elapsed % 10 === 0 || doing === 'coming to rest') console.log(line)
}

function optionsIn(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      options: {
        minutes: { type: 'string', default: '1' },
        seed: { type: 'string', default: String(Date.now() % 1_000_000) },
        topology: { type: 'string', default: 'single' },
        report: { type: 'string' },
        help: { type: 'boolean' }
      }
    }).values
  } catch (error) {
    // Node goes on to say how a program would be written that takes it.
    return refuse((error as Error).message.split('. ')[0]!)
  }
}

function refuse(message: string): never {
  console.error(`${message}\n${USAGE}`)
  process.exit(2)
}
