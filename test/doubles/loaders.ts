/** A loader that counts its runs and, with `hold`, stands still until it is let go. */
export class CountingLoader<Value = string> {
  runs = 0
  /** Runs that have begun and not ended. */
  running = 0
  mostAtOnce = 0
  readonly #answer: (run: number, id: unknown) => Value | undefined | Promise<Value | undefined>
  #gate: Promise<void> | undefined
  #open: (() => void) | undefined

  constructor(answer: (run: number, id: unknown) => Value | undefined | Promise<Value | undefined>) {
    this.#answer = answer
  }

  readonly load = async (id: unknown): Promise<Value | undefined> => {
    const run = ++this.runs
    this.running++
    this.mostAtOnce = Math.max(this.mostAtOnce, this.running)
    try {
      // What a database answers is decided when the query runs, not when its reply is read.
      const answer = await this.#answer(run, id)
      await this.#gate
      return answer
    } finally {
      this.running--
    }
  }

  /** From now on runs wait, once they have their answer, until `letGo`. */
  hold(): void {
    this.#gate = new Promise((resolve) => {
      this.#open = resolve
    })
  }

  letGo(): void {
    this.#open?.()
    this.#gate = undefined
  }
}
