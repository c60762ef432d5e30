/**
 * Asks all questions, or those that are named.
 *
 *     npm run bench [-- name …] [-- --quick]
 */
import { fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import '../test/support/end-with-parent.js'
import { parseCommand } from './command.js'
import { note } from './support/versus.js'

const QUESTIONS = [
  'hit-path',
  'memory-hit',
  'memory-news',
  'coherence',
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

const USAGE = `npm run bench                          every question, about an hour and a half
npm run bench -- stampede http         these
npm run bench -- --quick               each in a short version, to see that it works; nothing is kept
npm run bench -- stampede --help       what can be told to this one

A whole question replaces what is kept of it in benchmarks/results, and what is shown of it in docs/benchmarks.md and README.md.
There are: ${QUESTIONS.join(', ')}`

const END_WITH_PARENT = new URL('../test/support/end-with-parent.ts', import.meta.url).href

// Where the `--` is left out npm keeps the option for itself, and says so here.
const swallowed = process.env['npm_config_quick'] === 'true' ? ['--quick'] : []
const command = parseCommand([...swallowed, ...process.argv.slice(2)], QUESTIONS)
if (command.do === 'explain') console.log(USAGE)
else if (command.do === 'refuse') {
  note(`${command.why}\n\n${USAGE}`)
  process.exitCode = 2
} else process.exitCode = await ask(command.questions, command.options)

/** One that fails does not keep the others from being asked; an option that it refuses does. */
async function ask(questions: readonly string[], options: readonly string[]): Promise<number> {
  const failed: string[] = []
  for (const name of questions) {
    note(`\n${name}\n`)
    const code = await run(fileURLToPath(new URL(`${name}.ts`, import.meta.url)), options)
    if (code === 2) return 2
    if (code !== 0) failed.push(name)
  }
  if (failed.length > 0) note(`\nFailed: ${failed.join(', ')}`)
  return failed.length > 0 ? 1 : 0
}

/** In a process of its own, so that no question is measured in what another one left behind; it ends with this one. */
function run(file: string, options: readonly string[]): Promise<number> {
  const child = fork(file, options, { execArgv: ['--import', 'tsx', '--import', END_WITH_PARENT] })
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('exit', (code) => resolve(code ?? 1))
  })
}
