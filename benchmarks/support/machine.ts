import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { cpus, release, totalmem } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const root: string = fileURLToPath(new URL('../..', import.meta.url))

/** What a figure depends on beside the code that it measures. */
export interface Circumstances {
  readonly measuredAt: string
  readonly cpu: string
  readonly cores: number
  readonly memoryGiB: number
  readonly os: string
  readonly node: string
  readonly redis: string
  /** The commit of Corral; '+' when files had changed since. */
  readonly corral: string
  readonly packages: Readonly<Record<string, string>>
}

export function circumstances(redis: string, packages: readonly string[]): Circumstances {
  return {
    measuredAt: new Date().toISOString().slice(0, 10),
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cores: cpus().length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    os: `${process.platform} ${release().split('.').slice(0, 2).join('.')}`,
    node: process.version,
    redis,
    corral: commit(),
    packages: versionsOf(packages)
  }
}

/** As installed. */
export function versionsOf(packages: readonly string[]): Record<string, string> {
  return Object.fromEntries([...new Set(packages)].toSorted().map((name) => [name, versionOf(name)]))
}

function versionOf(name: string): string {
  for (const folder of ['benchmarks/node_modules', 'node_modules']) {
    try {
      return (
        JSON.parse(readFileSync(join(root, folder, name, 'package.json'), 'utf8')) as { version: string }
      ).version
    } catch {
      // Not hoisted, or hoisted: the other folder has it.
    }
  }
  return 'unknown'
}

function commit(): string {
  try {
    const git = (...args: string[]): string =>
      execFileSync('git', args, { cwd: root, encoding: 'utf8' }).trim()
    return git('rev-parse', '--short', 'HEAD') + (git('status', '--porcelain', '--', 'src') === '' ? '' : '+')
  } catch {
    return 'unknown' // An unpacked archive has no history.
  }
}
