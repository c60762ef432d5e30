import { setTimeout as sleep } from 'node:timers/promises'

export interface OpenLoop {
  /** For each request: from when it was due until its answer, ms; so what waits behind a slow one is counted with it. */
  readonly tookMs: Float64Array
  readonly errors: number
}

/** What is not answered by then took at least that long. */
const PATIENCE_MS = 10_000

/** Asks at a steady rate, whether the requests before are answered or not, and waits for the answers. */
export async function openLoop(
  count: number,
  perSecond: number,
  ask: (request: number) => Promise<unknown>
): Promise<OpenLoop> {
  const tookMs = new Float64Array(count).fill(PATIENCE_MS)
  const under = new Set<Promise<void>>()
  let errors = 0
  const startedAt = performance.now()
  const dueAt = (request: number): number => startedAt + (request * 1_000) / perSecond
  const begin = (request: number): void => {
    const one = ask(request)
      .then(
        () => undefined,
        () => void errors++
      )
      .then(() => {
        tookMs[request] = performance.now() - dueAt(request)
        under.delete(one)
      })
    under.add(one)
  }
  for (let next = 0; next < count; await sleep(1))
    while (next < count && dueAt(next) <= performance.now()) begin(next++)
  await Promise.race([Promise.all(under), sleep(PATIENCE_MS)])
  return { tookMs, errors: errors + under.size }
}
