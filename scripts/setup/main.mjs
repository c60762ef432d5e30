import { buildWhenOutdated } from './build.mjs'
import { Failure, run, stopWithParent } from './command.mjs'
import { installPackages } from './packages.mjs'
import { root } from './paths.mjs'
import { installRedis } from './redis.mjs'
import { runTests } from './tests.mjs'

const API = 'examples/reference-api/src'

/** What each command brings about first, and then does with its arguments. Gives the exit code. */
const COMMANDS = {
  demo: {
    prepare: [installPackages, installRedis, buildWhenOutdated],
    execute: (args) => runTypeScript(`${API}/demo/main.ts`, args)
  },
  start: {
    prepare: [installPackages, installRedis, buildWhenOutdated],
    execute: (args) => runTypeScript(`${API}/main.ts`, args)
  },
  bench: {
    prepare: [installPackages, installRedis, buildWhenOutdated],
    execute: (args) => runTypeScript('benchmarks/main.ts', args)
  },
  chaos: {
    prepare: [installPackages, installRedis],
    execute: (args) => runTypeScript('test/chaos/main.ts', args)
  },
  mutate: {
    prepare: [installPackages, installRedis],
    execute: (args) => runTypeScript('test/mutations/main.ts', args)
  },
  test: {
    // Its first step is the build.
    prepare: [installPackages, installRedis],
    execute: runTests
  }
}

export async function main([name, ...args]) {
  const command = Object.hasOwn(COMMANDS, name ?? '') ? COMMANDS[name] : undefined
  if (command === undefined) {
    console.error(`Usage: node scripts/run.mjs <${Object.keys(COMMANDS).join(' | ')}> [arguments]`)
    process.exit(2)
  }
  stopWithParent()
  // tsx would leave what it compiled in the temporary folder.
  process.env.TSX_DISABLE_CACHE ??= '1'
  try {
    for (const step of command.prepare) await step()
    process.exit(await command.execute(args))
  } catch (error) {
    if (!(error instanceof Failure)) throw error
    console.error(`\n${error.message}`)
    process.exit(error.exitCode)
  }
}

/** Through Node itself and not the `tsx` command, so that signals and the exit code have one process fewer to cross. */
function runTypeScript(file, args) {
  return run(process.execPath, ['--import', 'tsx', file, ...args], {
    cwd: root,
    // How the program learns that this process is gone, even after `kill -9`.
    channel: true
  })
}
