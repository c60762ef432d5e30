/**
 * Looks at the package as a user gets it: packs it into a temporary folder, then publint reads its package.json and
 * layout, and Are The Types Wrong resolves every entry the way each kind of importer does.
 */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const folder = mkdtempSync(join(tmpdir(), 'corral-package-'))
try {
  // The build is a step of its own, before this one.
  execFileSync('npm', ['pack', '--silent', '--ignore-scripts', '--pack-destination', folder], {
    stdio: 'inherit'
  })
  const name = readdirSync(folder).find((file) => file.endsWith('.tgz'))
  if (name === undefined) throw new Error('npm pack wrote no package')
  const tarball = join(folder, name)
  check('publint', ['run', tarball, '--strict'])
  // ESM only is what we publish; require() of ESM works in every Node we support.
  check('attw', [tarball, '--profile', 'esm-only'])
} finally {
  rmSync(folder, { recursive: true, force: true })
}

function check(program: string, args: readonly string[]): void {
  try {
    execFileSync(join('node_modules/.bin', program), args, { stdio: 'inherit' })
  } catch {
    // It has printed what is wrong.
    process.exitCode = 1
  }
}
