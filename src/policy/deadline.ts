import { performance, type EventLoopUtilization } from 'node:perf_hooks'
import { LONGEST_TIMER_MS } from '../clock.js'

/** Above this share of its time the event loop is at work, and an answer may lie unread in the socket. */
const BUSY = 0.9
/** However busy this process is, no wait is longer than so many times its deadline. */
const LONGEST_EXTENSION = 5

/** Waits that end together, before the deadline of each, once it is plain that they are for nothing. */
export class Patience {
  readonly #waiting = new Set<(reason: Error) => void>()

  /** Who has waited longest hears of it first. */
  end(reason: () => Error): void {
    for (const giveUp of this.#waiting) giveUp(reason())
  }

  /** Returns how to leave. */
  join(giveUp: (reason: Error) => void): () => void {
    this.#waiting.add(giveUp)
    return () => void this.#waiting.delete(giveUp)
  }
}

/**
 * Settles as `work` does, or rejects with `late()` when it has not settled within `ms`.
 *
 * A deadline measures the other side. While this process is stopped, or has more to do than it can, an answer that
 * came in time lies unread, and giving up on it would make matters worse. So when the timer fires, the event loop
 * gets a quarter of the time more to read what is there, and again for as long as it does not rest in it.
 */
export function withDeadline<T>(
  work: Promise<T>,
  ms: number,
  late: () => Error,
  patience?: Patience
): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const quarterMs = Math.max(1, Math.ceil(ms / 4))
    let extensions = 0
    let before: EventLoopUtilization | undefined
    const check = (): void => {
      const wasBusy = before === undefined || performance.eventLoopUtilization(before).utilization > BUSY
      if (!wasBusy || extensions >= LONGEST_EXTENSION * 4) return fail(late())
      extensions++
      before = performance.eventLoopUtilization()
      timer = setTimeout(check, quarterMs)
    }
    const end = (): void => {
      clearTimeout(timer)
      leave?.()
    }
    const fail = (error: unknown): void => {
      end()
      // oxlint-disable-next-line typescript/prefer-promise-reject-errors -- handed on as it came
      reject(error)
    }
    let timer = setTimeout(check, Math.min(ms, LONGEST_TIMER_MS))
    const leave = patience?.join(fail)
    work.then((value) => {
      end()
      resolve(value)
    }, fail)
  })
}
