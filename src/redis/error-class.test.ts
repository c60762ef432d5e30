import { describe, expect, it } from 'vitest'
import type { RedisErrorClass } from '../health.js'
import { Silence, troubleOf } from './error-class.js'

/** What servers and drivers really say, and what it means (#95). */
const SAID: readonly (readonly [string, RedisErrorClass, code: string, isTotal: boolean])[] = [
  ['LOADING Redis is loading the dataset in memory', 'down', 'LOADING', true],
  [
    "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
    'down',
    'MASTERDOWN',
    true
  ],
  ['CLUSTERDOWN The cluster is down', 'down', 'CLUSTERDOWN', true],
  ['CLUSTERDOWN Hash slot not served', 'down', 'CLUSTERDOWN', true],
  [
    'BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.',
    'down',
    'BUSY',
    true
  ],
  ['ERR max number of clients reached', 'down', 'ERR', true],
  ["READONLY You can't write against a read only replica.", 'elsewhere', 'READONLY', true],
  ["READONLY You can't write against a read only replica. script: 8f…", 'elsewhere', 'READONLY', true],
  [
    "ERR Error running script (call to f_1): @user_script:3: @user_script: 3: -READONLY You can't write against a read only replica.",
    'elsewhere',
    'READONLY',
    true
  ],
  [
    'UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)',
    'elsewhere',
    'UNBLOCKED',
    true
  ],
  ['NOAUTH Authentication required.', 'misconfigured', 'NOAUTH', true],
  ['Ready check failed (NOAUTH Authentication required.)', 'misconfigured', 'NOAUTH', true],
  ['WRONGPASS invalid username-password pair or user is disabled.', 'misconfigured', 'WRONGPASS', true],
  ["NOPERM this user has no permissions to run the 'evalsha' command", 'misconfigured', 'NOPERM', false],
  ["OOM command not allowed when used memory > 'maxmemory'.", 'misconfigured', 'OOM', false],
  [
    'MISCONF Redis is configured to save RDB snapshots, but it is currently unable to persist to disk.',
    'misconfigured',
    'MISCONF',
    false
  ],
  ['NOREPLICAS Not enough good replicas to write.', 'misconfigured', 'NOREPLICAS', false],
  ["CROSSSLOT Keys in request don't hash to the same slot", 'misconfigured', 'CROSSSLOT', false],
  [
    "ERR The user executing the script can't run this command or subcommand script: 1f…",
    'misconfigured',
    'ERR',
    false
  ],
  [
    "ERR ACL failure in script: User app has no permissions to run the 'time' command script: 1f…",
    'misconfigured',
    'ERR',
    false
  ],
  [
    "ERR The user executing the script can't publish to the channel mentioned in the command script: 1f…",
    'misconfigured',
    'ERR',
    false
  ],
  [
    'ERR ACL failure in script: No permissions to access a channel script: 1f…',
    'misconfigured',
    'ERR',
    false
  ],
  ["ERR unknown command 'EVALSHA', with args beginning with: ", 'misconfigured', 'ERR', false],
  // Of services and proxies.
  ["ERR command 'client|tracking' is not allowed", 'misconfigured', 'ERR', false],
  ['ERR Command is not available: WAIT', 'misconfigured', 'ERR', false],
  ['ERR unsupported command `wait`', 'misconfigured', 'ERR', false],
  ['ERR DB index is out of range', 'misconfigured', 'ERR', true],
  ['WRONGTYPE Operation against a key holding the wrong kind of value', 'refused', 'WRONGTYPE', false],
  ['TRYAGAIN Multiple keys request during rehashing of slot', 'refused', 'TRYAGAIN', false],
  ['ERR value is not an integer or out of range', 'refused', 'ERR', false],
  ['Connection is closed.', 'down', 'DISCONNECTED', false],
  ['the connection is away', 'down', 'DISCONNECTED', false],
  ["Stream isn't writeable and enableOfflineQueue options is false", 'down', 'DISCONNECTED', false],
  ['something nobody has seen', 'refused', 'UNKNOWN', false]
]

describe('an error of Redis', () => {
  for (const [message, errorClass, code, isTotal] of SAID) {
    it(`"${message.slice(0, 60)}" is of class ${errorClass}`, () => {
      expect(troubleOf(new Error(message))).toMatchObject({ errorClass, code, isTotal, message })
    })
  }

  it('that the system reports means that Redis is down', () => {
    for (const code of ['ECONNREFUSED', 'ECONNRESET', 'EPIPE', 'ENOTFOUND', 'ETIMEDOUT', 'EHOSTUNREACH'])
      expect(troubleOf(Object.assign(new Error('connect'), { code }))).toMatchObject({
        errorClass: 'down',
        code
      })
  })

  it('that TLS reports says nothing of what the server can do', () => {
    for (const [code, message] of [
      ['ERR_SSL_UNSUPPORTED_PROTOCOL', 'error:0A000102:SSL routines::unsupported protocol'],
      ['INVALID_PURPOSE', 'unsupported certificate purpose']
    ])
      expect(troubleOf(Object.assign(new Error(message), { code }))).toMatchObject({
        errorClass: 'refused',
        advice: undefined
      })
  })

  it('that is a missing answer counts towards the breaker, and proves nothing alone', () => {
    expect(troubleOf(new Silence(200))).toEqual({
      errorClass: 'down',
      code: 'TIMEOUT',
      message: 'no answer within 200 ms',
      isTotal: false,
      advice: undefined
    })
  })

  it('that is a driver’s own deadline is a missing answer too', () => {
    expect(troubleOf(new Error('Command timed out'))).toMatchObject({ errorClass: 'down', code: 'TIMEOUT' })
  })

  it('that a right is missing names the line that grants it', () => {
    const advice = (message: string): string | undefined => troubleOf(new Error(message)).advice
    expect(advice("NOPERM this user has no permissions to run the 'time' command")).toContain('+time')
    expect(
      advice("NOPERM this user has no permissions to run the 'client|tracking' command or its subcommand")
    ).toContain('+client|tracking')
    expect(advice('NOPERM this user has no permissions to access one of the keys')).toContain('namespace')
    expect(
      advice("ERR ACL failure in script: User app has no permissions to run the 'time' command")
    ).toContain('+time')
  })

  it('that Redis is full is mended by no policy that takes away what waits to be written', () => {
    const { advice } = troubleOf(new Error("OOM command not allowed when used memory > 'maxmemory'."))
    expect(advice).toContain('volatile-lfu')
    expect(advice).not.toContain('allkeys')
  })

  it('that somebody has to mend says what to do', () => {
    for (const [message, errorClass] of SAID)
      if (errorClass === 'misconfigured') expect(troubleOf(new Error(message)).advice).toBeDefined()
  })
})
