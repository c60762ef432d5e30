import { Redis, type RedisOptions } from 'ioredis'
import { isSilence } from './error-class.js'
import { isReply, PLAIN_REPLIES } from './operator-nodes.js'

/** Whoever is let in as the default user may not be allowed to PING, and to read all the same. */
const STRANGERS_WISHES = [['PING'], ['GET', 'a'], ['SCAN', '0'], ['INFO', 'server']] as const

/** Whether somebody who brings no credentials, and no certificate, is served where `known` leads to. */
export async function servesStrangers(known: Redis): Promise<boolean> {
  const { username: _user, password: _password, tls, ...options } = known.options
  const stranger = new Redis({
    ...(options as RedisOptions),
    ...PLAIN_REPLIES,
    ...(tls === undefined ? {} : { tls: withoutCertificate(tls) }),
    lazyConnect: true
  })
  let reason: { readonly code?: unknown } | undefined
  stranger.on('error', (error) => (reason = error as typeof reason))
  let isConnected = false
  try {
    await stranger.connect()
    isConnected = true
    for (const [command, ...args] of STRANGERS_WISHES) {
      if (await stranger.call(command, ...args).then(() => true, wouldServe)) return true
    }
    return false
  } catch (error) {
    if (isRefusal(error)) return false
    // The connection of who shows no certificate is ended, in the handshake or, since TLS 1.3, after it.
    const isEnded = isConnected
      ? !isReply(error) && !isSilence(error)
      : String(reason?.code).startsWith('ERR_SSL_')
    if (tls?.cert !== undefined && isEnded) return false
    throw error
  } finally {
    stranger.disconnect()
  }
}

function withoutCertificate(tls: NonNullable<RedisOptions['tls']>): RedisOptions['tls'] {
  const { cert: _cert, key: _key, ...rest } = tls
  return rest
}

/** Who is sent to another node of the Cluster had the right to ask. */
function wouldServe(error: unknown): boolean {
  if (isRefusal(error)) return false
  if (isReply(error) && error.message.startsWith('MOVED ')) return true
  throw error
}

function isRefusal(error: unknown): boolean {
  return error instanceof Error && /NOAUTH|NOPERM|WRONGPASS/.test(error.message)
}
