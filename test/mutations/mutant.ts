import { cp, mkdir, readFile, symlink, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { spawnGuarded } from '../support/guarded-process.js'
import { createTemporaryFolder } from '../support/temporary-folder.js'
import type { Edit, Mutation } from './mutation.js'

export const root = join(dirname(fileURLToPath(import.meta.url)), '../..')

const COPIED = ['src', 'test', 'scripts', 'package.json', 'tsconfig.json', 'vitest.config.ts']

/** What became of a mutation: the test that failed and what it said, or nothing when all passed. */
export type Verdict =
  | { readonly caught: true; readonly test: string; readonly message: string }
  | { readonly caught: false; readonly output: string }

/** The text with the edit made. Throws when what is to be replaced is not there exactly once. */
export function edited(text: string, { file, find, replace }: Edit): string {
  const parts = text.split(find)
  if (parts.length !== 2)
    throw new Error(`"${find}" is ${parts.length - 1} times in ${file}: the mutation has to follow the code`)
  return parts.join(replace)
}

export async function sourceOf(file: string): Promise<string> {
  return readFile(join(root, file), 'utf8')
}

/** Runs the mutation's tests on a copy of the project in which the mutation is made. */
export async function judge(mutation: Mutation): Promise<Verdict> {
  await using folder = disposable(await createTemporaryFolder('mutant'))
  await mkdir(folder.path, { recursive: true })
  for (const name of COPIED) await cp(join(root, name), join(folder.path, name), { recursive: true })
  await symlink(join(root, 'node_modules'), join(folder.path, 'node_modules'))
  for (const edit of mutation.edits) {
    const file = join(folder.path, edit.file)
    await writeFile(file, edited(await readFile(file, 'utf8'), edit))
  }
  if (mutation.edits.some(({ file }) => file.endsWith('.lua'))) {
    const embedded = await run(folder.path, ['--import', 'tsx', 'scripts/embed-scripts.ts'])
    if (embedded.code !== 0) throw new Error(`The scripts could not be embedded:\n${embedded.output}`)
  }
  const report = join(folder.path, 'report.json')
  const { output } = await run(folder.path, [
    join(root, 'node_modules/vitest/vitest.mjs'),
    'run',
    ...mutation.tests,
    '--reporter=json',
    `--outputFile=${report}`
  ])
  return verdictOf(await readFile(report, 'utf8').catch(() => ''), output)
}

interface Report {
  readonly testResults: readonly {
    readonly message?: string
    readonly assertionResults: readonly {
      readonly status: string
      readonly title: string
      readonly failureMessages: readonly string[]
    }[]
  }[]
}

function verdictOf(report: string, output: string): Verdict {
  if (report === '') throw new Error(`The tests did not run:\n${output}`)
  const { testResults } = JSON.parse(report) as Report
  const all = testResults.flatMap(({ assertionResults }) => assertionResults)
  // A mutant that does not even load would look as if it had been caught.
  if (all.length === 0)
    throw new Error(`No test ran:\n${testResults.map(({ message }) => message).join('\n')}\n${output}`)
  const failed = all.find(({ status }) => status === 'failed')
  if (failed === undefined) return { caught: false, output }
  // A machine that is too slow notices nothing.
  if (failed.failureMessages.some((message) => /timed out in \d+ ?ms/.test(message)))
    throw new Error(`"${failed.title}" ran out of time`)
  return { caught: true, test: failed.title, message: failed.failureMessages.join('\n') }
}

/** It ends with this process, which may be told to end in the middle of hundreds of these. */
async function run(cwd: string, args: readonly string[]): Promise<{ code: number; output: string }> {
  const env = { ...process.env, FIRST_FAILURE: '1', NO_COLOR: '1', PATIENCE: '10' }
  const child = await spawnGuarded(process.execPath, args, { cwd, env, endSignal: 'TERM', patienceMs: 5_000 })
  const code = await child.wait()
  return { code, output: child.output() }
}

function disposable<T extends { remove(): Promise<void> }>(folder: T): T & AsyncDisposable {
  return Object.assign(folder, { [Symbol.asyncDispose]: () => folder.remove() })
}
