import { OverloadedError } from '../errors.js'

/** How many may wait in all, at whichever limit; several limits share one. */
export class QueueBound {
  readonly #most: number
  waiting = 0

  constructor(most: number) {
    this.#most = most
  }

  get isReached(): boolean {
    return this.waiting >= this.#most
  }
}

/** Lets so many run at once and so many wait, first come first served; refuses the rest. */
export class ConcurrencyLimit {
  readonly #most: number
  readonly bound: QueueBound
  readonly #queue = new Set<Waiting>()
  #running = 0

  constructor(most: number, bound: QueueBound | number) {
    this.#most = most
    this.bound = typeof bound === 'number' ? new QueueBound(bound) : bound
  }

  get running(): number {
    return this.#running
  }

  get queued(): number {
    return this.#queue.size
  }

  /** Runs `work` in its turn. Rejects with `OverloadedError` when the queue is full, with the reason of `signal` when it fires first. */
  async run<T>(work: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    if (this.#running >= this.#most) await this.#turn(signal)
    else this.#running++
    try {
      return await work()
    } finally {
      this.#next()
    }
  }

  #turn(signal: AbortSignal | undefined): Promise<void> {
    if (this.bound.isReached) throw new OverloadedError(this.#running, this.bound.waiting)
    return new Promise((resolve, reject) => {
      const giveUp = (): void => {
        this.#leave(waiting)
        reject(signal?.reason as Error)
      }
      const waiting: Waiting = {
        start: () => {
          signal?.removeEventListener('abort', giveUp)
          resolve()
        }
      }
      if (signal?.aborted === true) return reject(signal.reason as Error)
      signal?.addEventListener('abort', giveUp, { once: true })
      this.#queue.add(waiting)
      this.bound.waiting++
    })
  }

  #leave(waiting: Waiting): void {
    if (this.#queue.delete(waiting)) this.bound.waiting--
  }

  /** The place goes to the next in line without becoming free, so that nobody can slip in between. */
  #next(): void {
    for (const next of this.#queue) {
      this.#leave(next)
      return next.start()
    }
    this.#running--
  }
}

interface Waiting {
  readonly start: () => void
}
