import type { Token } from '../entry.js'
import type { EntryStore } from '../tiers/entry-store.js'

/**
 * Renews a lease at a third of its life for as long as the loader runs. Returns how to stop. `onLost` is called at
 * most once, when the store says that the lease is no longer ours; a renewal that got no answer is tried again.
 */
export function keepLease(
  store: EntryStore,
  key: string,
  token: Token,
  leaseMs: number,
  onLost: () => void
): () => void {
  const timer = setInterval(() => void renew(), leaseMs / 3)
  let stopped = false

  const stop = (): void => {
    stopped = true
    clearInterval(timer)
  }

  async function renew(): Promise<void> {
    const kept = await store.renewLease(key, token, leaseMs).catch(unknown)
    if (kept || stopped) return
    stop()
    onLost()
  }

  return stop
}

/** The store has reported the failure; whether the lease stands will show at the next try, or at the fill. */
function unknown(): boolean {
  return true
}
