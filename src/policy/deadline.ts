import { LONGEST_TIMER_MS } from '../clock.js'

/**
 * Settles as `work` does, or rejects with `late()` when it has not settled within `ms`.
 *
 * A timer that comes due while this process was busy or stopped proves nothing about the other side: the answer may
 * lie unread in the socket. So when the timer fires, the event loop gets one turn to read what is there first.
 */
export function withDeadline<T>(work: Promise<T>, ms: number, late: () => Error): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const timer = setTimeout(() => setImmediate(() => reject(late())), Math.min(ms, LONGEST_TIMER_MS))
    work.then(
      (value) => {
        clearTimeout(timer)
        resolve(value)
      },
      (error: unknown) => {
        clearTimeout(timer)
        // oxlint-disable-next-line typescript/prefer-promise-reject-errors -- handed on as it came
        reject(error)
      }
    )
  })
}
