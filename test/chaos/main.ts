/**
 * The fault lab: a fleet of real processes reads and writes through the cache while everything around it breaks.
 *
 *     npm run chaos -- --minutes 10 [--seed 7] [--topology single|sentinel|cluster]
 *
 * Ends with 1, and prints the seed and the shortest history it can find, when something was seen that must not happen.
 */
import { parseArgs } from 'node:util'
import { runLab, type LabReport, type Progress } from './lab.js'
import type { TopologyName } from './topology.js'

const TOPOLOGIES: readonly string[] = ['single', 'sentinel', 'cluster']
const SHOWN_LINES = 80

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '1' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    topology: { type: 'string', default: 'single' }
  }
})
const minutes = Number(values.minutes)
const seed = Number(values.seed)
if (!(minutes > 0)) refuse(`--minutes must be a number above 0, not "${values.minutes}"`)
if (!Number.isInteger(seed)) refuse(`--seed must be a whole number, not "${values.seed}"`)
if (!TOPOLOGIES.includes(values.topology))
  refuse(`--topology must be one of ${TOPOLOGIES.join(', ')}, not "${values.topology}"`)
const topology = values.topology as TopologyName

console.log(`The fault lab: ${topology}, ${minutes} minutes, seed ${seed}`)
const report = await runLab({ minutes, seed, topology, onProgress: show })
if (process.stdout.isTTY) process.stdout.write('\n')
tell(report)
process.exit(report.violations.length === 0 ? 0 : 1)

function show({ round, elapsedMs, operations, faults, doing }: Progress): void {
  const elapsed = Math.round(elapsedMs / 1000)
  const line = `round ${round + 1}, ${elapsed} s of ${minutes * 60} s: ${operations} operations checked, ${faults} faults, ${doing}`
  if (process.stdout.isTTY) process.stdout.write(`\r\u001b[K${line}`)
  else if (elapsed % 10 === 0 || doing === 'coming to rest') console.log(line)
}

function tell({
  rounds,
  reads,
  writes,
  failed,
  faults,
  withinLimits,
  violations,
  seed: failedSeed
}: LabReport): void {
  console.log(
    `${rounds} rounds, ${reads} reads and ${writes} writes and invalidations, of which ${failed} ended in an error`
  )
  console.log('\ninjected:')
  for (const [what, count] of Object.entries(faults).sort((a, b) => b[1] - a[1]))
    console.log(`  ${String(count).padStart(5)}  ${what}`)
  console.log(
    '\nold values within the stated limits:',
    Object.keys(withinLimits).length === 0 ? 'none' : withinLimits
  )
  console.log(`\n${violations.length} violations`)
  const shortest = violations[0]
  if (shortest === undefined) return
  console.log(
    `seed ${failedSeed}: npm run chaos -- --minutes 0.3 --seed ${failedSeed} --topology ${topology}\n`
  )
  console.log(shortest.what)
  console.log(shortest.history.slice(0, SHOWN_LINES).join('\n'))
}

function refuse(message: string): never {
  console.error(message)
  process.exit(2)
}
