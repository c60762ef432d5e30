/** A wait for the next change of one key. */
export interface Wake {
  /** Resolves once the key may have changed; never rejects. */
  readonly changed: Promise<void>
  /** Must be called when the wait is over, whatever ended it. */
  cancel(): void
}

/** Who waits for which key in this process. */
export class KeyListeners {
  readonly #listeners = new Map<string, Set<() => void>>()

  listen(key: string): Wake {
    let wake!: () => void
    const changed = new Promise<void>((resolve) => {
      wake = resolve
    })
    const ofKey = this.#listeners.get(key) ?? new Set()
    this.#listeners.set(key, ofKey.add(wake))
    return { changed, cancel: () => this.#remove(key, wake) }
  }

  wake(key: string): void {
    const ofKey = this.#listeners.get(key)
    if (ofKey === undefined) return
    this.#listeners.delete(key)
    for (const wake of ofKey) wake()
  }

  /** Everyone looks again: whatever changed meanwhile was not heard. */
  wakeAll(): void {
    for (const key of this.#listeners.keys()) this.wake(key)
  }

  get size(): number {
    return this.#listeners.size
  }

  #remove(key: string, wake: () => void): void {
    const ofKey = this.#listeners.get(key)
    if (ofKey?.delete(wake) && ofKey.size === 0) this.#listeners.delete(key)
  }
}
