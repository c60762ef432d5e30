/**
 * Asks all questions, or those that are named.
 *
 *     npm run bench [-- name …] [-- --quick]
 */
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { note } from './support/versus.js'

const QUESTIONS = [
  'hit-path',
  'memory-hit',
  'memory-news',
  'latency',
  'http',
  'outage',
  'stampede',
  'expiry-storm',
  'dead-leader',
  'stale-set',
  'write',
  'write-race',
  'write-behind',
  'clear',
  'footprint',
  'codec'
]

const args = process.argv.slice(2)
const firstOption = args.findIndex((arg) => arg.startsWith('--'))
const named = firstOption === -1 ? args : args.slice(0, firstOption)
const options = firstOption === -1 ? [] : args.slice(firstOption)

const unknown = named.filter((name) => !QUESTIONS.includes(name))
if (unknown.length > 0) {
  note(`There is no benchmark "${unknown.join('", "')}". There are: ${QUESTIONS.join(', ')}`)
  process.exit(2)
}
for (const name of named.length > 0 ? named : QUESTIONS) {
  const file = fileURLToPath(new URL(`${name}.ts`, import.meta.url))
  note(`\n${name}\n`)
  const { status } = spawnSync(process.execPath, ['--import', 'tsx', file, ...options], { stdio: 'inherit' })
  if (status !== 0) process.exit(status ?? 1)
}
