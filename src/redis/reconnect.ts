import type { RedisClient } from './client.js'

/** By what the options say, a driver gives up only where that is asked for; a cache heals when Redis does. */
const REVIVE_MS = 1_000

/**
 * Has the driver make another connection in the place of this one. A driver that is about to make one is left alone: told
 * so while it asks Sentinels for the way, ioredis ends for good.
 */
export function connectAnew(client: RedisClient): void {
  if (client.status !== 'connecting') client.disconnect(true)
}

/** Connects again whenever the driver has ended for good. Returns how to stop that; to be called before it is closed. */
export function reviveWhenEnded(client: RedisClient): () => void {
  let timer: NodeJS.Timeout | undefined
  const ended = (): void => {
    clearTimeout(timer)
    timer = setTimeout(() => client.connect().catch(toldByAnEvent), REVIVE_MS)
    timer.unref()
  }
  client.on('end', ended)
  return () => {
    clearTimeout(timer)
    client.off('end', ended)
  }
}

/** The driver emits it as 'error' too. */
function toldByAnEvent(): void {}
