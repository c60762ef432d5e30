import type { Verdict } from './mutant.js'
import type { Mutation } from './mutation.js'

const BEGIN = '<!-- Written by `npm run mutate -- --write`. -->'
const END = '<!-- End of the mutations. -->'
const HEAD = ['| invariant | without its guard: | caught by | after |', '|---|---|---|---|']

/** A mutation and the test that noticed it, as a row of the table in docs/reliability.md. */
export function rowOf({ invariant, without, tests }: Mutation, verdict: Verdict): string {
  const file = tests[0]!
  const name = file.split('/').at(-1)!
  const caughtBy = verdict.caught ? `[${name}](../${file} "${titleOf(verdict.test)}")` : '**nothing**'
  return `| ${invariant} | ${without} | ${caughtBy} | ${verdict.caught ? effort(verdict.message) : ''} |`
}

/** How many runs the test needed until it noticed. */
function effort(message: string): string {
  const runs = /Property failed after (\d+) tests/.exec(message)?.[1]
  return runs === undefined ? '' : `${runs} interleavings`
}

/** Numbers in a title come from settings; the link's check looks for the words around them. */
function titleOf(test: string): string {
  return test.split(/\d+ (?:interleavings|sequences) of /).at(-1) ?? test
}

/** The page with its table replaced: what was tried now, and of the others what it had of them. */
export function withTable(
  page: string,
  all: readonly Mutation[],
  tried: ReadonlyMap<Mutation, string>
): string {
  const [before, rest] = page.split(BEGIN)
  const after = rest?.split(END)[1]
  if (before === undefined || after === undefined)
    throw new Error(`The page has no place for the table: ${BEGIN} … ${END}`)
  const known = new Map(rowsIn(page).map((row) => [sentenceOf(row), row]))
  const rows = all.map((one) => tried.get(one) ?? known.get(one.without)).filter((row) => row !== undefined)
  return `${before}${BEGIN}\n\n${[...HEAD, ...rows].join('\n')}\n\n${END}${after}`
}

/** The mutations that the page tells of. */
export function mutationsIn(page: string): string[] {
  return rowsIn(page).map(sentenceOf)
}

function rowsIn(page: string): string[] {
  const table = page.split(BEGIN)[1]?.split(END)[0] ?? ''
  return table.split('\n').filter((line) => /^\| [IWMB]\d/.test(line))
}

const sentenceOf = (row: string): string => row.split(' | ')[1]!
