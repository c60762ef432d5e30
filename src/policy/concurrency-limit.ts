import { OverloadedError } from '../errors.js'

/** Lets so many run at once and so many wait, first come first served; refuses the rest. */
export class ConcurrencyLimit {
  readonly #most: number
  readonly #mostQueued: number
  readonly #queue: Waiting[] = []
  #running = 0

  constructor(most: number, mostQueued: number) {
    this.#most = most
    this.#mostQueued = mostQueued
  }

  get running(): number {
    return this.#running
  }

  get queued(): number {
    return this.#queue.length
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
    if (this.#queue.length >= this.#mostQueued) throw new OverloadedError(this.#running, this.#queue.length)
    return new Promise((resolve, reject) => {
      const giveUp = (): void => {
        this.#queue.splice(this.#queue.indexOf(waiting), 1)
        reject(signal?.reason as Error)
      }
      const waiting: Waiting = {
        start: () => {
          signal?.removeEventListener('abort', giveUp)
          resolve()
        }
      }
      signal?.addEventListener('abort', giveUp, { once: true })
      this.#queue.push(waiting)
    })
  }

  /** The place goes to the next in line without becoming free, so that nobody can slip in between. */
  #next(): void {
    const next = this.#queue.shift()
    if (next === undefined) this.#running--
    else next.start()
  }
}

interface Waiting {
  readonly start: () => void
}
