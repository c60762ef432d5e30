interface Waiter {
  readonly resolve: () => void
  readonly reject: (error: Error) => void
}

/** Callers who wait for one and the same thing to happen. */
export class Waiters {
  #waiting: Waiter[] = []

  wait(): Promise<void> {
    return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }))
  }

  letOn(): void {
    for (const { resolve } of this.#taken()) resolve()
  }

  turnAway(reason: () => Error): void {
    for (const { reject } of this.#taken()) reject(reason())
  }

  #taken(): readonly Waiter[] {
    const waiting = this.#waiting
    this.#waiting = []
    return waiting
  }
}
