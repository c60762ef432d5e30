import { execFile } from 'node:child_process'
import { copyFile, cp, readFile, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { Redis } from 'ioredis'
import { Client } from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startPostgresServer, type PostgresServer } from '../support/postgres-server.js'
import { startRedisServer, type RedisServer } from '../support/redis-server.js'
import { createTemporaryFolder, type TemporaryFolder } from '../support/temporary-folder.js'
import { documentationPages, modulesOf, modulesOfPage } from './pages.js'

const run = promisify(execFile)
const root = fileURLToPath(new URL('../..', import.meta.url))
const modules = documentationPages(root).flatMap((page) => modulesOfPage(root, page))
const fileOf = (name: string): string => name.replaceAll(/[^A-Za-z0-9-]/g, '_')

/** As a stranger's project has it: strict, and Corral by its published name. */
const TSCONFIG = {
  compilerOptions: {
    target: 'es2023',
    lib: ['es2023'],
    module: 'nodenext',
    types: ['node'],
    strict: true,
    noUncheckedIndexedAccess: true,
    sourceMap: true
  },
  include: ['*.ts']
}
/** Their own declarations do not compile without the drivers that an example does not use. */
const WITHOUT_ALL_DRIVERS = /from '(drizzle-orm|bentocache|cache-manager|@keyv\/redis)/
const TSCONFIG_SKIPPING_LIBRARIES = {
  extends: './tsconfig.json',
  compilerOptions: { skipLibCheck: true },
  include: ['world.ts'],
  files: modules
    .filter(({ source }) => WITHOUT_ALL_DRIVERS.test(source))
    .map(({ name }) => `${fileOf(name)}.ts`)
}

/** For what takes a second on a machine that has nothing else to do. */
const RUN_MS = 100_000
/** The compiler takes several there, and has every page before it. */
const COMPILE_MS = 300_000

let folder: TemporaryFolder
let server: RedisServer
let postgres: PostgresServer
/** What the compiler had to say; undefined when it had nothing. */
let compilerComplaint: unknown

beforeAll(async () => {
  ;[folder, server, postgres] = await Promise.all([
    createTemporaryFolder('examples'),
    startRedisServer(),
    startPostgresServer({ durable: false })
  ])
  await cp(new URL('database/generated', import.meta.url), join(folder.path, 'generated'), {
    recursive: true
  })
  await symlink(join(root, 'node_modules'), join(folder.path, 'node_modules'))
  await writeFile(join(folder.path, 'package.json'), '{ "type": "module" }')
  const config = { ...TSCONFIG, exclude: TSCONFIG_SKIPPING_LIBRARIES.files }
  await writeFile(join(folder.path, 'tsconfig.json'), JSON.stringify(config))
  await writeFile(join(folder.path, 'tsconfig.skipping.json'), JSON.stringify(TSCONFIG_SKIPPING_LIBRARIES))
  for (const file of ['world.ts', 'assertions.ts']) {
    await copyFile(new URL(file, import.meta.url), join(folder.path, file))
  }
  for (const { name, source } of modules) {
    await writeFile(join(folder.path, `${fileOf(name)}.ts`), source)
  }
  compilerComplaint = await compile().catch((error: unknown) => error)
}, 3 * COMPILE_MS)
afterAll(async () => {
  await Promise.all([folder.remove(), server.stop(), postgres.stop()])
})

/** What a program printed, when it fails: the error of `execFile` does not say. */
async function execute(program: string, args: readonly string[], timeoutMs: number): Promise<string> {
  try {
    const { stdout } = await run(program, args, {
      cwd: folder.path,
      env: { ...process.env, REDIS_URL: server.url, DATABASE_URL: postgres.url },
      timeout: timeoutMs
    })
    return stdout
  } catch (error) {
    const { stdout, stderr } = error as { stdout: string; stderr: string }
    throw new Error(`${stdout}\n${stderr}`.trim(), { cause: error })
  }
}

async function compile(): Promise<void> {
  const compiler = join(root, 'node_modules/typescript/bin/tsc')
  for (const config of ['tsconfig.json', 'tsconfig.skipping.json'])
    await execute(process.execPath, [compiler, '-p', config], COMPILE_MS)
}

async function makeTables(): Promise<void> {
  const database = new Client({ connectionString: postgres.url })
  await database.connect()
  await database.query(await readFile(new URL('database/tables.sql', import.meta.url), 'utf8'))
  await database.end()
}

describe('the examples in the documentation', () => {
  it('are there', () => {
    expect(modules.length).toBeGreaterThan(0)
  })

  it('compile, strictly, against the published package', () => {
    if (compilerComplaint !== undefined) throw compilerComplaint
  })

  for (const { name, source } of modules.filter((one) => one.run)) {
    it(`do what they say: ${name}`, { timeout: 2 * RUN_MS }, async () => {
      const admin = new Redis(server.url)
      await admin.flushall()
      admin.disconnect()
      if (source.includes('DATABASE_URL')) await makeTables()
      await execute(process.execPath, ['--enable-source-maps', `${fileOf(name)}.js`], RUN_MS)
    })
  }
})

describe('a page', () => {
  const page = (...lines: string[]): string => ['# Title', '', ...lines].join('\n')

  it('is one module that keeps the lines of the page', () => {
    const [module, ...others] = modulesOf(
      'page.md',
      page(
        '```ts',
        "import { a } from 'a'",
        'a() // => 1',
        '```',
        'Text.',
        '```ts',
        "import { a } from 'a'",
        'a()',
        '```'
      )
    )
    expect(others).toEqual([])
    const lines = module!.source.split('\n')
    expect(lines[0]).toContain("import { a } from 'a'; ")
    expect([lines[4], lines[9]]).toEqual([';holds(a(), 1, "page.md:5") // => 1', 'a()'])
  })

  it('may have blocks that stand alone, and must say why one is not run', () => {
    const modules = modulesOf(
      'page.md',
      page('```ts alone', 'a', '```', '```ts no-run needs a Cluster', 'b', '```')
    )
    expect(modules.map(({ name, run }) => [name, run])).toEqual([
      ['page.md:4', true],
      ['page.md:7', false]
    ])
    expect(() => modulesOf('page.md', page('```ts no-run', 'b', '```'))).toThrow('page.md:4')
  })

  it('ends with the claims that it has to have come to', () => {
    const [module] = modulesOf('page.md', page('```ts', 'try {', '  a() // => 1', '} catch {}', '```'))
    expect(module!.source).toContain('\nwereReached(["page.md:5"])\nprocess.exit(0)\n')
  })

  it('cannot claim something of nothing, nor be left open', () => {
    expect(() => modulesOf('page.md', page('```ts', '// => 1', '```'))).toThrow('page.md:4: nothing ends')
    expect(() => modulesOf('page.md', page('```ts', 'a'))).toThrow('page.md:4: the example has no end')
  })
})
