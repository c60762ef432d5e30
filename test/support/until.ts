import { setTimeout as sleep } from 'node:timers/promises'

const PAUSE_MS = 5
/** So much of a pause: a second in which the machine stands still says nothing of what is waited for. */
const COUNTED_MOST_MS = 100

/** Resolves once `holds` does; rejects, naming `what`, when it does not within `timeoutMs`. */
export async function until(
  what: string,
  holds: () => boolean | Promise<boolean>,
  timeoutMs = 10_000
): Promise<void> {
  let leftMs = timeoutMs
  for (;;) {
    const lookedAt = performance.now()
    if (await holds()) return
    // Looked at once more when its time is over: what was to be seen may have come while this look was held up.
    if (leftMs <= 0) throw new Error(`Not within ${timeoutMs} ms: ${what}`)
    const pausedAt = performance.now()
    await sleep(PAUSE_MS)
    leftMs -= pausedAt - lookedAt + Math.min(performance.now() - pausedAt, COUNTED_MOST_MS)
  }
}
