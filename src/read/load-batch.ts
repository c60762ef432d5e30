import type { Loaded } from './load-runner.js'
import type { ReadRequest } from '../tiers/request.js'

/** How one flight of a batch asks for its value, or says that it will not. */
export interface BatchPlace {
  /** False once it has spoken: what it loads later, it loads by itself. */
  readonly isOpen: boolean
  load(request: ReadRequest): Promise<Loaded>
  /** Not (or no longer) in need of the batch; harmless after `load`. */
  pass(): void
}

/**
 * One `loadMany` for the flights of one `getMany`. Which of them have to load is known only when each has an answer
 * from the store, so the query starts when the last one has spoken.
 */
export class LoadBatch {
  readonly #query: (requests: readonly ReadRequest[]) => Promise<readonly Loaded[]>
  readonly #wanted: Wanted[] = []
  #undecided: number

  constructor(places: number, query: (requests: readonly ReadRequest[]) => Promise<readonly Loaded[]>) {
    this.#undecided = places
    this.#query = query
  }

  place(): BatchPlace {
    let decided = false
    const decide = (): boolean => {
      const first = !decided
      decided = true
      return first
    }
    return {
      get isOpen() {
        return !decided
      },
      load: (request) =>
        new Promise((resolve, reject) => {
          this.#wanted.push({ request, resolve, reject })
          if (decide()) this.#spoken()
        }),
      pass: () => {
        if (decide()) this.#spoken()
      }
    }
  }

  #spoken(): void {
    this.#undecided--
    if (this.#undecided === 0 && this.#wanted.length > 0) void this.#run()
  }

  async #run(): Promise<void> {
    try {
      const values = await this.#query(this.#wanted.map(({ request }) => request))
      for (const [index, { resolve }] of this.#wanted.entries()) resolve(values[index]!)
    } catch (error) {
      for (const { reject } of this.#wanted) reject(error)
    }
  }
}

interface Wanted {
  readonly request: ReadRequest
  readonly resolve: (value: Loaded) => void
  readonly reject: (error: unknown) => void
}
