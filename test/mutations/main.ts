/**
 * Takes each guard of each invariant away, one at a time, and shows which test notices.
 *
 *     npm run mutate [-- invariant or part of a sentence …] [-- --write]
 *
 * `--write` writes what was tried into the table of docs/reliability.md. Ends with 1 when a mutation passes the tests.
 */
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import '../support/end-with-parent.js'
import { chosenBy } from './choice.js'
import { judge, root, type Verdict } from './mutant.js'
import type { Mutation } from './mutation.js'
import { MUTATIONS } from './mutations.js'
import { rowOf, withTable } from './table.js'

const AT_ONCE = 2

const choice = chosenBy(process.argv.slice(2), MUTATIONS)
if ('problem' in choice) {
  console.error(`${choice.problem}\nnpm run mutate [-- invariant or part of a sentence …] [-- --write]`)
  process.exit(2)
}
const { chosen, writes } = choice

const rows = new Map<Mutation, string>()
const survivors: Mutation[] = []
let done = 0

async function next(queue: Mutation[]): Promise<void> {
  for (let mutation = queue.shift(); mutation !== undefined; mutation = queue.shift()) {
    const verdict = await judge(mutation)
    rows.set(mutation, rowOf(mutation, verdict))
    if (!verdict.caught) survivors.push(mutation)
    console.log(`[${++done}/${chosen.length}] ${mutation.invariant}  ${mutation.without}: ${saying(verdict)}`)
  }
}

function testsOf(mutations: readonly Mutation[]): string[] {
  return [...new Set(mutations.flatMap(({ tests }) => tests))]
}

function saying(verdict: Verdict): string {
  if (!verdict.caught) return 'NOT CAUGHT'
  const found = /Got error: (.*)|Caused by: Error: (.*)|Property failed after \d+ tests/.exec(verdict.message)
  return `caught (${found?.[0] ?? verdict.test})`
}

// Without this a test that fails anyway would catch everything.
const control: Mutation = { invariant: 'I1', without: 'nothing', edits: [], tests: testsOf(chosen) }
const sound = await judge(control)
if (sound.caught) {
  console.error(`The tests fail without any mutation: ${sound.test}\n${sound.message}`)
  process.exit(1)
}
console.log('Without a mutation the tests pass')

const queue = [...chosen]
await Promise.all(Array.from({ length: AT_ONCE }, () => next(queue)))

if (writes) {
  const page = join(root, 'docs/reliability.md')
  await writeFile(page, withTable(await readFile(page, 'utf8'), MUTATIONS, rows))
}
console.log(`${chosen.length - survivors.length} of ${chosen.length} mutations are caught`)
process.exitCode = survivors.length === 0 ? 0 : 1
