import { execFileSync, spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { isOutdated } from './build.mjs'
import { findMissing } from './packages.mjs'
import { root } from './paths.mjs'
import { planInstallation } from './redis.mjs'
import { runSteps } from './tests.mjs'

let folder

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'corral-setup-'))
})

afterEach(() => {
  rmSync(folder, { recursive: true, force: true })
})

function write(path, content) {
  mkdirSync(dirname(join(folder, path)), { recursive: true })
  writeFileSync(join(folder, path), typeof content === 'string' ? content : JSON.stringify(content))
}

describe('npm packages', () => {
  const lock = {
    packages: {
      '': { version: '1.0.0' },
      'node_modules/pg': { version: '8.0.0' },
      'node_modules/shop': { resolved: 'examples/shop', link: true },
      'node_modules/only-on-macos': { version: '1.0.0', optional: true }
    }
  }

  it('are installed when there are none', () => {
    write('package-lock.json', lock)
    expect(findMissing(folder)).toBe('there are none yet')
  })

  it('are left alone when they are what the lock file asks for, whoever installed them', () => {
    const { 'node_modules/only-on-macos': _, ...installed } = lock.packages
    write('package-lock.json', lock)
    write('node_modules/.package-lock.json', { packages: installed })
    expect(findMissing(folder)).toBeUndefined()
  })

  it.each([
    ['is missing', { 'node_modules/shop': { link: true } }, 'pg is missing'],
    [
      'has another version',
      { 'node_modules/shop': { link: true }, 'node_modules/pg': { version: '7.0.0' } },
      'pg is 7.0.0, wanted is 8.0.0'
    ]
  ])('are installed when one %s', (_, installed, reason) => {
    write('package-lock.json', lock)
    write('node_modules/.package-lock.json', { packages: installed })
    expect(findMissing(folder)).toBe(reason)
  })
})

describe('the build', () => {
  it('is made when it is absent, and again when a source file is newer', () => {
    write('src/index.ts', '')
    write('src/index.test.ts', '')
    expect(isOutdated(folder)).toBe(true)

    write('dist/index.js', '')
    utimesSync(join(folder, 'src/index.ts'), 1, 1)
    utimesSync(join(folder, 'src'), 1, 1)
    expect(isOutdated(folder)).toBe(false)

    const later = Date.now() / 1000 + 60
    utimesSync(join(folder, 'src/index.test.ts'), later, later)
    expect(isOutdated(folder)).toBe(false)

    utimesSync(join(folder, 'src/index.ts'), later, later)
    expect(isOutdated(folder)).toBe(true)
  })
})

describe('installing Redis', () => {
  const machine = ({ managers, isRoot = false, sudo = false }) =>
    planInstallation({ has: (program) => managers.includes(program), isRoot, maySudo: () => sudo })

  it('uses the package manager that is there, directly for root and else through sudo', () => {
    expect(machine({ managers: ['apk'], isRoot: true })).toEqual({
      manager: 'apk',
      command: ['sh', '-c', 'apk add --no-cache redis']
    })
    expect(machine({ managers: ['pacman'], sudo: true }).command.slice(0, 3)).toEqual(['sudo', '-n', 'sh'])
    expect(machine({ managers: ['brew'] }).command).toEqual(['sh', '-c', 'brew install redis'])
  })

  it('says which command to run when it may not install', () => {
    expect(machine({ managers: ['apt-get'] }).advice).toContain('sudo apt-get install redis-server')
    expect(machine({ managers: ['brew'], isRoot: true }).advice).toContain('brew does not run as root')
  })

  it('says where to find Redis when there is no package manager it knows', () => {
    expect(machine({ managers: [] }).advice).toContain('https://redis.io')
  })

  it.each(['apt-get', 'dnf', 'yum', 'apk', 'pacman', 'zypper'])(
    'has a script for %s that a shell can read',
    (manager) => {
      const { command } = machine({ managers: [manager], isRoot: true })
      execFileSync('sh', ['-n', '-c', command.at(-1)])
    }
  )
})

describe('the steps of npm test', () => {
  it('all run though one fails, and the last line names the failed one', async () => {
    const lines = []
    const step = (name, code) => ({ name, execute: async () => code })
    const code = await runSteps([step('types', 0), step('lint', 3), step('tests', 0)], (line) =>
      lines.push(line)
    )
    expect(code).toBe(1)
    expect(lines.some((line) => line.startsWith('[2/3] lint: FAILED with exit code 3'))).toBe(true)
    expect(lines.some((line) => line.startsWith('[3/3] tests: passed'))).toBe(true)
    expect(lines.at(-1)).toMatch(/Failed after .*: lint$/)
  })

  it('stop where the rest could only fail as well', async () => {
    const ran = []
    const step = (name, code, required) => ({ name, required, execute: async () => (ran.push(name), code) })
    expect(await runSteps([step('build', 1, true), step('types', 0)], () => undefined)).toBe(1)
    expect(ran).toEqual(['build'])
  })
})

describe('the command line', () => {
  it('tells how it is used when the command is not known', async () => {
    const child = spawn(process.execPath, [join(root, 'scripts/run.mjs'), 'constructor'], { stdio: 'pipe' })
    let printed = ''
    child.stderr.on('data', (text) => {
      printed += text
    })
    const code = await new Promise((resolve) => child.once('close', resolve))
    expect(code).toBe(2)
    expect(printed).toContain('Usage: node scripts/run.mjs <demo | start | bench | chaos | mutate | test>')
  })
})
