import type { RedisClient } from './client.js'

/** What AUTH, SELECT and the driver's own questions may take once the connection stands. */
const HANDSHAKE_MS = 2_000

/**
 * Gives up a connection of our own that was accepted and then says nothing: no timeout of the driver covers the time
 * between the two, so behind a silent proxy it would wait for ever. Returns how to stop watching.
 */
export function watchHandshake(client: RedisClient): () => void {
  let timer: NodeJS.Timeout | undefined
  const done = (): void => clearTimeout(timer)
  const begun = (): void => {
    done()
    timer = setTimeout(() => client.disconnect(true), HANDSHAKE_MS)
    timer.unref()
  }
  client.on('connect', begun)
  client.on('ready', done)
  client.on('close', done)
  return () => {
    done()
    client.off('connect', begun)
    client.off('ready', done)
    client.off('close', done)
  }
}
