import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, realpathSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { root } from './machine.js'

export interface Installed {
  readonly bytes: number
  /** Packages, with those that were asked for. */
  readonly packages: number
}

/** What lies on the disk of somebody who installs these packages: they and all that they depend on, each once. */
export function installedSize(names: readonly string[]): Installed {
  const sizes = new Map<string, number>()
  const visit = (name: string, from: string): void => {
    const folder = folderOf(name, from)
    if (sizes.has(folder)) return
    sizes.set(folder, folder === realpathSync(root) ? packedSize() : sizeOf(folder))
    const { dependencies = {} } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as {
      dependencies?: Record<string, string>
    }
    for (const dependency of Object.keys(dependencies)) visit(dependency, folder)
  }
  for (const name of names) visit(name, join(root, 'benchmarks'))
  return { bytes: [...sizes.values()].reduce((sum, one) => sum + one, 0), packages: sizes.size }
}

/** As Node looks for it. */
function folderOf(name: string, from: string): string {
  for (let folder = from; ; folder = dirname(folder)) {
    const candidate = join(folder, 'node_modules', name)
    if (existsSync(join(candidate, 'package.json'))) return realpathSync(candidate)
    if (folder === dirname(folder)) throw new Error(`${name} is not installed for ${from}`)
  }
}

function sizeOf(folder: string): number {
  return readdirSync(folder, { withFileTypes: true }).reduce((sum, child) => {
    if (child.name === 'node_modules') return sum
    const path = join(folder, child.name)
    return sum + (child.isDirectory() ? sizeOf(path) : statSync(path).size)
  }, 0)
}

/** Corral as it is published, not with its tests and its history. */
function packedSize(): number {
  const output = execFileSync('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], {
    cwd: root,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore']
  })
  const [packed] = JSON.parse(output) as { unpackedSize: number }[]
  return packed!.unpackedSize
}
