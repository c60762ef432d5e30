import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Failure, run } from './command.mjs'
import { root } from './paths.mjs'

/** Runs `npm ci` when what is installed is not what package-lock.json asks for. */
export async function installPackages() {
  const missing = findMissing(root)
  if (missing === undefined) return
  console.log(`Installing npm packages (npm ci): ${missing}`)
  // Its warnings are about packages that only the benchmarks compare; errors still show.
  const code = await npm(['ci', '--loglevel', 'error'])
  if (code !== 0) {
    throw new Failure(
      'npm ci failed; its messages are above. It needs the npm registry: check the network, and "npm config get registry".'
    )
  }
}

/** The npm that runs this, so that one machine's second npm does not come in between. */
export function npm(args) {
  const path = process.env.npm_execpath
  // pnpm and yarn set the variable too, and know nothing of package-lock.json.
  const isNpm = path !== undefined && /npm-cli\.c?js$/.test(path)
  return isNpm ? run(process.execPath, [path, ...args], { cwd: root }) : run('npm', args, { cwd: root })
}

/**
 * Why packages must be installed, or nothing. npm itself writes what it installed to node_modules/.package-lock.json, as
 * its last step, so a half-finished installation shows as well as an outdated one.
 */
export function findMissing(folder) {
  const installed = readLock(join(folder, 'node_modules/.package-lock.json'))
  if (installed === undefined) return 'there are none yet'
  const wanted = readLock(join(folder, 'package-lock.json')) ?? {}
  for (const [path, { version, optional, link }] of Object.entries(wanted)) {
    // Optional packages are there for some systems only; those in a workspace's folder are a matter of hoisting.
    if (!path.startsWith('node_modules/') || optional === true) continue
    const found = installed[path]
    if (found === undefined) return `${nameOf(path)} is missing`
    if (link !== true && found.version !== version) {
      return `${nameOf(path)} is ${found.version}, wanted is ${version}`
    }
  }
  return undefined
}

function readLock(path) {
  return existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')).packages : undefined
}

function nameOf(path) {
  return path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length)
}
