import type { RedisErrorClass } from '../health.js'

/**
 * What an error of Redis or its driver means for the next call.
 *
 * - `down`: nothing can be had there now, and waiting for each call to find out is waste. Probe until it is back.
 * - `elsewhere`: the server works, but is not, or no longer, the one to talk to. Connect anew, which asks again who is.
 * - `misconfigured`: somebody has to change something, so it is said by name. What still works is used.
 * - `refused`: this call, for what it asked; the next may be well.
 */
export interface RedisTrouble {
  readonly errorClass: RedisErrorClass
  /** The first word of Redis' reply, the system's error code, or 'TIMEOUT' and 'DISCONNECTED'. */
  readonly code: string
  readonly message: string
  /** Whether this one answer proves that no other call would fare better. */
  readonly isTotal: boolean
  /** What to do about it, when somebody has to. */
  readonly advice: string | undefined
}

/** No answer came before the deadline. */
export class Silence extends Error {
  constructor(timeoutMs: number) {
    super(`no answer within ${timeoutMs} ms`)
  }
}

/** Or before that of the driver, whose `commandTimeout` may be the shorter one. */
export function isSilence(error: unknown): boolean {
  return error instanceof Silence || (error instanceof Error && error.message === 'Command timed out')
}

/** Replies by their first word: class, whether everything is hit, and what to do. */
const REPLIES: Readonly<Record<string, readonly [RedisErrorClass, total: boolean, advice?: string]>> = {
  LOADING: ['down', true],
  MASTERDOWN: ['down', true],
  CLUSTERDOWN: ['down', true],
  BUSY: ['down', true],
  // Sent by proxies and by a Cluster in the middle of a move; the driver follows these itself, within its own bounds.
  TRYAGAIN: ['refused', false],
  MOVED: ['refused', false],
  ASK: ['refused', false],
  READONLY: ['elsewhere', true],
  UNBLOCKED: ['elsewhere', true],
  NOAUTH: ['misconfigured', true, 'give the option "redis" the password that this Redis asks for'],
  WRONGPASS: ['misconfigured', true, 'correct the user name or password in the option "redis"'],
  NOPERM: [
    'misconfigured',
    false,
    'let this user run the command that the message names, on keys of the namespace'
  ],
  OOM: ['misconfigured', false, 'raise "maxmemory", or let Redis evict: maxmemory-policy volatile-lfu'],
  MISCONF: ['misconfigured', false, 'Redis cannot save to disk and refuses writes: look into its log'],
  NOREPLICAS: ['misconfigured', false, 'too few replicas are in sync for "min-replicas-to-write"'],
  // Our own.
  OTHERDB: [
    'misconfigured',
    true,
    'select the database before createCache and no other after it, or give Corral a driver of its own'
  ],
  CROSSSLOT: ['misconfigured', false, 'give the option "redis" a Cluster instance'],
  NOPROTO: ['misconfigured', true, 'this server speaks another protocol than RESP2'],
  WRONGTYPE: ['refused', false],
  NOSCRIPT: ['refused', false]
}

/** Replies that begin with ERR, by what they go on to say. */
const ERR_REPLIES: readonly (readonly [RegExp, RedisErrorClass, total: boolean, advice?: string])[] = [
  [/max number of clients reached/i, 'down', true, 'raise "maxclients", or open fewer connections'],
  // The first by Redis itself; the others by services and proxies in its place, each in words of its own.
  [
    /unknown (sub)?command|unsupported|\bnot (allowed|available|supported|permitted)\b/i,
    'misconfigured',
    false,
    'this server lacks a command Corral uses'
  ],
  [
    /ACL failure in script|user executing the script can't/i,
    'misconfigured',
    false,
    'let this user do what the scripts do: corral doctor prints its rights at "least-privilege"'
  ],
  [/client sent AUTH|without any password/i, 'misconfigured', false, 'this Redis has no password to check'],
  [/string exceeds maximum allowed size/i, 'refused', false],
  [/DB index is out of range|invalid DB index/i, 'misconfigured', true, 'correct the database in "redis"']
]

const SYSTEM_ERRORS =
  /^(E(CONNREFUSED|CONNRESET|PIPE|HOSTUNREACH|NETUNREACH|TIMEDOUT|CONNABORTED|NOTFOUND|AI_AGAIN)|ENOTFOUND)$/
const LOST_CONNECTION =
  /connection is (closed|away|ended)|stream isn't writeable|connect ETIMEDOUT|reached the max retries|all sentinels are unreachable|failed to refresh slots|None of startup nodes|socket (hang up|closed)/i

/** Pure: what kind of trouble `error` tells of. Whatever is not known counts as this call's own. */
export function troubleOf(error: unknown): RedisTrouble {
  if (!(error instanceof Error)) return trouble('refused', 'UNKNOWN', String(error), false)
  if (isSilence(error)) return trouble('down', 'TIMEOUT', error.message, false)
  const { message } = error
  const systemCode = (error as { code?: unknown }).code
  if (typeof systemCode === 'string' && SYSTEM_ERRORS.test(systemCode)) {
    return trouble('down', systemCode, message, false)
  }
  const word = /^-?(?:Ready check failed \()?([A-Z]{2,})\b/.exec(message)?.[1]
  const known = word === undefined ? undefined : REPLIES[word]
  if (word !== undefined && known !== undefined)
    return trouble(known[0], word, message, known[1], grantFor(message) ?? known[2])
  // A script's own error carries the reply of the command in it: "ERR Error running script …: @user_script:3: OOM …".
  const inner = /\b(READONLY|OOM|MISCONF|NOREPLICAS|NOPERM|NOAUTH)\b/.exec(message)?.[1]
  if (word === 'ERR' && inner !== undefined) {
    const [errorClass, isTotal, advice] = REPLIES[inner]!
    return trouble(errorClass, inner, message, isTotal, advice)
  }
  if (LOST_CONNECTION.test(message)) return trouble('down', 'DISCONNECTED', message, false)
  for (const [pattern, errorClass, isTotal, advice] of ERR_REPLIES) {
    // What has a code is of this side, as what TLS calls unsupported, and says nothing of the server.
    if (systemCode === undefined && pattern.test(message))
      return trouble(errorClass, word ?? 'ERR', message, isTotal, grantFor(message) ?? advice)
  }
  return trouble('refused', word ?? 'UNKNOWN', message, false)
}

/** Of "… has no permissions to run the 'time' command", in a script or not: the line that mends it. */
function grantFor(message: string): string | undefined {
  const command = /has no permissions to run the '([\w|-]+)' command/.exec(message)?.[1]
  return command && `let this user run it: ACL SETUSER <user> +${command}`
}

function trouble(
  errorClass: RedisErrorClass,
  code: string,
  message: string,
  isTotal: boolean,
  advice?: string
): RedisTrouble {
  return { errorClass, code, message, isTotal, advice }
}
