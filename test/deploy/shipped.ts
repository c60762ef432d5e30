import { execFile } from 'node:child_process'
import { cp, mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { Redis, type RedisOptions } from 'ioredis'
import { freePort } from '../support/free-port.js'
import { spawnGuarded, type GuardedProcess } from '../support/guarded-process.js'
import { createTemporaryFolder } from '../support/temporary-folder.js'
import { until } from '../support/until.js'

const run = promisify(execFile)
const SHIPPED = fileURLToPath(new URL('../../deploy/redis', import.meta.url))

export const PASSWORDS = {
  cache: 'cache password',
  operator: 'operator password',
  metrics: 'metrics password',
  // With what Redis would read otherwise in quotes.
  replication: 'replication "pass\\word"',
  admin: 'admin password'
} as const

/** What deploy/redis holds, installed as an operator would: users made, certificates in place; /etc/redis is `folder`. */
export interface Shipped {
  readonly folder: string
  readonly ca: string
  /** Puts another certificate, of the same authority, in the place of the one that there is. */
  renewCertificate(): Promise<void>
  remove(): Promise<void>
}

export async function installShipped(): Promise<Shipped> {
  const temporary = await createTemporaryFolder('shipped')
  const folder = temporary.path
  await cp(SHIPPED, folder, { recursive: true })
  for (const file of await readdir(folder)) {
    if (!file.endsWith('.conf')) continue
    const text = await readFile(join(folder, file), 'utf8')
    await writeFile(
      join(folder, file),
      text.replaceAll('/etc/redis', folder).replaceAll('/var/lib/redis', '.')
    )
  }
  await run(join(folder, 'make-users.sh'), [folder], {
    env: {
      ...process.env,
      CACHE_PASSWORD: PASSWORDS.cache,
      OPERATOR_PASSWORD: PASSWORDS.operator,
      METRICS_PASSWORD: PASSWORDS.metrics,
      REPLICATION_PASSWORD: PASSWORDS.replication,
      ADMIN_PASSWORD: PASSWORDS.admin,
      CACHE_NAMESPACES: 'shop store'
    }
  })
  const tls = join(folder, 'tls')
  await mkdir(tls)
  await makeAuthority(tls)
  await makeCertificate(tls)
  return {
    folder,
    ca: await readFile(join(tls, 'ca.crt'), 'utf8'),
    renewCertificate: () => makeCertificate(tls),
    remove: () => temporary.remove()
  }
}

const NEW_KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']

async function openssl(folder: string, ...args: string[]): Promise<void> {
  await run('openssl', args, { cwd: folder })
}

async function makeAuthority(folder: string): Promise<void> {
  await openssl(
    folder,
    'req',
    '-x509',
    ...NEW_KEY,
    '-keyout',
    'ca.key',
    '-out',
    'ca.crt',
    '-days',
    '2',
    '-subj',
    '/CN=test authority'
  )
}

async function makeCertificate(folder: string): Promise<void> {
  await openssl(folder, 'req', ...NEW_KEY, '-keyout', 'redis.key', '-out', 'redis.csr', '-subj', '/CN=redis')
  await writeFile(join(folder, 'names'), 'subjectAltName=DNS:localhost,IP:127.0.0.1\n')
  await openssl(
    folder,
    'x509',
    '-req',
    '-in',
    'redis.csr',
    '-CA',
    'ca.crt',
    '-CAkey',
    'ca.key',
    '-CAcreateserial',
    '-days',
    '2',
    '-extfile',
    'names',
    '-out',
    'redis.crt'
  )
}

export interface ShippedServer {
  readonly port: number
  readonly folder: string
  readonly process: GuardedProcess
  /** As one of the users that make-users.sh makes. */
  options(user: keyof typeof PASSWORDS): RedisOptions
  connect(user?: keyof typeof PASSWORDS): Redis
  /** Ends it with SIGKILL, and waits until it is gone. Port and folder stay. */
  crash(): Promise<void>
  stop(): Promise<void>
}

export interface ShippedOptions {
  readonly port?: number
  /** Its data; a new folder when left out. */
  readonly folder?: string
  /** What a machine of the test differs in from the one that the file is written for. */
  readonly args?: readonly string[]
}

/** A redis-server with one of the shipped files, which is left as it is but for port and folder. */
export async function startShipped(
  shipped: Shipped,
  file: string,
  options: ShippedOptions = {}
): Promise<ShippedServer> {
  const port = options.port ?? (await freePort())
  const temporary = options.folder === undefined ? await createTemporaryFolder('shipped-data') : undefined
  const folder = options.folder ?? temporary!.path
  const isEncrypted = file !== 'redis.conf'
  const process = await spawnGuarded(
    'redis-server',
    [
      join(shipped.folder, file),
      ...(isEncrypted ? ['--tls-port', String(port)] : ['--port', String(port)]),
      '--bind',
      '127.0.0.1',
      '--dir',
      folder,
      ...(options.args ?? [])
    ],
    { endSignal: 'KILL', cwd: folder }
  )
  const connection = (user: keyof typeof PASSWORDS): RedisOptions => ({
    host: '127.0.0.1',
    port,
    username: user,
    password: PASSWORDS[user],
    ...(isEncrypted ? { tls: { ca: shipped.ca } } : {})
  })
  const connect = (user: keyof typeof PASSWORDS = 'operator'): Redis => {
    const client = new Redis({
      ...connection(user),
      protocol: 2,
      replyMapping: 'legacy',
      enableReadyCheck: false
    })
    client.on('error', () => undefined)
    return client
  }
  const server: ShippedServer = {
    port,
    folder,
    process,
    options: connection,
    connect,
    crash: async () => {
      process.signal('SIGKILL')
      await process.wait()
    },
    stop: async () => {
      await process.end()
      await temporary?.remove()
    }
  }
  const client = connect()
  try {
    await until(`${file} serves`, async () => {
      if (!process.running) throw new Error(`redis-server ended:\n${process.output()}`)
      return client.ping().then(
        (reply) => reply === 'PONG',
        () => false
      )
    })
    return server
  } catch (error) {
    await server.stop()
    throw error
  } finally {
    client.disconnect()
  }
}
