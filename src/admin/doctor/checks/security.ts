import type { OperatorAddress } from '../../../redis/operator.js'
import { check, type Check } from '../check.js'
import { code, command, conf, fail, pass, warn } from '../finding.js'

/** All that Corral's own connections send; a test runs the engine as this user. */
export const LEAST_RIGHTS =
  'resetchannels ~<namespace>:* &<namespace>:* &__redis__:invalidate +@all -@admin -@dangerous -function +info'

const password = check(
  'password',
  'Who may connect',
  ({ strangers }) => strangers,
  (isServed, { address, config }) => {
    if (!isServed) return pass('nobody without credentials')
    const isProtected = config.known && config.value.get('protected-mode') === 'yes'
    const isBoundHere = config.known && isOnlyLocal(config.value.get('bind') ?? '')
    const fix = [
      command('ACL SETUSER cache on ><a long password> ' + LEAST_RIGHTS),
      command('ACL SETUSER default off'),
      conf('aclfile /etc/redis/users.acl')
    ]
    if (isLocal(address) && (isProtected || isBoundHere)) {
      return warn(
        `whoever reaches it, which is this machine alone (${isBoundHere ? `bind ${config.known ? config.value.get('bind') : ''}` : 'protected-mode yes'})`,
        'Every program and every user of this machine may read, change and empty it.',
        ...fix
      )
    }
    return fail(
      'whoever reaches it, without a password',
      'Whoever finds the port reads and changes what every tenant is served, and can take over the machine by CONFIG and MODULE.',
      ...fix
    )
  }
)

const protectedMode = check(
  'protected-mode',
  'Protected mode',
  ({ config }) => config,
  (config, { strangers }) => {
    const mode = config.get('protected-mode')
    if (mode !== 'no') return pass(mode === undefined ? 'not reported' : 'on')
    const bind = config.get('bind') ?? ''
    const isOpen = !strangers.known || strangers.value
    if (!isOpen) return pass('off, and nobody is served without credentials')
    const what = `off, bound to ${bind === '' ? 'every address' : bind}, and no password is asked for`
    const fix = [
      command('CONFIG SET protected-mode yes'),
      conf('protected-mode yes'),
      conf('bind 127.0.0.1 -::1')
    ]
    const why = 'Protected mode is what keeps a Redis without a password from answering the whole network.'
    return isOnlyLocal(bind) ? warn(what, why, ...fix) : fail(what, why, ...fix)
  },
  '+config|get'
)

const tls: Check = {
  id: 'tls',
  title: 'Encryption',
  judge: ({ address }) => {
    if (address.tls) return pass('TLS')
    if (isLocal(address)) return pass('none, and none is needed on this machine itself')
    return warn(
      `none on the way to ${address.host}`,
      'Passwords and every cached value cross the network in the clear.',
      conf('tls-port 6379'),
      conf('port 0'),
      conf('tls-cert-file /etc/redis/tls/redis.crt'),
      conf('tls-key-file /etc/redis/tls/redis.key'),
      conf('tls-ca-cert-file /etc/redis/tls/ca.crt'),
      code("redis: 'rediss://…'")
    )
  }
}

const leastPrivilege = check(
  'least-privilege',
  'What the user may do',
  ({ account }) => account,
  ({ name, dangerous }) => {
    if (dangerous === undefined) return pass(`connected as ${name}; the server does not say what it may do`)
    if (dangerous.length === 0) return pass(`connected as ${name}, without dangerous commands`)
    return warn(
      `connected as ${name}, which may run ${dangerous.join(', ')}`,
      'If this is the user of your services: one mistake, or one of them taken over, empties or stops the cache of all.',
      command(`ACL SETUSER cache on ><a long password> ${LEAST_RIGHTS}`)
    )
  },
  '+acl|whoami'
)

const database: Check = {
  id: 'database-number',
  title: 'Database number',
  judge: ({ address }) =>
    address.database === 0
      ? pass('0')
      : warn(
          String(address.database),
          'News of changed keys does not tell databases apart: the same key in another one wakes readers for nothing. A Cluster and some services have none but 0.',
          code("namespace: 'another-name' // instead of another database")
        )
}

function isLocal({ host }: OperatorAddress): boolean {
  return host.startsWith('/') || host === 'localhost' || host === '::1' || host.startsWith('127.')
}

function isOnlyLocal(bind: string): boolean {
  const addresses = bind.split(' ').filter(Boolean)
  return addresses.length > 0 && addresses.every((address) => /^-?(127\.|::1$|localhost$)/.test(address))
}

export const SECURITY_CHECKS: readonly Check[] = [password, protectedMode, tls, leastPrivilege, database]
