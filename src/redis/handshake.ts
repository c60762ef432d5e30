import { LONGEST_TIMER_MS } from '../clock.js'
import type { RedisClient } from './client.js'

/** AUTH, SELECT and the driver's own questions are a few commands, one behind the other. */
const COMMANDS = 3
const LEAST_MS = 500

/**
 * Gives up a connection of our own that was accepted and then says nothing: no timeout of the driver covers the time
 * between the two, so behind a silent proxy it would wait for ever. Returns how to stop watching.
 */
export function watchHandshake(client: RedisClient, commandTimeoutMs: number): () => void {
  const patienceMs = Math.min(LONGEST_TIMER_MS, Math.max(LEAST_MS, COMMANDS * commandTimeoutMs))
  let timer: NodeJS.Timeout | undefined
  const done = (): void => clearTimeout(timer)
  const begun = (): void => {
    done()
    timer = setTimeout(() => client.disconnect(true), patienceMs)
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
