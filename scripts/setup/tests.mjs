import { join } from 'node:path'
import { run } from './command.mjs'
import { npm } from './packages.mjs'
import { root } from './paths.mjs'

/** Runs the whole suite, says how long each step took, and gives 0 when every step passed. */
export async function runTests(vitestArgs) {
  return runSteps([
    { name: 'build', execute: () => npm(['run', '--silent', 'build']), required: true },
    { name: 'types', execute: () => npm(['run', '--silent', 'check:types']) },
    { name: 'lint', execute: () => npm(['run', '--silent', 'check:lint']) },
    { name: 'imports', execute: () => npm(['run', '--silent', 'check:imports']) },
    { name: 'tests', execute: () => vitest(vitestArgs) },
    { name: 'package', execute: () => npm(['run', '--silent', 'check:package']) }
  ])
}

function vitest(args) {
  const program = join(root, 'node_modules/vitest/vitest.mjs')
  return run(process.execPath, [program, 'run', ...args], { cwd: root })
}

/**
 * One after the other: two cores are few. A failed step does not hide the ones after it, except where they would only
 * fail in its wake.
 */
export async function runSteps(steps, log = console.log) {
  const failed = []
  const startedAt = Date.now()
  for (const [index, { name, execute, required = false }] of steps.entries()) {
    const title = `[${index + 1}/${steps.length}] ${name}`
    log(`\n${title}`)
    const stepStartedAt = Date.now()
    const code = await execute()
    log(
      `${title}: ${code === 0 ? 'passed' : `FAILED with exit code ${code}`} (${duration(Date.now() - stepStartedAt)})`
    )
    if (code === 0) continue
    failed.push(name)
    if (required) break
  }
  const total = duration(Date.now() - startedAt)
  log(
    failed.length === 0
      ? `\nAll ${steps.length} steps passed in ${total}: ${steps.map(({ name }) => name).join(', ')}`
      : `\nFailed after ${total}: ${failed.join(', ')}`
  )
  return failed.length === 0 ? 0 : 1
}

function duration(ms) {
  const seconds = ms / 1000
  return seconds < 60
    ? `${seconds.toFixed(1)} s`
    : `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`
}
