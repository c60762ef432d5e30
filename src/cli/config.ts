import { readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { toMilliseconds } from '../durations.js'
import type { OperatorTarget } from '../admin/connect.js'
import { UsageError } from './exit.js'
import type { Terminal } from './terminal.js'

/** The flags that every command which speaks to Redis has. */
export interface ConnectionFlags {
  readonly redis?: string
  readonly namespace?: string
  readonly username?: string
  readonly sentinels?: string
  readonly masterName?: string
  readonly keyPrefix?: string
  readonly tlsCa?: string
  readonly tlsCert?: string
  readonly tlsKey?: string
  readonly timeout?: string
  readonly config?: string
}

export interface Settings {
  readonly target: OperatorTarget
  readonly namespace: string | undefined
}

/** Each setting by its names: in the file, in the environment, as a flag. A password is no flag: `ps` would show it. */
const SETTINGS = {
  redis: ['REDIS_URL', 'redis'],
  namespace: ['CORRAL_NAMESPACE', 'namespace'],
  username: ['REDIS_USERNAME', 'username'],
  password: ['REDIS_PASSWORD', undefined],
  sentinels: ['REDIS_SENTINELS', 'sentinels'],
  masterName: ['REDIS_MASTER_NAME', 'masterName'],
  keyPrefix: ['CORRAL_KEY_PREFIX', 'keyPrefix'],
  tlsCa: ['REDIS_TLS_CA', 'tlsCa'],
  tlsCert: ['REDIS_TLS_CERT', 'tlsCert'],
  tlsKey: ['REDIS_TLS_KEY', 'tlsKey'],
  timeout: ['CORRAL_TIMEOUT', 'timeout']
} as const satisfies Record<string, readonly [string, keyof ConnectionFlags | undefined]>

type Name = keyof typeof SETTINGS

const CONFIG_FILE = 'corral.config.json'
const DEFAULT_URL = 'redis://127.0.0.1:6379'
const DEFAULT_TIMEOUT = '5s'
const LAST_PORT = 65_535
const NAMESPACE = /^[A-Za-z0-9_.-]{1,64}$/

/** A flag wins over the environment, that over the file, that over the default. Throws `UsageError`. */
export function resolveSettings(flags: ConnectionFlags, terminal: Terminal): Settings {
  const file = readConfigFile(flags.config ?? (terminal.env['CORRAL_CONFIG'] || undefined), terminal.folder)
  const setting = (name: Name): string | undefined => {
    const [variable, flag] = SETTINGS[name]
    const given = flag && flags[flag]
    // A variable of the shell that is not set, mostly: what it leaves out must not come from elsewhere.
    if (given === '') throw new UsageError(`--${dashed(name)} is empty.`)
    return given ?? (terminal.env[variable] || file[name] || undefined)
  }
  const url = setting('redis') ?? DEFAULT_URL
  if (!/^(rediss?|unix):\/\//.test(url) && !url.startsWith('/')) {
    // It may be a password that was put in the wrong place: it is not repeated.
    throw new UsageError(
      "The Redis URL must begin with redis://, rediss:// or unix://, as in 'redis://127.0.0.1:6379'."
    )
  }
  const namespace = setting('namespace')
  if (namespace !== undefined && !NAMESPACE.test(namespace)) {
    const hint = namespace.includes(':') ? " What a driver's keyPrefix puts before it is --key-prefix." : ''
    throw new UsageError(
      `The namespace is "${namespace}"; needed: 1 to 64 letters, digits, '_', '.' or '-'.${hint}`
    )
  }
  const sentinels = setting('sentinels')
  return {
    namespace,
    target: {
      url,
      username: setting('username'),
      password: setting('password'),
      tls: tlsOf(setting('tlsCa'), setting('tlsCert'), setting('tlsKey'), terminal.folder),
      sentinels: sentinels === undefined ? undefined : sentinels.split(',').map(hostAndPort),
      masterName: setting('masterName'),
      keyPrefix: setting('keyPrefix'),
      timeoutMs: milliseconds(setting('timeout') ?? DEFAULT_TIMEOUT, 'timeout')
    }
  }
}

/** For commands that look at one namespace. */
export function requiredNamespace({ namespace }: Settings): string {
  if (namespace !== undefined) return namespace
  throw new UsageError(
    'Say which namespace: --namespace, CORRAL_NAMESPACE, or "namespace" in corral.config.json.'
  )
}

/** The most that a timer of Node holds; a longer one would fire at once. */
const LONGEST_TIMER_MS = 2 ** 31 - 1

export function milliseconds(text: string, flag: string, leastMs = 1): number {
  try {
    const ms = toMilliseconds(/^\d+$/.test(text) ? Number(text) : text, flag, leastMs)
    if (ms <= LONGEST_TIMER_MS) return ms
  } catch (error) {
    throw new UsageError((error as Error).message, { cause: error })
  }
  throw new UsageError(`${flag} is "${text}"; needed: at most 24d.`)
}

/** `masterName` as a flag: `master-name`. */
function dashed(name: string): string {
  return name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)
}

