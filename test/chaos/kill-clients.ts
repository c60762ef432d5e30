import type { Redis } from 'ioredis'
import { MISSED } from './topology.js'

/** `CLIENT KILL` with a filter; `MISSED` when nobody was connected who fits it. */
export async function killClients(admin: Redis, ...filter: readonly string[]): Promise<unknown> {
  const killed = await admin.call('CLIENT', 'KILL', ...filter)
  return killed === 0 ? MISSED : undefined
}