function readConfigFile(path: string | undefined, folder: string): Partial<Record<Name, string>> {
  const file = path === undefined ? join(folder, CONFIG_FILE) : resolve(folder, path)
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (error) {
    // Nobody asked for the file of the default name.
    if (path === undefined && (error as NodeJS.ErrnoException).code === 'ENOENT') return {}
    throw new UsageError(`The configuration file ${file} cannot be read: ${(error as Error).message}`)
  }
  return checkedConfig(file, text)
}

function checkedConfig(file: string, text: string): Partial<Record<Name, string>> {
  let content: unknown
  try {
    content = JSON.parse(text)
  } catch (error) {
    // Not its message, which repeats what stands around the mistake: a password may.
    const where = /position \d+/.exec((error as Error).message)?.[0]
    throw new UsageError(
      `The configuration file ${file} is no JSON${where === undefined ? '' : `: look at ${where}`}.`
    )
  }
  if (typeof content !== 'object' || content === null || Array.isArray(content)) {
    throw new UsageError(`The configuration file ${file} must hold one object.`)
  }
  for (const [name, value] of Object.entries(content)) {
    if (!Object.hasOwn(SETTINGS, name)) {
      throw new UsageError(`${file} has "${name}"; there are: ${Object.keys(SETTINGS).join(', ')}.`)
    }
    if (typeof value !== 'string') throw new UsageError(`"${name}" in ${file} must be a text.`)
  }
  return content as Partial<Record<Name, string>>
}

function tlsOf(
  ca: string | undefined,
  cert: string | undefined,
  key: string | undefined,
  folder: string
): OperatorTarget['tls'] {
  if (ca === undefined && cert === undefined && key === undefined) return undefined
  if ((cert === undefined) !== (key === undefined)) {
    throw new UsageError('A client certificate and its key go together: --tls-cert and --tls-key.')
  }
  const pem = (path: string): string => {
    try {
      return readFileSync(resolve(folder, path), 'utf8')
    } catch (error) {
      throw new UsageError(`The file ${path} cannot be read: ${(error as Error).message}`)
    }
  }
  return {
    ...(ca === undefined ? {} : { ca: pem(ca) }),
    ...(cert === undefined ? {} : { cert: pem(cert) }),
    ...(key === undefined ? {} : { key: pem(key) })
  }
}

function hostAndPort(text: string): { host: string; port: number } {
  const match = /^\s*\[?([^\s[\]]+?)\]?:(\d+)\s*$/.exec(text)
  const port = Number(match?.[2])
  if (match !== null && !match[1]!.includes('@') && port > 0 && port <= LAST_PORT)
    return { host: match[1]!, port }
  // It may be a URL with a password in it, which is not repeated.
  throw new UsageError('Sentinels are given as host:port,host:port,…, without a URL and without credentials.')
}
